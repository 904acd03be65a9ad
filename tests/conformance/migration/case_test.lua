-- on_migrate: a WebSocket goes to a fresh start of the plugin.
local load = require("./lent")
local events = {
  { from = "client", text = "before" },
  { migrate = true },
  { from = "client", text = "after" },
}

return {
  ["what was saved comes along"] = function(t)
    local plugin = load(t) {
      hooks = {
        websocket = { { call = "request.path", save = "path" } },
        migrate = { { call = "relay.route", save = "route" }, { call = "log.info", args = { "${old}" } } },
        message = { { ["if"] = "old", say = { replace = "${data} ${route}" } } },
      },
    }
    local x = plugin:websocket { path = "/a", events = events }
    t:equal(x.to_upstream, { { opcode = "text", data = "before" }, { opcode = "text", data = "after test" } })
    local old = weir.json.decode(x.log[1].message)
    t:equal(old.path, "/a")
    t:equal(old.data, "before")
  end,
  ["it is watched otherwise"] = function(t)
    local plugin = load(t) {
      hooks = {
        migrate = { { say = { watch = { "send" } } } },
        message = { { say = { replace = "seen" } } },
      },
    }
    local x = plugin:websocket { events = events }
    t:equal(x.to_upstream, { { opcode = "text", data = "seen" }, { opcode = "text", data = "after" } })
  end,
  ["one that fails stays with the code that it has"] = function(t)
    local plugin = load(t) {
      hooks = {
        websocket = { { call = "request.path", save = "path" } },
        migrate = { { say = { fail = "an older form" } } },
        message = { { say = { replace = "${path}" } } },
      },
    }
    local x = plugin:websocket { path = "/a", events = events }
    t:equal(x.to_upstream, { { opcode = "text", data = "/a" }, { opcode = "text", data = "/a" } })
    t:match(weir.json.encode(x.log) .. tostring(x.failure), "an older form")
  end,
  ["so does one that cannot be saved"] = function(t)
    local plugin = load(t) {
      hooks = {
        websocket = { { call = "request.path", save = "path" } },
        save = { { say = { fail = "it cannot be saved" } } },
        migrate = { { call = "log.info", args = { "migrated" } } },
        message = { { say = { replace = "${path}" } } },
      },
    }
    local x = plugin:websocket { path = "/a", events = events }
    t:equal(x.to_upstream, { { opcode = "text", data = "/a" }, { opcode = "text", data = "/a" } })
  end,
}
