-- Time.
local load = require("./lent")

return {
  ["it goes on with the test's clock, and a hook may wait"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "time.now", save = "now" },
        { call = "time.monotonic", save = "begun" },
        { call = "time.sleep", args = { 2 } },
        { call = "time.now", save = "later" },
        { call = "time.monotonic", save = "over" },
        { call = "time.sleep", args = { 1e12 }, save = "wrong" },
        { say = { respond = { body = "[${now},${begun},${later},${over},${wrong}]" } } },
      } },
    }
    local now, begun, later, over, wrong = table.unpack(weir.json.decode(plugin:exchange({}).response.body))
    t:truthy(math.abs(later - now - 2) < 0.001)
    t:truthy(math.abs(over - begun - 2) < 0.001)
    t:truthy(wrong.error)
    t:advance(3600)
    local after = weir.json.decode(plugin:exchange({}).response.body)[1]
    t:truthy(math.abs(after - now - 3602) < 0.001)
  end,
}
