-- What passes of what a client sends, as texts, and how it ended.
local function talk(plugin, events, more)
  local what = more or {}
  what.events = {}
  for _, event in events do
    local given = if type(event) == "string" then { text = event } else table.clone(event)
    if not given.wait and not given.close and not given.migrate then
      given.from = given.from or "client"
    end
    table.insert(what.events, given)
  end
  local x = plugin:websocket(what)
  local passed = {}
  for _, side in { x.to_upstream, x.to_client } do
    for _, sent in side do
      table.insert(passed, sent.data)
    end
  end
  return passed, x.closed.code, x
end

local granted = { grants = { groups = { "expires:*" } } }

return {
  ["a message that is too large ends it, or goes no further"] = function(t)
    local plugin = t:plugin { to_upstream = { max_message = 3 } }
    local passed, code, x = talk(plugin, { "abc", "abcd", "a" })
    t:equal({ passed, code, x.closed.reason }, { { "abc" }, 1009, "too large" })
    passed, code = talk(plugin, { { from = "upstream", text = "abcd" } })
    t:equal({ passed, code }, { { "abcd" }, 1000 })
    passed, code = talk(plugin, { { fragments = { "ab", "cd" } } })
    t:equal({ passed, code }, { {}, 1009 })
    plugin = t:plugin { to_upstream = { max_message = 3, refused = "drop" } }
    passed, code = talk(plugin, { "abc", "abcd", "a" })
    t:equal({ passed, code }, { { "abc", "a" }, 1000 })
  end,

  ["so many messages a second"] = function(t)
    local plugin = t:plugin { to_upstream = { messages_per_second = 2, messages_burst = 3, refused = "drop" } }
    local passed = talk(plugin, {
      "1", "2", "3", "no", { wait = 0.4 }, "no", { wait = 0.1 }, "4", "no", { wait = 10 }, "5", "6", "7", "no",
    })
    t:equal(passed, { "1", "2", "3", "4", "5", "6", "7" })
    -- Each WebSocket has its own, and each direction.
    t:equal((select(2, talk(plugin, { "1", "2", "3" }))), 1000)
    passed = talk(plugin, { "1", "2", "3", "no", { from = "upstream", text = "u" } })
    t:equal(passed, { "1", "2", "3", "u" })
    plugin = t:plugin { to_client = { messages_per_second = 1 } }
    local _, code = talk(plugin, { { from = "upstream", text = "1" }, { from = "upstream", text = "2" } })
    t:equal(code, 1008)
  end,

  ["so many bytes a second"] = function(t)
    local plugin = t:plugin { to_upstream = { bytes_per_second = 10, bytes_burst = 20, refused = "drop" } }
    local long = string.rep("a", 15)
    t:equal(talk(plugin, { long, long, "abcde", "f", { wait = 1.5 }, long }), { long, "abcde", long })
    t:equal(talk(plugin, { string.rep("a", 21), { wait = 60 }, string.rep("a", 21) }), {})
  end,

  ["rates go over to newer code"] = function(t)
    local plugin = t:plugin { to_upstream = { messages_per_second = 1, messages_burst = 2, refused = "drop" } }
    local passed, _, x = talk(plugin, { "1", "2", { migrate = true }, "no", { wait = 1 }, "3" })
    t:equal({ passed, x.failure }, { { "1", "2", "3" }, nil })
  end,

  ["opcodes"] = function(t)
    local plugin = t:plugin { to_upstream = { opcodes = { "text", "pong" } } }
    local passed, code, x = talk(plugin, { "a", { pong = "b" }, { from = "upstream", ping = "c" }, { binary = "d" } })
    t:equal({ passed, code, x.closed.reason }, { { "a", "b", "c" }, 1003, "not this kind of message" })
    t:equal((select(2, talk(plugin, { { ping = "a" } }))), 1003)
    t:equal((select(2, talk(plugin, { { fragments = { "a", "b" }, opcode = "binary" } }))), 1003)
    plugin = t:plugin { to_client = { opcodes = { "binary" }, refused = "drop" }, codes = { opcode = 4003 } }
    passed = talk(plugin, { { from = "upstream", text = "a" }, { from = "upstream", binary = "b" }, "c", { ping = "d" } })
    t:equal(passed, { "c", "d", "b" })
  end,

  ["only JSON"] = function(t)
    local plugin = t:plugin { to_upstream = { json = true, refused = "drop" } }
    local passed = talk(plugin, { '{"a":1}', "[1,2,]", " 5 ", "", "{a:1}", "NaN", { binary = "[]" }, { binary = "\255" } })
    t:equal(passed, { '{"a":1}', " 5 ", "[]" })
    plugin = t:plugin { to_upstream = { json = true }, codes = { json = 4400 } }
    local _, code, x = talk(plugin, { "x" })
    t:equal({ code, x.closed.reason }, { 4400, "no JSON" })
  end,

  ["JSON as agreed"] = function(t)
    local plugin = t:plugin {
      to_upstream = {
        refused = "drop",
        schema = {
          type = "object",
          required = { "type" },
          properties = { type = { enum = { "say", "join" } }, text = { type = "string", maxLength = 5 } },
          additionalProperties = false,
        },
      },
    }
    local passed, _, x = talk(plugin, {
      '{"type":"say","text":"hello"}', '{"type":"say","text":"hello!"}', '{"type":"leave"}', '{"text":"a"}', "[]",
      '{"type":"join","more":1}', '{"type":"join"}', "x",
    })
    t:equal(passed, { '{"type":"say","text":"hello"}', '{"type":"join"}' })
    t:equal(x.log[1], {
      level = "debug",
      message = "not as agreed, to_upstream: /text: has more characters than 5",
    })
    plugin = t:plugin { to_upstream = { schema = '{"const":null}' } }
    local _, code = talk(plugin, { "null", "0" })
    t:equal(code, 1008)
  end,

  ["what was read goes on, not what was written"] = function(t)
    local plugin = t:plugin { to_upstream = { rewrite = true } }
    t:equal(talk(plugin, { '{ "a": 1, "a": [ 2 ] }' }), { '{"a":[2]}' })
  end,

  ["it ends with its token"] = function(t)
    local plugin = t:plugin({ expires = { header = "x-token-exp" } }, granted)
    local from = weir.time.now()
    local headers = { ["x-token-exp"] = tostring(from + 30) }
    local passed, code, x = talk(plugin, { "a", { wait = 29 }, "b", { wait = 2 }, "c" }, { headers = headers })
    t:equal({ passed, code, x.closed.reason, x.closed.by }, { { "a", "b" }, 4001, "the token has expired", "plugin" })
    t:equal(x.groups, { `expires:{from + 30}` })
    -- If no tick ends it.
    t:equal(x.limits, { max_age = 32 })
    passed, code = talk(plugin, { "a" }, { headers = headers })
    t:equal({ passed, code }, { {}, 4001 })
  end,

  ["those of others end, too"] = function(t)
    local plugin = t:plugin({ expires = { header = "x-token-exp", code = 3000, reason = "bye" } }, granted)
    local second = weir.time.now() + 5
    local others = { { id = "8", groups = { `expires:{second}` } }, { id = "9", groups = { `expires:{second + 9}` } } }
    local _, code, x = talk(plugin, { { wait = 7 } }, { others = others, headers = { ["x-token-exp"] = tostring(second + 60) } })
    t:equal({ code, x.sent }, { 1000, { { relay = "8", code = 3000, reason = "bye" } } })
  end,

  ["a pause of ticks spares nobody"] = function(t)
    local now = weir.time.now()
    weir.kv.set("swept", tostring(now - 400))
    local plugin = t:plugin({ expires = { header = "x-token-exp", max_age = 600 } }, granted)
    local others = { { id = "8", groups = { `expires:{now - 80}` } } }
    local _, code, x = talk(plugin, { { wait = 2 } }, { others = others, headers = { ["x-token-exp"] = tostring(now + 1e6) } })
    t:equal({ code, x.sent, x.limits }, {
      1000, { { relay = "8", code = 4001, reason = "the token has expired" } }, { max_age = 600 },
    })
  end,

  ["without a token it does not begin, or has no end"] = function(t)
    local plugin = t:plugin({ expires = { header = "x-token-exp" } }, granted)
    for _, header in { false, "never", "nan", "inf" } do
      t:equal((select(2, talk(plugin, { "a" }, { headers = { ["x-token-exp"] = header or nil } }))), 4001)
    end
    plugin = t:plugin({ expires = { header = "x-token-exp", required = false } }, granted)
    t:equal(talk(plugin, { { wait = 100 }, "a" }), { "a" })
  end,

  ["the end goes over to newer code"] = function(t)
    local plugin = t:plugin({ expires = { header = "x-token-exp" }, to_upstream = { max_message = 5 } }, granted)
    local headers = { ["x-token-exp"] = tostring(weir.time.now() + 30) }
    local passed, code, x = talk(plugin, { { migrate = true }, "a", { wait = 31 }, "b" }, { headers = headers })
    t:equal({ passed, code, x.failure, x.limits }, { { "a" }, 4001, nil, { max_age = 32 } })
  end,

  ["wrong settings are told"] = function(t)
    for wanted, settings in {
      ["nothing would be guarded"] = {},
      ["goes with `messages_per_second`"] = { to_upstream = { messages_burst = 5 } },
      ['no "sizes"'] = { to_upstream = { json = true }, codes = { sizes = 4000 } },
      ["1005 is no close code"] = { to_upstream = { json = true }, codes = { size = 1005 } },
      ["was not granted the group"] = { expires = { header = "x" } },
      ["the setting `header` is missing"] = { expires = {} },
      ['the keyword "format" is not known'] = { to_client = { schema = { format = "email" } } },
      ["the schema is no JSON"] = { to_client = { schema = "{" } },
      ["the schema at /properties/a"] = { to_client = { schema = { properties = { a = 5 } } } },
      ["cannot be"] = { to_client = { opcodes = { "close" } } },
    } do
      t:error(function()
        t:plugin(settings)
      end, wanted)
    end
  end,
}
