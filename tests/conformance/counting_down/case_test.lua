-- Numbers that are less than zero.
local load = require("./lent")

return {
  ["what is added, the sum, and where it begins"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "kv.incr", args = { "a", -7, 5 }, save = "sum" },
        { call = "kv.incr", args = { "b", 1, -5 }, save = "begun" },
        { call = "store.incr", args = { "shared", "a", -1, 0 }, save = "shared" },
        { call = "kv.get", args = { "a" }, save = "kept" },
        { say = { respond = { body = "${sum} ${begun} ${shared} ${kept}" } } },
      } },
    }
    local x = plugin:exchange {}
    t:equal(x.failure, nil)
    t:equal(x.response.body, "-2 -4 -1 -2")
  end,
}
