return {
  on_websocket = function(ws, req, ctx)
    ctx.user, ctx.seen = req.headers:get("host"), 0
  end,

  on_message = function(message, ws, ctx)
    ctx.seen += 1
  end,
}
