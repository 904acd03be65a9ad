-- Sends those who ask for it, and a share of all others, to the upstream `beta`. A client stays where it is.
local percent

return {
  config = {
    percent = { type = "integer", min = 0, max = 100, default = 0 },
  },

  on_load = function(config)
    percent = config.percent
  end,

  on_request = function(req, ctx)
    local choice = req.cookies:get("beta")
    if choice == nil then
      choice = if math.random(100) <= percent then "1" else "0"
      ctx.remember = choice
    end
    if choice == "1" then
      req.upstream = "beta"
      req.headers:set("x-variant", "beta")
    end
  end,

  on_response = function(res, req, ctx)
    if ctx.remember then
      res.headers:add("set-cookie", `beta={ctx.remember}; Path=/; Max-Age=86400`)
    end
  end,
}
