-- on_log, and lines of the log.
local load = require("./lent")

return {
  ["it is called at the end"] = function(t)
    local plugin = load(t) {
      hooks = { log = {
        { call = "response.status", save = "status" },
        { call = "request.path", save = "path" },
        { call = "log.info", args = { "${path} ${status}" } },
      } },
    }
    t:equal(plugin:exchange({ path = "/a" }).log, { { level = "info", message = "/a 200" } })
  end,
  ["lines have levels"] = function(t)
    local plugin = load(t) {
      hooks = { log = {
        { call = "log.debug", args = { "one" } },
        { call = "log.info", args = { "two" } },
        { call = "log.warn", args = { "three" } },
        { call = "log.error", args = { "four" } },
      } },
    }
    t:equal(plugin:exchange({}).log, {
      { level = "debug", message = "one" },
      { level = "info", message = "two" },
      { level = "warn", message = "three" },
      { level = "error", message = "four" },
    })
  end,
  ["nothing can be changed any more"] = function(t)
    local plugin = load(t) {
      hooks = { log = {
        { call = "response.headers.set", args = { "x-late", "1" }, save = "header" },
        { call = "response.set-status", args = { 404 }, save = "status" },
        { call = "log.info", args = { "[${header},${status}]" } },
      } },
    }
    local x = plugin:exchange {}
    local results = weir.json.decode(x.log[1].message)
    t:truthy(results[1].error)
    t:truthy(results[2].error)
    t:equal(x.response.status, 200)
    t:equal(x.response.headers["x-late"], nil)
  end,
  ["it fails with a text, and the response is as it was"] = function(t)
    local plugin = load(t) { hooks = { log = { { say = { fail = "disk is full" } } } } }
    local x = plugin:exchange {}
    t:equal(x.response.status, 200)
    t:match(x.failure, "on_log")
    t:match(x.failure, "disk is full")
  end,
}
