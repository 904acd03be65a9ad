-- What is said with a certain word in it does not reach the server, and who said it is told so.
return {
  on_message = function(message, ws)
    if message.direction == "to_upstream" and string.find(message.data, "secret", 1, true) then
      ws:send("to_client", "that word is not said here")
      return weir.drop()
    end
  end,
  on_migrate = function() end,    -- a script that was changed goes on where this one was
}
