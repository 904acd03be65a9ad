-- Greets the upstream, and turns away who does not know the word.
local settings

return {
  -- What the configuration may set. All of it is checked before a request is served.
  config = {
    word = { type = "string", default = "hello" },
    secret = { type = "string" },
  },

  on_load = function(config)
    settings = config
  end,

  -- After routing, before an upstream is asked.
  on_request = function(req, ctx)
    if settings.secret and req.headers:get("x-secret") ~= settings.secret then
      weir.log.info("a stranger at " .. req.path)
      return weir.respond{ status = 403, body = "no\n" }
    end
    ctx.began = weir.time.monotonic()
    req.headers:set("x-greeting", settings.word .. " " .. (req.client_ip or "you"))
  end,

  -- The head of the response is there.
  on_response = function(res, req, ctx)
    if ctx.began then
      res.headers:set("x-took", string.format("%.3f", weir.time.monotonic() - ctx.began))
    end
  end,
}
