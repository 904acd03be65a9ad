-- Values that plugins share.
local load = require("./lent")

return {
  ["all that the plugin's own can do"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "store.get", args = { "shared", "a" }, save = "none" },
        { call = "store.set", args = { "shared", "a", "1", 60 } },
        { call = "store.get", args = { "shared", "a" }, save = "one" },
        { call = "store.ttl", args = { "shared", "a" }, save = "ttl" },
        { call = "store.add", args = { "shared", "a", "2" }, save = "added" },
        { call = "store.incr", args = { "shared", "a", 2, 0 }, save = "sum" },
        { call = "store.cas", args = { "shared", "a", "3", "4" }, save = "changed" },
        { call = "store.delete", args = { "shared", "a" }, save = "deleted" },
        { say = { respond = { body = "${none} ${one} ${ttl} ${added} ${sum} ${changed} ${deleted}" } } },
      } },
    }
    t:equal(plugin:exchange({}).response.body, "null 1 60 false 3 true true")
  end,
  ["they are not the plugin's own"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "store.set", args = { "shared", "a", "1" } },
        { call = "kv.get", args = { "a" }, save = "own" },
        { say = { respond = { body = "${own}" } } },
      } },
    }
    t:equal(plugin:exchange({}).response.body, "null")
  end,
  ["a namespace must be granted"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "store.get", args = { "other", "a" }, save = "denied" },
        { say = { respond = { body = "${denied}" } } },
      } },
    }
    t:match(weir.json.decode(plugin:exchange({}).response.body).error, "other")
  end,
  ["without `save` a call that fails is a failure of the hook"] = function(t)
    local plugin = load(t) { hooks = { request = { { call = "store.get", args = { "other", "a" } } } } }
    local x = plugin:exchange {}
    t:equal(x.answered_by, "failure")
    t:match(x.failure, "other")
  end,
}
