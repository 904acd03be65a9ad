local granted = { grants = { groups = { "room:*" } } }

-- What was sent, as texts.
local function data(list)
  local all = {}
  for _, sent in list do
    table.insert(all, sent.data)
  end
  return all
end

return {
  ["messages go both ways, changed where they are"] = function(t)
    local x = t:plugin({ word = "plan" }, granted):websocket {
      path = "/7?a=b",
      subprotocol = "json",
      events = {
        { from = "client", text = "the plan" },
        { from = "upstream", text = "the plan" },
        { from = "client", fragments = { "a pl", "an" } },
        { from = "client", fragments = { "\1", "\2", "\3" }, opcode = "binary", compressed = true },
      },
    }
    t:equal(data(x.to_upstream), { "the ***", "a ***", "\1[\2][\3]" })
    t:equal(x.to_upstream[3].opcode, "binary")
    t:equal(x.to_client, { { opcode = "text", data = "welcome" }, { opcode = "text", data = "the plan" } })
    t:equal(x.response, { status = 101, headers = { ["sec-websocket-protocol"] = "json" }, body = "" })
    t:equal(x.answered_by, "upstream")
    t:equal(x.closed, { code = 1000, reason = "", by = "client" })
    t:equal(x.groups, { "room:7" })
    t:equal(x.limits, { max_message = 1000, idle_timeout = 60 })
    t:equal(x.log, { { level = "info", message = "client ended it after 4" } })
    t:equal(x.failure, nil)
  end,
  ["pings are dropped, pongs are not"] = function(t)
    local x = t:plugin(nil, granted):websocket {
      events = { { from = "client", ping = "a" }, { from = "upstream", pong = "b" } },
    }
    t:equal(x.to_upstream, {})
    t:equal(x.to_client[2], { opcode = "pong", data = "b" })
  end,
  ["others are told"] = function(t)
    local x = t:plugin(nil, granted):websocket {
      path = "/7",
      others = { { id = "8", groups = { "room:7" } }, { id = "9", groups = { "room:8" } } },
      events = { { from = "client", text = "hi" } },
    }
    t:equal(x.sent, { { relay = "8", to = "to_client", opcode = "text", data = "hi" } })
  end,
  ["who may not comes no further"] = function(t)
    local x = t:plugin(nil, granted):websocket {
      headers = { origin = "https://evil.test" },
      events = { { from = "client", text = "hi" } },
    }
    t:equal({ x.response.status, x.answered_by, x.closed, data(x.to_upstream) }, { 403, "plugin", nil, {} })
    t:equal(x.log, {})
    -- An ordinary request is no handshake, whatever its headers say.
    local asked = { origin = "https://evil.test", connection = "upgrade", upgrade = "websocket" }
    t:equal(t:plugin(nil, granted):exchange({ headers = asked }).answered_by, "upstream")
    x = t:plugin(nil, granted):websocket { upstream = { status = 404 } }
    t:equal({ x.response.status, x.closed }, { 404, nil })
  end,
  ["ends are told"] = function(t)
    local plugin = t:plugin(nil, granted)
    local close = { from = "upstream", code = 1001, reason = "bye" }
    local x = plugin:websocket { events = { { close = close }, { from = "client", text = "late" } } }
    t:equal(x.closed, { code = 1001, reason = "bye", by = "upstream" })
    t:equal(x.to_upstream, {})
    t:equal(plugin:websocket({ events = { { close = { from = "nobody" } } } }).closed, { reason = "", by = "nobody" })
    x = plugin:websocket { events = { { from = "client", text = "leave" } } }
    t:equal(x.closed, { code = 4001, reason = "left", by = "plugin" })
    x = plugin:websocket { events = { { from = "client", text = "end" } } }
    t:equal({ x.closed.code, data(x.to_upstream) }, { 4002, { "last" } })
  end,
  ["a failure ends it, or is passed over"] = function(t)
    local what = { events = { { from = "client", text = "fail" }, { from = "client", text = "hi" } } }
    local x = t:plugin(nil, granted):websocket(what)
    t:equal(x.closed, { code = 1011, reason = "", by = "weir" })
    t:match(x.failure, "^on_message: plugin.lua:%d+: mine")
    local open = { on_failure = "open", grants = granted.grants }
    x = t:plugin(nil, open):websocket(what)
    t:equal(data(x.to_upstream), { "fail", "hi" })
    x = t:plugin(nil, open):websocket { events = { { from = "client", text = "broken" } } }
    t:equal(x.failure, "on_message: what it returned in the place of a text is not UTF-8")
    -- Pieces of a text may be on their way before it shows that they are none.
    x = t:plugin(nil, open):websocket { events = { { from = "client", fragments = { "half", "whole" } } } }
    t:equal({ x.closed.code, x.to_upstream }, { 1011, {} })
    t:match(x.failure, "^on_frame: .*UTF%-8")
    x = t:plugin():websocket()
    t:match(x.failure, "^on_websocket: plugin.lua:%d+: the plugin was not granted the group")
    t:equal(x.closed.code, 1011)
  end,
  ["time passes, for waits and for timers"] = function(t)
    local plugin = t:plugin(nil, granted)
    local x = plugin:websocket {
      events = { { from = "client", text = "wait" }, { wait = 6 }, { from = "upstream", text = "b" }, { wait = 1 } },
    }
    t:equal(data(x.to_client), { "welcome", "b", "notice" })
    t:equal(x.log[1].message, "noticed")
    t:equal(data(x.to_upstream), { "wait" })
  end,
  ["it goes on in the next generation"] = function(t)
    local plugin = t:plugin(nil, granted)
    local x = plugin:websocket {
      path = "/7",
      others = { { id = "8", groups = { "room:7" } } },
      events = { { from = "client", text = "a" }, { migrate = true }, { from = "client", text = "b" }, { wait = 10 } },
    }
    t:equal(x.failure, nil)
    t:equal(data(x.to_upstream), { "a", "b" })
    t:equal(#x.sent, 2)
    t:equal(x.log[#x.log].message, "client ended it after 102")
    t:equal(data(x.to_client), { "welcome" })
    x = plugin:websocket {
      events = { { from = "client", text = "keep" }, { migrate = true }, { from = "client", text = "b" } },
    }
    t:match(x.failure, "^on_migrate: ctx.socket is a userdata")
    t:equal(data(x.to_upstream), { "keep", "b" })
    t:equal(x.log[#x.log].message, "client ended it after 2")
  end,
  ["what nobody watches passes unread"] = function(t)
    local x = t:plugin(nil, granted):websocket {
      path = "/7?unread=1",
      events = { { from = "client", text = "secret" }, { wait = 10 } },
    }
    t:equal(data(x.to_upstream), { "secret" })
    t:equal(data(x.to_client), { "welcome" })
    -- Nothing can be sent, the code of a close is weir's, and nobody is told of the end.
    t:equal(x.closed, { code = 1012, reason = "", by = "plugin" })
    t:equal(x.log, { { level = "info", message = "noticed" } })
  end,
  ["what cannot happen is an error of the test"] = function(t)
    local plugin = t:plugin(nil, granted)
    for text, event in {
      ["`events[1]`: an event has one of text, binary"] = {},
      ["an event has no `txt`"] = { from = "client", txt = "a" },
      ["`from` of an event is"] = { text = "a" },
      ["`wait` has none of from"] = { from = "client", wait = 5 },
      ["a text message is UTF-8"] = { from = "client", text = "\255" },
      ["too large: 125"] = { from = "client", ping = string.rep("a", 126) },
      ["a message has one fragment or more"] = { from = "client", fragments = {} },
      ["`opcode` is for fragments"] = { from = "client", text = "a", opcode = "text" },
      ["`from` of `close` is"] = { close = { code = 1000 } },
      ["1005 is no close code"] = { close = { from = "client", code = 1005 } },
      ["brings no code"] = { close = { from = "nobody", code = 1000 } },
    } do
      t:error(function()
        plugin:websocket { events = { event } }
      end, text)
    end
    t:error(function()
      plugin:websocket { method = "GET" }
    end, "a websocket has no `method`")
    t:error(function()
      plugin:websocket { others = { { id = "1" } } }
    end, "there is a relay 1 already")
    t:error(function()
      t:plugin(nil, { grants = { rooms = { "a" } } })
    end, "there are upstreams, hosts, kv, groups, relays")
  end,
}
