-- on_tick and on_timer, and timers.
local load = require("./lent")

return {
  ["a timer runs when it is over"] = function(t)
    local plugin = load(t) {
      hooks = {
        request = { { call = "timer.set", args = { "later", 5 } }, { call = "timer.set", args = { "never", 5 } },
          { call = "timer.cancel", args = { "never" }, save = "was" },
          { call = "timer.cancel", args = { "never" }, save = "was-again" },
          { call = "timer.set", args = { "wrong", 1e12 }, save = "wrong" },
          { say = { respond = { body = "[${was},${was-again},${wrong}]" } } } },
        timer = { { call = "log.info", args = { "${name}" } } },
      },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal(results[1], true)
    t:equal(results[2], false)
    t:truthy(results[3].error)
    t:advance(4)
    t:equal(plugin.log, {})
    t:advance(1)
    t:equal(plugin.log, { { level = "info", message = "later" } })
  end,
  ["a timer that is set again is moved"] = function(t)
    local plugin = load(t) {
      hooks = {
        request = { { call = "timer.set", args = { "later", 5 } }, { call = "timer.set", args = { "later", 7 } } },
        timer = { { call = "log.info", args = { "${name}" } } },
      },
    }
    plugin:exchange {}
    t:advance(6)
    t:equal(plugin.log, {})
    t:advance(1)
    t:equal(#plugin.log, 1)
  end,
  ["it ticks every minute"] = function(t)
    local plugin = load(t) {
      hooks = { tick = { { call = "kv.incr", args = { "ticks", 1, 0 }, save = "ticks" }, { call = "log.info", args = { "${ticks}" } } } },
    }
    t:advance(0)
    t:advance(120)
    t:equal(plugin.log, {
      { level = "info", message = "1" }, { level = "info", message = "2" }, { level = "info", message = "3" },
    })
  end,
  ["they fail with a text, and run again"] = function(t)
    local plugin = load(t) {
      hooks = {
        tick = { { call = "timer.set", args = { "soon", 1 } }, { say = { fail = "no tick" } } },
        timer = { { say = { fail = "no timer" } } },
      },
    }
    t:advance(0)
    t:advance(61)
    local ticks, timers = 0, 0
    for _, line in plugin.log do
      t:equal(line.level, "error")
      ticks += if string.find(line.message, "no tick", 1, true) then 1 else 0
      timers += if string.find(line.message, "no timer", 1, true) then 1 else 0
    end
    t:equal(ticks, 2)
    t:equal(timers, 2)
  end,
}
