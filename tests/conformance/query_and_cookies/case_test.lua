-- Parameters of the query, and cookies.
local load = require("./lent")

return {
  ["parameters are read and changed"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "request.query.get", args = { "a" }, save = "first" },
        { call = "request.query.get", args = { "flag" }, save = "flag" },
        { call = "request.query.get", args = { "none" }, save = "none" },
        { call = "request.query.get-all", args = { "a" }, save = "all" },
        { call = "request.query.entries", save = "entries" },
        { call = "request.query.set", args = { "a", "x y" } },
        { call = "request.query.remove", args = { "flag" } },
        { call = "request.query.set", args = { "new", "&" } },
        { call = "request.headers.set", args = { "x-read", "[\"${first}\",\"${flag}\",${none},${all},${entries}]" } },
      } },
    }
    local sent = plugin:exchange({ path = "/?a=1%202&flag&a=3" }).request
    t:equal(sent.query_string, "a=x%20y&new=%26")
    local null = weir.json.null
    t:equal(weir.json.decode(sent.headers["x-read"]), {
      "1 2", "", null, { "1 2", "3" }, { { "a", "1 2" }, { "flag", "" }, { "a", "3" } },
    })
  end,
  ["cookies are read"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "request.cookies.get", args = { "a" }, save = "first" },
        { call = "request.cookies.get", args = { "none" }, save = "none" },
        { call = "request.cookies.entries", save = "entries" },
        { say = { respond = { body = "[\"${first}\",${none},${entries}]" } } },
      } },
    }
    local x = plugin:exchange { headers = { host = "a.test", cookie = "a=1; b=2; a=3" } }
    t:equal(weir.json.decode(x.response.body), { "1", weir.json.null, { { "a", "1" }, { "b", "2" }, { "a", "3" } } })
  end,
}
