-- Does what it does without requests.
local function now()
  return weir.time.monotonic()
end

return {
  tick_every = 10,

  on_load = function()
    weir.timer.set("first", 5)
  end,

  on_tick = function()
    weir.log.info(`tick {now()}`)
    if now() == 20 then
      error("broken")
    end
  end,

  on_timer = function(name)
    weir.log.info(`{name} {now()}`)
    if name == "slow" then
      weir.time.sleep(9)
    elseif name == "late" then
      weir.time.sleep(11)
    elseif name == "again" then
      weir.timer.set("again", 0)
    elseif name == "ask" then
      local answer, why = weir.http.request{ upstream = "app", path = "/list" }
      weir.log.info(if answer then `{answer.status} {now()}` else why)
    end
  end,

  on_request = function(req)
    local name, after = string.match(req.path, "^/(%a+)/(%d+)$")
    if name then
      weir.timer.set(name, tonumber(after))
    elseif req.path == "/secret" then
      return weir.respond{ body = weir.secrets.get("token") }
    end
  end,
}
