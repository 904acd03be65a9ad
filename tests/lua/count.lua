-- Sees all messages, changes none, and says at the end how many there were, without SignalR's own pings.

return {
  on_message = function(message, ws, ctx)
    if not string.find(message.data, '"type":6', 1, true) then
      ctx[message.direction] = (ctx[message.direction] or 0) + 1
    end
  end,
  on_close = function(closed, ws, ctx)
    weir.log.info(`{ctx.to_upstream} messages up, {ctx.to_client} down`)
  end,
}
