-- Headers that tell browsers to be careful, where the application has not set them itself.
local values, hsts, remove, override

return {
  config = {
    hsts = { type = "string", default = "max-age=31536000; includeSubDomains" },
    content_type_options = { type = "string", default = "nosniff" },
    frame_options = { type = "string", default = "SAMEORIGIN" },
    referrer_policy = { type = "string", default = "strict-origin-when-cross-origin" },
    content_security_policy = { type = "string" },
    permissions_policy = { type = "string" },
    remove = { type = "list", items = "string", default = { "server", "x-powered-by" } },
    override = { type = "boolean", default = false },
  },

  on_load = function(config)
    values = {
      ["x-content-type-options"] = config.content_type_options,
      ["x-frame-options"] = config.frame_options,
      ["referrer-policy"] = config.referrer_policy,
      ["content-security-policy"] = config.content_security_policy,
      ["permissions-policy"] = config.permissions_policy,
    }
    hsts, remove, override = config.hsts, config.remove, config.override
  end,

  on_response = function(res, req)
    for _, name in remove do
      res.headers:remove(name)
    end
    local function set(name, value)
      if value ~= "" and (override or not res.headers:get(name)) then
        res.headers:set(name, value)
      end
    end
    for name, value in values do
      set(name, value)
    end
    -- Over plain HTTP browsers ignore it (RFC 6797, section 7.2).
    if req.scheme == "https" then
      set("strict-transport-security", hsts)
    end
  end,
}
