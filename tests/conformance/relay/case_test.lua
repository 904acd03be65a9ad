-- What can be done to a WebSocket.
local load = require("./lent")
local hello = { { from = "client", text = "hello" }, { from = "client", text = "again" } }

return {
  ["something is sent into it, in order"] = function(t)
    local plugin = load(t) {
      hooks = { message = {
        { call = "relay.send", args = { "to-client", "seen", "text" } },
        { call = "relay.send", args = { "to-upstream", { hex = "ff" }, "binary" } },
        { call = "relay.send", args = { "to-client", "p", "ping" } },
        { call = "relay.send", args = { "to-client", { hex = "ff" }, "text" }, save = "wrong" },
        { call = "log.info", args = { "${wrong}" } },
      } },
    }
    local x = plugin:websocket { events = { { from = "client", text = "hello" } } }
    t:equal(x.to_upstream, { { opcode = "binary", data = "\xff" }, { opcode = "text", data = "hello" } })
    t:equal(x.to_client, { { opcode = "text", data = "seen" }, { opcode = "ping", data = "p" } })
    t:match(weir.json.decode(x.log[1].message).error, "UTF%-8")
  end,
  ["it is closed"] = function(t)
    local plugin = load(t) {
      hooks = { message = {
        { call = "relay.close", args = { 4001, "enough" } },
        { call = "relay.close", args = { 1, "" }, save = "wrong" },
        { call = "log.info", args = { "${wrong}" } },
      } },
    }
    local x = plugin:websocket { events = hello }
    t:equal(x.closed, { code = 4001, reason = "enough", by = "plugin" })
    t:match(weir.json.decode(x.log[1].message).error, "1")
  end,
  ["it joins groups and leaves them"] = function(t)
    local plugin = load(t) {
      hooks = { websocket = {
        { call = "relay.join", args = { "room:1" } },
        { call = "relay.join", args = { "room:2" } },
        { call = "relay.leave", args = { "room:1" }, save = "was" },
        { call = "relay.leave", args = { "room:1" }, save = "was-again" },
        { call = "relay.join", args = { "hall" }, save = "denied" },
        { call = "log.info", args = { "[${was},${was-again},${denied}]" } },
      } },
    }
    local x = plugin:websocket {}
    t:equal(x.groups, { "room:2" })
    local results = weir.json.decode(x.log[1].message)
    t:equal(results[1], true)
    t:equal(results[2], false)
    t:match(results[3].error, "hall")
  end,
  ["it is watched otherwise from now on"] = function(t)
    local plugin = load(t) {
      hooks = { message = {
        { call = "log.info", args = { "${data}" } },
        { call = "relay.watch", args = { { "send" } } },
      } },
    }
    local x = plugin:websocket { events = hello }
    t:equal(x.log, { { level = "info", message = "hello" } })
    t:equal(#x.to_upstream, 2)
  end,
  ["it has other bounds"] = function(t)
    local plugin = load(t) {
      hooks = { websocket = {
        { call = "relay.limit", args = { { ["max-message"] = 100, ["idle-timeout"] = 60, ["max-age"] = 3600, ["ping-interval"] = 30 } } },
        { call = "relay.limit", args = { { ["max-message"] = 0 } }, save = "wrong" },
        { call = "log.info", args = { "${wrong}" } },
      } },
    }
    local x = plugin:websocket {}
    t:equal(x.limits, { max_message = 100, idle_timeout = 60, max_age = 3600, ping_interval = 30 })
    t:match(weir.json.decode(x.log[1].message).error, "max.message")
  end,
}
