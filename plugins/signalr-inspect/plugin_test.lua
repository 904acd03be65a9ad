local SHAKE, SHAKEN = '{"protocol":"json","version":1}\30', "{}\30"

local function call(target, id)
  return weir.json.encode({ type = 1, target = target, invocationId = id, arguments = {} }) .. "\30"
end

-- What passes to each side, as one text, and how it ended. A message is { from, text }; both have shaken hands.
local function talk(plugin, messages)
  local events = { { from = "client", text = SHAKE }, { from = "upstream", text = SHAKEN } }
  for _, message in messages do
    local event = message
    if message[1] then
      event = { from = message[1], text = message[2] }
    end
    table.insert(events, event)
  end
  local x = plugin:websocket { events = events }
  local sides = {}
  for i, side in { x.to_upstream, x.to_client } do
    local texts = {}
    for _, sent in side do
      table.insert(texts, sent.data)
    end
    sides[i] = table.concat(texts)
  end
  return sides[1], sides[2], x
end

-- Records of a text, in any order of their fields.
local function records(text)
  local all = {}
  for record in string.gmatch(text, "([^\30]*)\30") do
    table.insert(all, weir.json.decode(record))
  end
  return all
end

local function refusal(id)
  return { type = 3, invocationId = id, error = "This method may not be called." }
end

return {
  ["what may be called goes on byte for byte"] = function(t)
    local plugin = t:plugin { to_upstream = { methods = { "Echo", "Say" } } }
    local messages = {
      ' {"target" : "ECHO","type":1,"arguments":[1e2]}\30', call("say", "1"), '{"type":6}\30',
      '{"type":4,"target":"Say","invocationId":"2"}\30{"type":5,"invocationId":"2"}\30',
      '{"type":2,"invocationId":"3","item":1}\30', '{"type":8,"sequenceId":1}\30',
    }
    local all = {}
    for _, message in messages do
      table.insert(all, { "client", message })
    end
    local up, down, x = talk(plugin, all)
    t:equal({ up, down }, { SHAKE .. table.concat(messages), SHAKEN })
    t:equal({ x.closed.code, x.failure }, { 1000, nil })
  end,

  ["what may not goes no further, and who waits is told"] = function(t)
    local plugin = t:plugin { to_upstream = { methods = { "Echo" } } }
    local up, down = talk(plugin, {
      { "client", call("Delete", "7") .. call("Echo", "8") .. call("Delete") },
      { "client", '{"type":4,"target":"Stream","invocationId":"9"}\30' },
    })
    t:equal(up, SHAKE .. call("Echo", "8"))
    t:equal(records(down), { {}, refusal("7"), refusal("9") })
  end,

  ["or ends it"] = function(t)
    local plugin = t:plugin { to_upstream = { methods = {} }, refused = "close", code = 4403 }
    local up, down, x = talk(plugin, { { "client", call("Echo", "1") } })
    t:equal({ up, down, x.closed.code }, { SHAKE, SHAKEN, 4403 })
  end,

  ["calls of the server have a list of their own"] = function(t)
    local plugin = t:plugin { to_client = { methods = { "Said" } } }
    local up, down = talk(plugin, {
      { "upstream", call("Said") .. call("Secret") .. call("Ask", "s1") }, { "client", call("Anything") },
    })
    t:equal(down, SHAKEN .. call("Said"))
    t:equal(records(up), { { protocol = "json", version = 1 }, refusal("s1"), records(call("Anything"))[1] })
  end,

  ["records may come in parts, and with the handshake"] = function(t)
    local plugin = t:plugin { to_upstream = { methods = { "Echo" } } }
    local events = { { from = "client", text = SHAKE .. call("Echo") .. '{"type":1,' } }
    table.insert(events, { from = "client", text = '"target":"Del' })
    table.insert(events, { from = "client", text = 'ete"}\30{"type":1,"target":"Echo"' })
    table.insert(events, { from = "client", text = "}\30" })
    table.insert(events, { from = "upstream", binary = SHAKEN .. '{"type":6}\30' })
    local x = plugin:websocket { events = events }
    t:equal(x.to_upstream, {
      { opcode = "text", data = SHAKE .. call("Echo") }, { opcode = "text", data = '{"type":1,"target":"Echo"}\30' },
    })
    t:equal(x.to_client, { { opcode = "binary", data = SHAKEN .. '{"type":6}\30' } })
  end,

  ["a part that never ends has a bound"] = function(t)
    local plugin = t:plugin { max_partial = 20 }
    local _, _, x = talk(plugin, { { "client", string.rep("a", 15) }, { "client", string.rep("a", 15) } })
    t:equal({ x.closed.code, x.closed.reason }, { 1009, "too large" })
  end,

  ["a record that cannot be looked at ends it"] = function(t)
    local long = `\{"type":1,"target":"Echo","arguments":["{string.rep("a", 1048576)}"]}\30`
    local up, _, x = talk(t:plugin(), { { "client", long } })
    local reason = "a record of more than 1 MiB cannot be looked at"
    t:equal({ up, x.closed.code, x.closed.reason }, { SHAKE, 1009, reason })
    _, _, x = talk(t:plugin(), { { "upstream", '{"type":3,"result":"' .. string.rep("a", 1048576) .. '"}\30' } })
    t:equal({ x.closed.code, x.closed.reason }, { 1009, reason })
  end,

  ["what is not the protocol ends it"] = function(t)
    local plugin = t:plugin()
    for _, text in { "\30", "x\30", "5\30", "{}\30", '{"type":0}\30', '{"type":10}\30', '{"type":1.5}\30', '{"type":"1"}\30' } do
      local up, _, x = talk(plugin, { { "client", text } })
      t:equal({ up, x.closed.code, x.closed.reason }, { SHAKE, 1008, "not a message of the hub protocol" })
    end
    local _, _, x = talk(plugin, { { "client", '{"type":1}\30' } })
    t:equal(x.closed.reason, "a call without a method")
    for _, text in { "x\30", "{}\30", call("Echo") } do
      x = plugin:websocket { events = { { from = "client", text = text } } }
      t:equal({ x.to_upstream, x.closed.reason }, { {}, "no handshake of the hub protocol" })
    end
  end,

  ["other protocols are refused in SignalR's way, or pass unread"] = function(t)
    local shake = '{"protocol":"messagepack","version":1}\30'
    local events = { { from = "client", text = shake }, { from = "upstream", text = SHAKEN }, { from = "client", binary = "\1\2" } }
    local x = t:plugin():websocket { events = events }
    t:equal({ x.to_upstream, x.closed.code }, { {}, 1008 })
    t:equal(x.to_client, { { opcode = "text", data = '{"error":"Only the protocol json is spoken here."}\30' } })
    x = t:plugin():websocket { events = { { from = "client", text = '{"protocol":"JSON","version":1}\30' } } }
    t:equal({ #x.to_upstream, x.closed.code }, { 1, 1000 })
    x = t:plugin({ other_protocols = "forward", to_upstream = { methods = {} } }):websocket { events = events }
    t:equal({ #x.to_upstream, #x.to_client, x.to_upstream[2].data, x.closed.code }, { 2, 1, "\1\2", 1000 })
  end,

  ["it goes on in newer code, in the middle of a record"] = function(t)
    local plugin = t:plugin { to_upstream = { methods = { "Echo" } } }
    local up, down, x = talk(plugin, {
      { "client", '{"type":1,"target":' }, { migrate = true }, { "client", '"Echo"}\30' }, { "client", call("No", "1") },
    })
    t:equal({ up, x.failure }, { SHAKE .. '{"type":1,"target":"Echo"}\30', nil })
    t:equal(records(down)[2], refusal("1"))
  end,

  ["other transports do not lead around a list"] = function(t)
    local plugin = t:plugin { to_upstream = { methods = { "Echo" } } }
    local function status(what)
      return plugin:exchange(what).response.status
    end
    local key = { ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==" }
    for expected, what in {
      [200] = { method = "POST", path = "/chat/negotiate?negotiateVersion=1" },
      [204] = { method = "OPTIONS", path = "/chat", upstream = { status = 204 } },
      [404] = { path = "/chat?id=1", headers = key, upstream = { status = 404 } },
    } do
      t:equal(status(what), expected)
    end
    for _, what in {
      { path = "/chat?id=1", headers = { accept = "text/event-stream" } },
      { method = "POST", path = "/chat?id=1" },
      { method = "POST", path = "/chat?id=1", headers = key },
      { method = "DELETE", path = "/chat?id=1" },
      -- No handshake at all: the upstream answers as it would a stream of events.
      { path = "/chat?id=1", headers = key },
    } do
      t:equal(status(what), 403)
    end
    t:equal(t:plugin():exchange({ method = "POST", path = "/chat?id=1" }).response.status, 200)
    plugin = t:plugin { to_upstream = { methods = {} }, other_transports = "forward" }
    t:equal(status { method = "POST", path = "/chat?id=1" }, 200)
  end,

  ["wrong settings are told"] = function(t)
    for wanted, settings in {
      ["1005 is no close code"] = { code = 1005 },
      ["a list is wanted"] = { to_upstream = { methods = "Echo" } },
      ["unknown setting"] = { methods = { "Echo" } },
    } do
      t:error(function()
        t:plugin(settings)
      end, wanted)
    end
  end,
}
