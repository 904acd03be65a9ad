-- on_close: how a WebSocket has ended.
local load = require("./lent")

return {
  ["who ended it, and how"] = function(t)
    local plugin = load(t) {
      hooks = { close = { { call = "relay.route", save = "route" }, { call = "log.info", args = { "[\"${route}\",${closed}]" } } } },
    }
    local function ended(close)
      local x = plugin:websocket { events = { { close = close } } }
      local route, closed = table.unpack(weir.json.decode(x.log[1].message))
      t:equal(route, "test")
      return closed
    end
    t:equal(ended { from = "client", code = 1001, reason = "bye" }, { code = 1001, reason = "bye", by = "client" })
    t:equal(ended { from = "upstream", code = 1000 }, { code = 1000, reason = "", by = "upstream" })
    t:equal(ended { from = "nobody" }, { code = weir.json.null, reason = "", by = "nobody" })
  end,
  ["one that has ended takes nothing"] = function(t)
    local plugin = load(t) {
      hooks = { close = {
        { call = "relay.send", args = { "to-client", "late", "text" }, save = "late" },
        { call = "log.info", args = { "${late}" } },
      } },
    }
    local x = plugin:websocket {}
    t:equal(x.to_client, {})
    t:match(weir.json.decode(x.log[1].message).error, "ended")
  end,
  ["it fails with a text"] = function(t)
    local x = load(t)({ hooks = { close = { { say = { fail = "disk is full" } } } } }):websocket {}
    t:match(x.failure, "on_close")
    t:match(x.failure, "disk is full")
    t:equal(x.closed.code, 1000)
  end,
}
