-- Values of the plugin's own.
local load = require("./lent")

return {
  ["they are set, read and removed"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "kv.get", args = { "a" }, save = "none" },
        { call = "kv.set", args = { "a", "1" } },
        { call = "kv.get", args = { "a" }, save = "one" },
        { call = "kv.add", args = { "a", "2" }, save = "added" },
        { call = "kv.add", args = { "b", { hex = "ff00" } }, save = "added-b" },
        { call = "kv.get", args = { "b" }, save = "b" },
        { call = "kv.delete", args = { "a" }, save = "deleted" },
        { call = "kv.delete", args = { "a" }, save = "deleted-again" },
        { say = { respond = { body = "[${none},${one},${added},${added-b},${b},${deleted},${deleted-again}]" } } },
      } },
    }
    t:equal(weir.json.decode(plugin:exchange({}).response.body), {
      weir.json.null, 1, false, true, { hex = "ff00" }, true, false,
    })
  end,
  ["numbers are counted"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "kv.incr", args = { "n", 2, 5 }, save = "first" },
        { call = "kv.incr", args = { "n", 10, 5 }, save = "second" },
        { call = "kv.set", args = { "text", "abc" } },
        { call = "kv.incr", args = { "text", 1, 0 }, save = "wrong" },
        { say = { respond = { body = "[${first},${second},${wrong}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal(results[1], 7)
    t:equal(results[2], 17)
    t:truthy(results[3].error)
  end,
  ["one is changed where it is what was expected"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "kv.get", args = { "a" }, save = "none" },
        { call = "kv.cas", args = { "a", "$none", "1" }, save = "made" },
        { call = "kv.cas", args = { "a", "$none", "2" }, save = "made-again" },
        { call = "kv.cas", args = { "a", "1", "2" }, save = "changed" },
        { call = "kv.cas", args = { "a", "1", "3" }, save = "changed-again" },
        { call = "kv.get", args = { "a" }, save = "at-last" },
        { say = { respond = { body = "${made} ${made-again} ${changed} ${changed-again} ${at-last}" } } },
      } },
    }
    t:equal(plugin:exchange({}).response.body, "true false true false 2")
  end,
  ["they live for a time"] = function(t)
    local plugin = load(t) {
      hooks = {
        request = {
          { call = "kv.get", args = { "a" }, save = "a" },
          { call = "kv.ttl", args = { "a" }, save = "ttl" },
          { call = "kv.ttl", args = { "none" }, save = "none" },
          { say = { respond = { body = "${a} ${ttl} ${none}" } } },
        },
        log = { { call = "kv.add", args = { "a", "1", 60 } } },
      },
    }
    t:equal(plugin:exchange({}).response.body, "null null null")
    t:advance(20)
    t:equal(plugin:exchange({}).response.body, "1 40 null")
    t:advance(40)
    t:equal(plugin:exchange({}).response.body, "null null null")
  end,
  ["a key that is too long is an error"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "request.path", save = "path" },
        { call = "kv.set", args = { "$path", "1" }, save = "wrong" },
        { say = { respond = { body = "${wrong}" } } },
      } },
    }
    local x = plugin:exchange { path = "/" .. string.rep("a", 1024) }
    t:match(weir.json.decode(x.response.body).error, "1024")
  end,
}
