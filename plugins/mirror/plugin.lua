-- Sends a copy of requests to another upstream, whose answers nobody sees.
local settings, methods

return {
  config = {
    upstream = { type = "string", required = true },
    percent = { type = "number", min = 0, max = 100, default = 100 },
    methods = { type = "list", items = "string" },
    bodies = { type = "boolean", default = true },
    header = { type = "string", default = "x-mirror" },
    timeout = { type = "number", min = 0.001, max = 60, default = 5 },
  },

  on_load = function(config)
    settings = config
    if config.methods then
      methods = {}
      for _, method in config.methods do
        methods[method] = true
      end
    end
  end,

  on_request = function(req, ctx)
    if (methods and not methods[req.method]) or math.random() * 100 >= settings.percent then
      return
    end
    local known, body = true, ""
    if settings.bodies then
      -- One that is too long, or of a client that breaks off, is not copied.
      known, body = pcall(function()
        return req.body:read()
      end)
    end
    if known then
      ctx.body = body
    end
  end,

  -- After the answer: the client does not wait for it.
  on_log = function(res, req, ctx)
    if not ctx.body then
      return
    end
    local headers = { [settings.header] = "1" }
    for _, field in req.headers:entries() do
      local values = headers[field.name]
      if type(values) ~= "string" then
        headers[field.name] = values or {}
        table.insert(headers[field.name], field.value)
      end
    end
    local answer, problem = weir.http.request{
      upstream = settings.upstream,
      path = if req.query_string == "" then req.path else req.path .. "?" .. req.query_string,
      method = req.method,
      headers = headers,
      body = ctx.body,
      timeout = settings.timeout,
      stream = true,
    }
    if not answer then
      weir.log.debug("no answer to a copy: " .. problem)
    end
  end,
}
