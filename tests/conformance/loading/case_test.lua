-- How a plugin starts, and what a loop comes to.
local load = require("./lent")

return {
  ["it starts"] = function(t)
    local plugin = load(t) { hooks = { load = { { call = "log.info", args = { "started" } } } } }
    t:equal(plugin.log, { { level = "info", message = "started" } })
  end,
  ["it refuses settings with a text"] = function(t)
    t:error(function()
      load(t) { hooks = { load = { { say = { fail = "no such office" } } } } }
    end, "no such office")
  end,
  ["a loop has an end"] = function(t)
    local x = load(t)({ hooks = { request = { { say = "loop" } } } }):exchange {}
    t:equal(x.answered_by, "failure")
    t:match(x.failure, "on_request")
    t:match(x.failure, "processor time")
  end,
}
