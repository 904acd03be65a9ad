-- Cross-origin requests (the Fetch standard, section 3.2): answers preflights, and tells browsers which origins may read
-- responses.
local origins, patterns, any, settings

local function may(origin)
  if any or origins[origin] then
    return true
  end
  for _, pattern in patterns do
    if weir.regex.is_match(pattern, origin) then
      return true
    end
  end
  return false
end

local function allow(headers, origin)
  -- With credentials the answer is for this origin alone.
  if any and not settings.credentials then
    headers["access-control-allow-origin"] = "*"
  else
    headers["access-control-allow-origin"] = origin
    headers.vary = "origin"
  end
  if settings.credentials then
    headers["access-control-allow-credentials"] = "true"
  end
  return headers
end

return {
  config = {
    origins = { type = "list", items = "string", required = true },
    methods = { type = "list", items = "string", default = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE" } },
    headers = { type = "list", items = "string", default = {} },
    expose = { type = "list", items = "string", default = {} },
    credentials = { type = "boolean", default = false },
    max_age = { type = "integer", min = 0, max = 86400, default = 600 },
  },

  on_load = function(config)
    settings, origins, patterns, any = config, {}, {}, false
    for _, origin in config.origins do
      if origin == "*" then
        any = true
      elseif string.find(origin, "*", 1, true) then
        -- "https://*.example.com": any one or more labels in that place.
        local escaped = weir.regex.replace("[.+?^${}()|\\[\\]\\\\]", origin, "\\$0")
        table.insert(patterns, "^" .. weir.regex.replace("\\*", escaped, "[a-z0-9.-]+") .. "$")
      else
        origins[origin] = true
      end
    end
    if any and config.credentials then
      error('`origins = ["*"]` with `credentials` would let every site act as the user: name the origins', 0)
    end
  end,

  on_request = function(req, ctx)
    local origin = req.headers:get("origin")
    if not origin or not may(origin) then
      return
    end
    ctx.origin = origin
    local method = req.headers:get("access-control-request-method")
    if req.method ~= "OPTIONS" or not method then
      return
    end
    local headers = allow({}, origin)
    headers["access-control-allow-methods"] = table.concat(settings.methods, ", ")
    -- Without a list of its own, what the browser asks for.
    local wanted = if #settings.headers > 0
      then table.concat(settings.headers, ", ")
      else req.headers:get("access-control-request-headers")
    if wanted then
      headers["access-control-allow-headers"] = wanted
    end
    headers["access-control-max-age"] = tostring(settings.max_age)
    ctx.origin = nil
    return weir.respond{ status = 204, headers = headers }
  end,

  on_response = function(res, req, ctx)
    if not ctx.origin then
      return
    end
    for name, value in allow({}, ctx.origin) do
      if name == "vary" then
        res.headers:add(name, value)
      else
        res.headers:set(name, value)
      end
    end
    if #settings.expose > 0 then
      res.headers:set("access-control-expose-headers", table.concat(settings.expose, ", "))
    end
  end,
}
