-- What goes to a side of what comes for it, as texts, and how it ended.
local function seen(plugin, from, messages)
  local events = {}
  for _, message in messages do
    table.insert(events, if type(message) == "string" then { from = from, text = message } else message)
  end
  local x = plugin:websocket { events = events }
  local texts = {}
  for _, sent in if from == "client" then x.to_upstream else x.to_client do
    table.insert(texts, sent.data)
  end
  return texts, x
end

-- One JSON message, and what became of it.
local function one(t, settings, message)
  local texts = seen(t:plugin { to_client = settings }, "upstream", { message })
  return weir.json.decode(texts[1])
end

return {
  ["fields are masked by their paths"] = function(t)
    local settings = { fields = { "user.email", "items.*.card", "list.2", "any.*", "deep.a.b.c", "top" } }
    t:equal(one(t, settings, [[{
      "user": { "email": "a@b.test", "name": "Ada" },
      "items": [ { "card": "4111", "n": 1 }, { "n": 2 }, "card", null ],
      "list": [ 1, 2, 3 ],
      "any": { "x": 1, "y": { "z": 2 }, "null": null },
      "deep": { "a": [] },
      "top": [ 1 ], "left": "alone"
    }]]), {
      user = { email = "***", name = "Ada" },
      items = { { card = "***", n = 1 }, { n = 2 }, "card", weir.json.null },
      list = { 1, "***", 3 },
      any = { x = "***", y = "***", null = weir.json.null },
      deep = { a = {} },
      top = "***", left = "alone",
    })
  end,

  ["lists at the top, names that are numbers, a mask of another kind"] = function(t)
    t:equal(one(t, { fields = { "*.id" }, mask = 0 }, '[{"id":5},{"id":"x","2":1}]'), { { id = 0 }, { id = 0, ["2"] = 1 } })
    t:equal(one(t, { fields = { "2" } }, '{"2":"a"}'), { ["2"] = "***" })
    t:equal(one(t, { fields = { "a" }, mask = false }, '{"a":1}'), { a = false })
  end,

  ["what has nothing to mask goes on byte for byte"] = function(t)
    local plugin = t:plugin { to_client = { fields = { "user.email" } } }
    local messages = { '{ "n":  12345678901234567890 }', "5", '"user"', '{"user":null}', '{"user":{"email":null}}', "no JSON" }
    t:equal(seen(plugin, "upstream", messages), messages)
    t:equal(seen(plugin, "client", { '{"user":{"email":"a"}}' }), { '{"user":{"email":"a"}}' })
  end,

  ["fragments and escapes hide nothing"] = function(t)
    local plugin = t:plugin { to_client = { fields = { "email" }, patterns = { { pattern = "[a-z]+@[a-z.]+" } } } }
    t:equal(seen(plugin, "upstream", {
      { from = "upstream", fragments = { '{"ema', 'il":"a@b.test"}' } },
      '{"\\u0065mail":"x"}',
      '{"text":"write to a\\u0040b.test"}',
      '["a\\u0040b.test",{"x":["c@d.test"]}]',
      '"a\\u0040b.test"',
    }), { '{"email":"***"}', '{"email":"***"}', '{"text":"write to ***"}', '["***",{"x":["***"]}]', '"***"' })
  end,

  ["patterns mask texts of any kind"] = function(t)
    local plugin = t:plugin {
      to_upstream = { patterns = { { pattern = "\\b(\\d{4})-(\\d{4})\\b", with = "$1-****" }, { pattern = "(?i)secret", with = "" } } },
    }
    t:equal(seen(plugin, "client", { "my card 1234-5678, Secret!", '{"a":"1234-5678"}', "{1234-5678: 5}", "fine" }), {
      "my card 1234-****, !", '{"a":"1234-****"}', "{1234-****: 5}", "fine",
    })
  end,

  ["binary messages are looked at where they are JSON"] = function(t)
    local events = { { from = "client", binary = '{"a":1}' }, { from = "client", binary = "\255x" }, { from = "client", ping = "x" } }
    for invalid, expected in { [""] = { 1000, "\255x", "x" }, drop = { 1000, "x" }, close = { 1007 } } do
      local side = { fields = { "a" }, patterns = { { pattern = "x" } }, invalid = if invalid == "" then nil else invalid }
      local texts, x = seen(t:plugin { to_upstream = side }, "client", events)
      t:equal({ x.closed.code, table.unpack(texts, 2) }, expected)
      t:equal(texts[1], '{"a":"***"}')
    end
  end,

  ["what others may read as JSON does not go on"] = function(t)
    local deep = string.rep("[", 200) .. string.rep("]", 200)
    local fields, patterns = { fields = { "a" } }, { patterns = { { pattern = "x@y" } } }
    local function code(side, message)
      local texts, x = seen(t:plugin { to_client = side }, "upstream", { message })
      t:equal(#texts, if x.closed.code == 1007 then 0 else 1)
      return x.closed.code
    end
    for _, text in {
      '{"a":1,"b":"\\ud800"}', ' \r\n\t{"a":1,"b":1e400}', `\{"a":1,"b":{deep}}`, "[1,", '\u{feff}{"a":1}',
    } do
      t:equal({ code(fields, text), code(fields, { from = "upstream", binary = text }) }, { 1007, 1007 })
      t:equal(code({ fields = { "a" }, invalid = "forward" }, text), 1000)
    end
    for _, text in { "a {", '"\\ud800"', "1e400", "" } do
      t:equal({ code(fields, text), code(fields, { from = "upstream", binary = text }) }, { 1000, 1000 })
    end
    t:equal({ code(patterns, '["x\\u0040y\\ud800"]'), code(patterns, '"x\\u0040y\\ud800"') }, { 1007, 1007 })
    t:equal({ code(patterns, "[x@y] hello"), code(patterns, "C:\\x") }, { 1000, 1000 })
    t:equal(code(patterns, { from = "upstream", binary = '["x@y",1e400]' }), 1007)
  end,

  ["a text that is no JSON goes on, or goes no further, or ends it"] = function(t)
    for invalid, expected in { forward = { 1000, "{a", "b" }, drop = { 1000 }, close = { 1007 } } do
      local plugin = t:plugin { to_client = { fields = { "a" }, invalid = invalid } }
      local texts, x = seen(plugin, "upstream", { "{a", "b" })
      t:equal({ x.closed.code, table.unpack(texts) }, expected)
    end
    local plugin = t:plugin { to_client = { patterns = { { pattern = "a" } }, invalid = "close" } }
    t:equal(seen(plugin, "upstream", { "{a" }), {})
    t:equal(seen(t:plugin { to_client = { patterns = { { pattern = "a" } } } }, "upstream", { "{a" }), { "{***" })
  end,

  ["what cannot be looked at goes no further"] = function(t)
    local plugin = t:plugin { to_client = { fields = { "a" } } }
    local texts, x = seen(plugin, "upstream", { '{"b":"' .. string.rep("b", 1048576) .. '"}' })
    t:equal({ texts, x.closed.code }, { {}, 1011 })
    t:match(x.failure, "more than 1 MiB")
  end,

  ["it goes on in newer code"] = function(t)
    local plugin = t:plugin { to_client = { fields = { "a" } } }
    local texts, x = seen(plugin, "upstream", { { migrate = true }, '{"a":1}' })
    t:equal({ texts, x.failure }, { { '{"a":"***"}' }, nil })
  end,

  ["wrong settings are told"] = function(t)
    for wanted, settings in {
      ["nothing would be masked"] = { to_client = { mask = "x" } },
      ["is no path of a field"] = { to_client = { fields = { "a..b" } } },
      ["no regular expression"] = { to_client = { patterns = { { pattern = "(" } } } },
      ["`pattern` is missing"] = { to_client = { patterns = { { with = "x" } } } },
      ["cannot be"] = { to_client = { fields = { "a" }, invalid = "ignore" } },
    } do
      t:error(function()
        t:plugin(settings)
      end, wanted)
    end
  end,
}
