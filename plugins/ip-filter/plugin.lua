-- Lets clients in by their address.
local allow, deny, status, body

local function set(list)
  return list and weir.ip.parse(list)
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

  on_request = function(req)
    local ip = req.client_ip
    -- A client on a Unix socket has no address: it is on this machine.
    if ip and ((deny and deny:contains(ip)) or (allow and not allow:contains(ip))) then
      return weir.respond{ status = status, body = body, headers = { ["content-type"] = "text/plain; charset=utf-8" } }
    end
  end,
}
