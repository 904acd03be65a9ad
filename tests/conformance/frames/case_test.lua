-- on_frame: what is made of each frame.
local load = require("./lent")
local hello = { { from = "client", text = "hello" }, { from = "upstream", text = "hi" } }

return {
  ["it goes on where nothing is said"] = function(t)
    local plugin = load(t) { hooks = { frame = { { call = "log.info", args = { "[\"${data}\",${frame}]" } } } } }
    local x = plugin:websocket {
      events = {
        { from = "client", text = "hello" },
        { from = "client", fragments = { "a", "b" } },
        { from = "upstream", binary = "\0\1", compressed = true },
        { from = "client", ping = "p" },
      },
    }
    t:equal(x.to_upstream, { { opcode = "text", data = "hello" }, { opcode = "text", data = "ab" }, { opcode = "ping", data = "p" } })
    t:equal(x.to_client, { { opcode = "binary", data = "\0\1" } })
    local seen = {}
    for i, line in x.log do
      local data, frame = table.unpack(weir.json.decode((string.gsub(line.message, "%z\1", "01"))))
      seen[i] = `{data} {frame.direction} {frame.opcode} {frame.first} {frame.last} {frame.sequence} {frame.compressed}`
    end
    t:equal(seen, {
      "hello to-upstream text true true 1 false",
      "a to-upstream text true false 2 false",
      "b to-upstream text false true 3 false",
      "01 to-client binary true true 1 true",
      "p to-upstream ping true true 4 false",
    })
  end,
  ["it is replaced"] = function(t)
    local plugin = load(t) { hooks = { frame = { { say = { replace = "<${data}>" } } } } }
    local x = plugin:websocket { events = hello }
    t:equal(x.to_upstream, { { opcode = "text", data = "<hello>" } })
    t:equal(x.to_client, { { opcode = "text", data = "<hi>" } })
  end,
  ["it is dropped"] = function(t)
    local plugin = load(t) { hooks = { frame = { { say = "drop" } } } }
    local x = plugin:websocket { events = hello }
    t:equal(x.to_upstream, {})
    t:equal(x.to_client, {})
  end,
  ["the WebSocket is closed"] = function(t)
    local plugin = load(t) { hooks = { frame = { { say = { close = { code = 4001, reason = "enough" } } } } } }
    local x = plugin:websocket { events = hello }
    t:equal(x.to_upstream, {})
    t:equal(x.closed, { code = 4001, reason = "enough", by = "plugin" })
  end,
  ["it fails with a text"] = function(t)
    local settings = { hooks = { frame = { { say = { fail = "not readable" } } } } }
    local x = load(t)(settings):websocket { events = hello }
    t:match(x.failure, "on_frame")
    t:match(x.failure, "not readable")
    t:equal(x.to_upstream, {})
    t:equal(x.closed.code, 1011)
    local open = load(t, "open")(settings):websocket { events = hello }
    t:equal(open.to_upstream, { { opcode = "text", data = "hello" } })
  end,
}
