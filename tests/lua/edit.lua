-- What the clients of `clients/messages.rs` expect of a plugin that changes what passes: as `watch` says, "frames" or
-- "messages".

local watch

local function to_client(frame)
  if frame.opcode == "text" then
    local data, found = string.gsub(frame.data, "secret", "******")
    if found > 0 then
      return data
    end
  end
  return nil
end

local function to_upstream(frame, ws, ctx)
  local data = if frame.opcode == "text" then frame.data else ""
  if frame.compressed then
    ctx.compressed = true
  end
  if data == "drop this" then
    return weir.drop()
  elseif data == "blank this" then
    return ""
  elseif data == "tell me" then
    ws:send("to_client", if ctx.compressed then "they are compressed" else "they are plain")
    ws:send("to_client", "\0\255", "binary")
    return weir.drop()
  elseif data == "second" then
    ws:send("to_upstream", "first")
  elseif data == "end this" then
    return weir.close(4001, "as the plugin says")
  end
  return nil
end

local function edit(frame, ws, ctx)
  if frame.direction == "to_client" then
    return to_client(frame)
  end
  return to_upstream(frame, ws, ctx)
end

return {
  config = { watch = { type = "string", required = true } },
  on_load = function(config)
    watch = config.watch
  end,
  on_websocket = function(ws)
    -- The server speaks first, also where it is opened when there is something to be sent to it.
    ws:send("to_upstream", "", "ping")
    return weir.watch(watch, "send")
  end,
  on_frame = edit,
  on_message = edit,
  on_close = function(closed)
    weir.log.info(`closed with {closed.code} by {closed.by}: {closed.reason}`)
  end,
}
