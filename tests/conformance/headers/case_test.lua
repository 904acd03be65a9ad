-- Header fields of requests and responses.
local load = require("./lent")

return {
  ["of a request"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "request.headers.get", args = { "X-A" }, save = "first" },
        { call = "request.headers.get-all", args = { "x-a" }, save = "all" },
        { call = "request.headers.get", args = { "x-none" }, save = "none" },
        { call = "request.headers.entries", save = "entries" },
        { call = "request.headers.set", args = { "X-B", { hex = "ff00ff" } }, save = "refused" },
        { call = "request.headers.set", args = { "content-length", "7" }, save = "denied" },
        { call = "request.headers.set", args = { "X-Set", "${first} ${all} ${none}" } },
        { call = "request.headers.add", args = { "x-a", "3" } },
        { call = "request.headers.remove", args = { "x-gone" } },
        { call = "request.headers.set", args = { "x-entries", "${entries}" } },
        { call = "request.headers.set", args = { "x-errors", "[${refused},${denied}]" } },
      } },
    }
    local sent = plugin:exchange({ headers = { host = "a.test", ["x-a"] = { "1", "2" }, ["x-gone"] = "g" } }).request.headers
    t:equal(sent["x-set"], '1 ["1","2"] null')
    t:equal(sent["x-a"], { "1", "2", "3" })
    t:equal(sent["x-gone"], nil)
    local entries = weir.json.decode(sent["x-entries"])
    table.sort(entries, function(a, b) return a[1] .. a[2] < b[1] .. b[2] end)
    t:equal(entries, { { "host", "a.test" }, { "x-a", "1" }, { "x-a", "2" }, { "x-gone", "g" } })
    local errors = weir.json.decode(sent["x-errors"])
    t:truthy(errors[1].error)
    t:match(errors[2].error, "content%-length")
  end,
  ["of a response"] = function(t)
    local plugin = load(t) {
      hooks = { response = {
        { call = "response.headers.get", args = { "x-a" }, save = "first" },
        { call = "response.headers.get-all", args = { "x-a" }, save = "all" },
        { call = "response.headers.remove", args = { "x-gone" } },
        { call = "response.headers.add", args = { "x-a", "3" } },
        { call = "response.headers.set", args = { "x-set", "${first} ${all}" } },
        { call = "request.headers.get", args = { "host" }, save = "host" },
        { call = "response.headers.set", args = { "x-host", "$host" } },
        { call = "response.headers.entries", save = "entries" },
        { call = "log.info", args = { "$entries" } },
      } },
    }
    local x = plugin:exchange { upstream = { headers = { ["x-a"] = { "1", "2" }, ["x-gone"] = "g" } } }
    t:equal(x.response.headers["x-a"], { "1", "2", "3" })
    t:equal(x.response.headers["x-gone"], nil)
    t:equal(x.response.headers["x-set"], '1 ["1","2"]')
    t:equal(x.response.headers["x-host"], "app.test")
    local entries = weir.json.decode(x.log[1].message)
    table.sort(entries, function(a, b) return a[1] .. a[2] < b[1] .. b[2] end)
    t:equal(entries, { { "x-a", "1" }, { "x-a", "2" }, { "x-a", "3" }, { "x-host", "app.test" }, { "x-set", '1 ["1","2"]' } })
  end,
}
