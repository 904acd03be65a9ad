-- Sends part of the traffic to another upstream.
local settings, salt

-- A number from 0 to 100 that is always the same for the same text.
local function percentile(text)
  local hash = weir.crypto.hash("sha256", salt .. "\0" .. text)
  return (string.byte(hash, 1) * 65536 + string.byte(hash, 2) * 256 + string.byte(hash, 3)) / 16777216 * 100
end

local function is_canary(req, ctx)
  if settings.header then
    local value = req.headers:get(settings.header)
    if value ~= nil then
      return value == settings.header_value
    end
  end
  local cookie = settings.cookie and req.cookies:get(settings.cookie)
  if cookie == "always" or cookie == "never" then
    return cookie == "always"
  end
  if settings.sticky == "client" then
    return percentile(req.client_ip or "") < settings.weight
  end
  if settings.cookie and (cookie == "1" or cookie == "0") then
    return cookie == "1"
  end
  local chosen = math.random() * 100 < settings.weight
  if settings.cookie then
    ctx.remember = if chosen then "1" else "0"
  end
  return chosen
end

return {
  config = {
    upstream = { type = "string", required = true },
    weight = { type = "number", min = 0, max = 100, default = 0 },
    sticky = { type = "string", one_of = { "cookie", "client", "none" }, default = "cookie" },
    cookie = { type = "string", default = "weir-canary" },
    max_age = { type = "integer", min = 0, default = 86400 },
    header = { type = "string" },
    header_value = { type = "string", default = "1" },
  },

  on_load = function(config)
    settings = table.clone(config)
    if config.sticky ~= "cookie" then
      settings.cookie = nil
    end
    salt = config.upstream
  end,

  on_request = function(req, ctx)
    if is_canary(req, ctx) then
      req.upstream = settings.upstream
    end
  end,

  on_response = function(res, req, ctx)
    if ctx.remember then
      local value = `{settings.cookie}={ctx.remember}; Path=/; Max-Age={settings.max_age}; HttpOnly; SameSite=Lax`
      res.headers:add("set-cookie", value)
    end
  end,
}
