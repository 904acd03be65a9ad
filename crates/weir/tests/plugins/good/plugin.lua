local text = require "lib.text"
local settings

return {
  config = {
    refuse = { type = "string", default = "/no" },
    wait = { type = "number", default = 0 },
  },

  on_load = function(config)
    settings = config
    weir.log.info("loaded")
  end,

  on_request = function(req, ctx)
    weir.log.debug("asked for " .. req.path)
    if req.path == settings.refuse then
      return weir.respond{ status = 403, body = "no\n", headers = { ["x-a"] = { "1", "2" } } }
    end
    if settings.wait > 0 then
      weir.time.sleep(settings.wait)
    end
    if req.path == "/break" then
      error("broken")
    end
    ctx.count = weir.kv.incr("count", 1, 0, 60)
    req.headers:set("x-text", text.shout(req.method))
    if req.path == "/other" then
      req.upstream = "other"
    end
  end,

  select_upstream = function(selection, req, ctx)
    ctx.seen = ctx.seen or {}
    table.insert(ctx.seen, `{selection.attempt} {selection.failure or "-"}`)
    if req.path == "/second" then
      return weir.endpoint(selection.candidates[2].address)
    elseif req.path == "/hash" then
      return weir.hash_key("key")
    elseif req.path == "/group" then
      return weir.group("other")
    elseif req.path == "/nowhere" then
      return weir.endpoint("nowhere")
    elseif req.path == "/patient" then
      for _, candidate in selection.candidates do
        table.insert(ctx.seen, `{candidate.address} {candidate.available}`)
      end
      weir.log.info(table.concat(ctx.seen, "; "))
      return if selection.attempt < 2 then nil else weir.group("other")
    end
  end,

  on_response = function(res, req, ctx)
    res.headers:set("x-count", tostring(ctx.count or 0))
    if res.status == 599 then
      return weir.respond{ status = 502 }
    end
  end,

  on_log = function(res, req)
    weir.log.warn(`{req.method} {res.status} {res.endpoint or "-"}`)
  end,
}
