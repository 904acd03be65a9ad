local SETTINGS = { field = "payload.service", upstreams = { orders = "orders", ["7"] = "seven" } }
local GROUPS = {
  main = { "10.0.0.1:80" },
  orders = { "10.0.0.2:80" },
  seven = { "10.0.0.7:80" },
}

-- A WebSocket on which the client says these.
local function say(plugin, messages)
  local events = {}
  for _, message in messages do
    table.insert(events, if type(message) == "string" then { from = "client", text = message } else message)
  end
  return plugin:websocket { connect = "first-message", group = "main", upstreams = GROUPS, events = events }
end

local function settings(more)
  local all = table.clone(SETTINGS)
  for key, value in more do
    all[key] = value
  end
  return all
end

local ORDERS = '{"payload":{"service":"orders"}}'

return {
  ["the first message chooses, and goes on"] = function(t)
    local x = say(t:plugin(SETTINGS), { ORDERS, '{"payload":{"service":"7"}}', "no JSON" })
    t:equal(x.attempts[1].upstream, "orders")
    t:equal(#x.attempts, 1)
    t:equal(#x.to_upstream, 3)
    t:equal(x.to_upstream[1].data, ORDERS)
    t:equal(x.closed.code, 1000)
    local x = say(t:plugin(SETTINGS), { '{"payload":{"service":7}}' })
    t:equal(x.attempts[1].upstream, "seven")
  end,

  ["what chooses nothing ends it"] = function(t)
    local plugin = t:plugin(SETTINGS)
    for message, reason in {
      ["no JSON"] = "no JSON",
      ['{"payload":[]}'] = "nothing to choose by",
      ['"payload"'] = "nothing to choose by",
      ['{"payload":{"service":{}}}'] = "nothing to choose by",
      ['{"payload":{"service":"Orders"}}'] = "nobody for this",
    } do
      local x = say(plugin, { message })
      t:equal({ x.closed.code, x.closed.reason, x.closed.by }, { 1008, reason, "plugin" })
      t:equal(#x.to_upstream, 0)
      t:equal(#x.attempts, 0)
    end
    local x = say(plugin, { { from = "client", binary = ORDERS } })
    t:equal(x.closed.reason, "not a text")
    local x = say(t:plugin(settings { code = 4004 }), { "x" })
    t:equal(x.closed.code, 4004)
  end,

  ["or goes to the default"] = function(t)
    local plugin = t:plugin(settings { default = "main", forward = false })
    for _, message in { "no JSON", '{"payload":{"service":"other"}}' } do
      local x = say(plugin, { message, ORDERS })
      t:equal(x.attempts[1].upstream, "main")
      t:equal(#x.to_upstream, 2)
    end
    t:equal(say(plugin, { { from = "client", binary = "\1" } }).attempts[1].upstream, "main")
  end,

  ["a message that only chooses is not sent on"] = function(t)
    local x = say(t:plugin(settings { forward = false }), { ORDERS, "hello" })
    t:equal(x.to_upstream, { { opcode = "text", data = "hello" } })
    t:equal(x.attempts[1].upstream, "orders")
  end,

  ["items of lists count from one"] = function(t)
    local plugin = t:plugin(settings { field = "2.to" })
    t:equal(say(plugin, { '[0,{"to":"orders"}]' }).attempts[1].upstream, "orders")
    t:equal(say(plugin, { '[{"to":"orders"}]' }).closed.code, 1008)
    t:equal(say(plugin, { '{"2":{"to":"orders"}}' }).attempts[1].upstream, "orders")
  end,

  ["it goes over to another generation before and after"] = function(t)
    local plugin = t:plugin(SETTINGS)
    local x = say(plugin, { { migrate = true }, ORDERS, { migrate = true }, "more" })
    t:equal(x.attempts[1].upstream, "orders")
    t:equal(#x.to_upstream, 2)
    t:falsy(x.failure)
  end,

  ["an upstream that is opened with the handshake is a mistake that is told"] = function(t)
    local x = t:plugin(SETTINGS):websocket { group = "main", upstreams = GROUPS }
    t:equal(x.response.status, 502)
    t:match(x.failure, "first%-message")
    -- Other requests of the route go where it says.
    local x = t:plugin(SETTINGS):exchange { path = "/", group = "main", upstreams = GROUPS }
    t:equal(x.attempts[1].upstream, "main")
  end,

  ["settings that cannot be are refused"] = function(t)
    t:error(function() t:plugin(settings { field = "a..b" }) end, "no path of a field")
    t:error(function() t:plugin(settings { upstreams = {} }) end, "no message would choose one")
    t:error(function() t:plugin(settings { code = 1005 }) end, "1005")
  end,
}
