-- A chat: rooms by the path, a word that nobody says, a notice to the others, and a count that outlives reloads.
local kept = {}

return {
  config = { word = { type = "string", default = "secret" } },
  on_load = function(config)
    kept.word = config.word
  end,
  on_request = function(req)
    if req.is_websocket and req.headers:get("origin") == "https://evil.test" then
      return weir.respond { status = 403 }
    end
  end,
  on_websocket = function(ws, req, ctx)
    ctx.room, ctx.count = "room:" .. string.sub(req.path, 2), 0
    ws:join(ctx.room)
    ws:limit { max_message = 1000, idle_timeout = 60 }
    ws:send("to_client", "welcome")
    kept.ws = ws
    weir.timer.set("notice", 10)
    if req.query:get("unread") then
      return weir.watch()
    end
  end,
  on_frame = function(frame)
    if frame.opcode == "ping" then
      return weir.drop()
    elseif frame.opcode == "binary" and not frame.first then
      return "[" .. frame.data .. "]"
    elseif frame.data == "half" then
      return "\255"
    end
  end,
  on_message = function(message, ws, ctx)
    ctx.count += 1
    if message.data == "fail" then
      error("mine")
    elseif message.data == "leave" then
      return weir.close(4001, "left")
    elseif message.data == "end" then
      ws:send("to_upstream", "last")
      ws:close(4002)
    elseif message.data == "wait" then
      weir.time.sleep(3)
    elseif message.data == "keep" then
      ctx.socket = ws
    elseif message.data == "broken" then
      return "\255"
    elseif message.direction == "to_upstream" then
      weir.websocket.group(ctx.room):send("to_client", message.data, "text", ws.id)
      return (string.gsub(message.data, kept.word, "***"))
    end
  end,
  on_close = function(closed, ws, ctx)
    print(`{closed.by} ended it after {ctx.count}`)
  end,
  on_migrate = function(old, ws, ctx)
    kept.ws = ws
    ctx.room, ctx.count = old.room, old.count + 100
  end,
  on_timer = function(name)
    if not pcall(kept.ws.send, kept.ws, "to_client", name) then
      kept.ws:close(4003, "unread")
    end
    print("noticed")
  end,
}
