-- Lets clients in by their address.
local allow, deny, status, body

local function set(list)
  return list and weir.ip.parse(list)
end

-- A client on a Unix socket has no address: it is on this machine.
local function refused(ip)
  return ip and ((deny and deny:contains(ip)) or (allow and not allow:contains(ip)))
end

return {
  config = {
    allow = { type = "list", items = "string" },
    deny = { type = "list", items = "string" },
    status = { type = "integer", min = 400, max = 599, default = 403 },
    body = { type = "string", default = "Forbidden\n" },
  },

  on_load = function(config)
    allow, deny = set(config.allow), set(config.deny)
    status, body = config.status, config.body
    if not allow and not deny then
      error("neither `allow` nor `deny` is set: nobody would be kept out", 0)
    end
  end,

  on_connect = function(connection)
    if refused(connection.peer_ip) then
      return weir.refuse()
    end
  end,

  on_request = function(req)
    if refused(req.client_ip) then
      return weir.respond{ status = status, body = body, headers = { ["content-type"] = "text/plain; charset=utf-8" } }
    end
  end,
}
