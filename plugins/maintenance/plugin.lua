-- Answers for an application that is being worked on.
local networks, settings

return {
  config = {
    enabled = { type = "boolean", default = true },
    status = { type = "integer", min = 200, max = 599, default = 503 },
    retry_after = { type = "integer", min = 0, default = 300 },
    content_type = { type = "string", default = "text/plain; charset=utf-8" },
    body = { type = "string", default = "We are working on it and will be back soon.\n" },
    allow = { type = "list", items = "string", default = {} },
    bypass_header = { type = "string" },
    bypass_value = { type = "string" },
  },

  on_load = function(config)
    settings = config
    networks = weir.ip.parse(config.allow)
    if (config.bypass_header == nil) ~= (config.bypass_value == nil) then
      error("`bypass_header` and `bypass_value` go together", 0)
    end
  end,

  on_request = function(req)
    if not settings.enabled or (req.client_ip and networks:contains(req.client_ip)) then
      return
    end
    if settings.bypass_header then
      local value = req.headers:get(settings.bypass_header)
      if value and weir.crypto.equal(value, settings.bypass_value) then
        return
      end
    end
    return weir.respond{
      status = settings.status,
      body = settings.body,
      headers = {
        ["content-type"] = settings.content_type,
        ["cache-control"] = "no-store",
        ["retry-after"] = tostring(settings.retry_after),
      },
    }
  end,
}
