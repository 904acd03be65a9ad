-- Asks another server whether a request may pass.
local target, settings

local function copied(names, get, headers)
  for _, name in names do
    local values = get(name)
    if #values > 0 then
      headers[name] = values
    end
  end
end

-- What the answer of the server has that is not of its connection.
local function refusal(res)
  local headers = {}
  for _, field in res:headers() do
    local values = headers[field.name] or {}
    table.insert(values, field.value)
    headers[field.name] = values
  end
  return weir.respond{ status = res.status, headers = headers, body = res:read() }
end

return {
  config = {
    upstream = { type = "string" },
    path = { type = "string", default = "/" },
    url = { type = "string" },
    request_headers = { type = "list", items = "string", default = { "authorization", "cookie" } },
    response_headers = { type = "list", items = "string", default = {} },
    timeout = { type = "number", min = 0.001, max = 60, default = 5 },
    unavailable_status = { type = "integer", min = 400, max = 599, default = 503 },
  },

  on_load = function(config)
    if (config.url == nil) == (config.upstream == nil) then
      error("either `url`, or `upstream` with `path`, says which server is asked", 0)
    end
    settings = config
    target = if config.url
      then { url = config.url }
      else { upstream = config.upstream, path = config.path }
  end,

  on_request = function(req)
    local headers = {
      ["x-forwarded-method"] = req.method,
      ["x-forwarded-proto"] = req.scheme,
      ["x-forwarded-host"] = req.host,
      ["x-forwarded-uri"] = if req.query_string == "" then req.path else req.path .. "?" .. req.query_string,
      ["x-forwarded-for"] = req.client_ip,
      ["x-request-id"] = if req.request_id == "" then nil else req.request_id,
    }
    copied(settings.request_headers, function(name)
      return req.headers:get_all(name)
    end, headers)
    local call = table.clone(target)
    call.headers, call.timeout = headers, settings.timeout
    local res, problem = weir.http.request(call)
    if not res then
      weir.log.warn("the server that is asked does not answer: " .. problem)
      return weir.respond{ status = settings.unavailable_status, body = "Try again later\n", headers = { ["content-type"] = "text/plain; charset=utf-8" } }
    end
    if res.status < 200 or res.status > 299 then
      return refusal(res)
    end
    for _, name in settings.response_headers do
      -- Also where the server has none: what the client sent is not what the server said.
      req.headers:remove(name)
      for _, value in res:header_all(name) do
        req.headers:add(name, value)
      end
    end
  end,
}
