-- Counters, gauges and histograms.
local load = require("./lent")

return {
  ["they count"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "metrics.counter.add", args = { "conformance_hits", { kind = "a" }, 2 } },
        { call = "metrics.gauge.set", args = { "conformance_queue", {}, 3 } },
        { call = "metrics.gauge.add", args = { "conformance_queue", {}, -1 } },
        { call = "metrics.histogram.observe", args = { "conformance_size", {}, 512, { 1000, 1000000 } } },
        { say = { respond = { body = "counted" } } },
      } },
    }
    t:equal(plugin:exchange({}).response.body, "counted")
  end,
  ["what cannot be is an error"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "metrics.counter.add", args = { "conformance_less", {}, -1 }, save = "less" },
        { call = "metrics.counter.add", args = { "Bad Name", {}, 1 }, save = "name" },
        { call = "metrics.gauge.set", args = { "conformance_less", {}, 1 }, save = "kind" },
        { say = { respond = { body = "[${less},${name},${kind}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:truthy(results[1].error)
    t:match(results[2].error, "Bad Name")
    t:match(results[3].error, "conformance_less")
  end,
}
