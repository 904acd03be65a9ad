-- on_websocket: what a plugin wants of a WebSocket, and what is known of it.
local load = require("./lent")
local hello = { { from = "client", text = "hello" } }

return {
  ["all of it is known"] = function(t)
    local plugin = load(t) {
      hooks = {
        request = { { call = "request.is-websocket", save = "handshake" } },
        websocket = {
          { call = "relay.id", save = "id" },
          { call = "relay.route", save = "route" },
          { call = "relay.request-id", save = "request" },
          { call = "relay.client-ip", save = "ip" },
          { call = "relay.subprotocol", save = "subprotocol" },
          { call = "request.path", save = "path" },
          { call = "log.info", args = { "${id} ${route} ${request} ${ip} ${subprotocol} ${path} ${handshake}" } },
        },
      },
    }
    local x = plugin:websocket { path = "/chat", subprotocol = "json" }
    t:equal(x.response.status, 101)
    t:match(x.log[1].message, "^%d+ test test%-1 192.0.2.1 json /chat true$")
    local other = plugin:websocket { client_ip = false }
    t:match(other.log[1].message, "^%d+ test test%-1 null null / true$")
  end,
  ["without a word all that it has hooks for is shown"] = function(t)
    local plugin = load(t) {
      hooks = {
        websocket = { { say = "nothing" } },
        frame = { { call = "log.info", args = { "frame" } } },
        message = { { call = "log.info", args = { "message" } } },
      },
    }
    t:equal(plugin:websocket({ events = hello }).log, {
      { level = "info", message = "frame" }, { level = "info", message = "message" },
    })
  end,
  ["messages alone"] = function(t)
    local plugin = load(t) {
      hooks = {
        websocket = { { say = { watch = { "messages", "send" } } } },
        frame = { { call = "log.info", args = { "frame" } } },
        message = { { call = "log.info", args = { "message" } } },
      },
    }
    t:equal(plugin:websocket({ events = hello }).log, { { level = "info", message = "message" } })
  end,
  ["frames alone"] = function(t)
    local plugin = load(t) {
      hooks = {
        websocket = { { say = { watch = { "frames" } } } },
        frame = { { call = "log.info", args = { "frame" } } },
        message = { { call = "log.info", args = { "message" } } },
      },
    }
    t:equal(plugin:websocket({ events = hello }).log, { { level = "info", message = "frame" } })
  end,
  ["nothing: it is done with it"] = function(t)
    local plugin = load(t) {
      hooks = {
        websocket = { { say = { watch = {} } } },
        message = { { say = "drop" } },
        close = { { call = "log.info", args = { "closed" } } },
      },
    }
    local x = plugin:websocket { events = hello }
    t:equal(x.to_upstream, { { opcode = "text", data = "hello" } })
    t:equal(x.log, {})
  end,
  ["it fails with a text"] = function(t)
    local settings = { hooks = { websocket = { { say = { fail = "no room" } } }, message = { { say = "nothing" } } } }
    local x = load(t)(settings):websocket { events = hello }
    t:match(x.failure, "on_websocket")
    t:match(x.failure, "no room")
    t:equal(x.to_upstream, {})
    local open = load(t, "open")(settings):websocket { events = hello }
    t:equal(open.to_upstream, { { opcode = "text", data = "hello" } })
  end,
}
