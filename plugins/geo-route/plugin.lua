-- Sends clients to an upstream, or tells the upstream a value, by the network they are in.
local sets, header, default

return {
  config = {
    networks = { type = "table", required = true },
    header = { type = "string" },
    default = { type = "string" },
  },

  on_load = function(config)
    header, default = config.header, config.default
    -- One set for each prefix length and value, the longest first.
    local by = {}
    for network, value in config.networks do
      if type(value) ~= "string" then
        error(`networks: the value of "{network}" is a text`, 0)
      end
      local whole = if string.find(network, ":", 1, true) then 128 else 32
      local length = tonumber(string.match(network, "/(%d+)$") or whole)
      local key = `{length} {value}`
      by[key] = by[key] or { length = length, value = value, networks = {} }
      table.insert(by[key].networks, network)
    end
    sets = {}
    for _, entry in by do
      table.insert(sets, { length = entry.length, value = entry.value, set = weir.ip.parse(entry.networks) })
    end
    if #sets == 0 then
      error("`networks` is empty: no client would be told from another", 0)
    end
    table.sort(sets, function(a, b)
      if a.length ~= b.length then
        return a.length > b.length
      end
      return a.value < b.value
    end)
  end,

  on_request = function(req)
    local ip, value = req.client_ip, default
    if ip then
      for _, entry in sets do
        if entry.set:contains(ip) then
          value = entry.value
          break
        end
      end
    end
    if header then
      -- Nobody but this plugin says where somebody is.
      req.headers:remove(header)
      if value then
        req.headers:set(header, value)
      end
    elseif value then
      req.upstream = value
    end
  end,
}
