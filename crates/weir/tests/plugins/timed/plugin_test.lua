local function messages(plugin)
  local all = {}
  for i, line in plugin.log do
    all[i] = line.message
  end
  return all
end

return {
  ["timers and ticks run when the clock comes to them"] = function(t)
    local plugin = t:plugin()
    t:equal(messages(plugin), { "tick 0" })
    t:advance(4.5)
    t:equal(#plugin.log, 1)
    plugin:exchange { path = "/b/3" }
    plugin:exchange { path = "/a/3" }
    t:advance(6)
    t:equal(messages(plugin), { "tick 0", "first 5", "a 7.5", "b 7.5", "tick 10" })
    t:equal(weir.time.monotonic(), 10.5)
    t:advance(0)
    t:equal(#plugin.log, 5)
  end,

  ["two plugins have their own, in order of time"] = function(t)
    local one = t:plugin()
    t:advance(2)
    local two = t:plugin()
    t:advance(6)
    t:equal({ messages(one), messages(two) }, { { "tick 0", "first 5" }, { "tick 2", "first 7" } })
  end,

  ["errors are in the log"] = function(t)
    local plugin = t:plugin()
    t:advance(30)
    t:equal(messages(plugin), {
      "tick 0", "first 5", "tick 10", "tick 20", "on_tick: plugin.lua:16: broken", "tick 30",
    })
    t:equal(plugin.log[5].level, "error")
    plugin:exchange { path = "/late/1" }
    t:advance(1)
    t:equal(messages(plugin)[8], "on_timer: it took longer than its deadline of 10s")
  end,

  ["a hook that sleeps moves the clock, and what is due meanwhile comes after it"] = function(t)
    local plugin = t:plugin()
    t:advance(6)
    plugin:exchange { path = "/slow/1" }
    plugin:exchange { path = "/b/2" }
    t:advance(1)
    t:equal(weir.time.monotonic(), 16)
    t:equal(messages(plugin), { "tick 0", "first 5", "slow 7" })
    t:advance(0)
    t:equal(messages(plugin), { "tick 0", "first 5", "slow 7", "b 16", "tick 16" })
    t:advance(10)
    t:equal(messages(plugin)[6], "tick 26")
  end,

  ["what a hook asks for the test answers"] = function(t)
    t:http(function(call)
      return { status = 201 }
    end)
    local plugin = t:plugin({}, { grants = { upstreams = { "app" } } })
    plugin:exchange { path = "/ask/1" }
    t:advance(1)
    t:equal(messages(plugin), { "tick 0", "ask 1", "201 1" })
    t:equal(t.calls[1].path, "/list")
    t:http(function()
      error("mine")
    end)
    plugin:exchange { path = "/ask/1" }
    t:error(function() t:advance(1) end, "mine")
  end,

  ["too much is an error"] = function(t)
    local plugin = t:plugin()
    t:error(function() t:advance(9 * 366 * 86400) end, "more than 10000 timers and ticks run until then")
    plugin = t:plugin()
    plugin:exchange { path = "/again/1" }
    t:error(function() t:advance(1) end, "more than 10000")
  end,

  ["secrets are the test's"] = function(t)
    local plugin = t:plugin({}, { secrets = { token = "hush" } })
    t:equal(plugin:exchange({ path = "/secret" }).response.body, "hush")
    local x = t:plugin():exchange { path = "/secret" }
    t:match(x.failure, "there is no secret \"token\"")
  end,
}
