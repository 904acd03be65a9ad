-- on_request: what is known of a request, what can be changed, what can be said.
local load = require("./lent")

return {
  ["all of it is known"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "request.request-id", save = "id" },
        { call = "request.route", save = "route" },
        { call = "request.method", save = "method" },
        { call = "request.scheme", save = "scheme" },
        { call = "request.host", save = "host" },
        { call = "request.path", save = "path" },
        { call = "request.query-string", save = "query" },
        { call = "request.version", save = "version" },
        { call = "request.is-websocket", save = "websocket" },
        { call = "request.client-ip", save = "ip" },
        { call = "request.capture", args = { "user" }, save = "user" },
        { call = "request.capture", args = { "other" }, save = "other" },
        { call = "request.upstream", save = "upstream" },
        { say = { respond = { body = "${id} ${route} ${method} ${scheme} ${host} ${path} ${query} ${version} ${websocket} ${ip} ${user} ${other} ${upstream}" } } },
      } },
    }
    local x = plugin:exchange {
      method = "POST", path = "/u/7?a=b", captures = { user = "7" }, headers = { host = "a.test:81" }, scheme = "https",
    }
    t:equal(x.response.body, "test-1 test POST https a.test:81 /u/7 a=b HTTP/1.1 false 192.0.2.1 7 null null")
  end,
  ["it can be changed"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "request.set-method", args = { "PUT" } },
        { call = "request.set-path", args = { "/b/../c" } },
        { call = "request.set-query-string", args = { "d=e" } },
        { call = "request.set-upstream", args = { "spare" } },
        { call = "request.upstream", save = "upstream" },
        { call = "request.headers.set", args = { "x-upstream", "$upstream" } },
      } },
    }
    local x = plugin:exchange {
      path = "/a", upstreams = { app = { "192.0.2.80:80" }, spare = { "192.0.2.81:80" } }, group = "app",
    }
    t:equal(x.request.method, "PUT")
    t:equal(x.request.path, "/c")
    t:equal(x.request.query_string, "d=e")
    t:equal(x.request.upstream, "spare")
    t:equal(x.request.headers["x-upstream"], "spare")
  end,
  ["what cannot be is an error"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "request.set-method", args = { "NOT A METHOD" }, save = "method" },
        { call = "request.set-path", args = { "no slash" }, save = "path" },
        { call = "request.set-query-string", args = { "a b" }, save = "query" },
        { say = { respond = { body = "[${method},${path},${query}]" } } },
      } },
    }
    local errors = weir.json.decode(plugin:exchange({}).response.body)
    t:match(errors[1].error, "NOT A METHOD")
    t:match(errors[2].error, "no slash")
    t:match(errors[3].error, "a b")
  end,
  ["it is answered"] = function(t)
    local plugin = load(t) {
      hooks = {
        request = { { say = { respond = {
          status = 403, headers = { { "x-why", "because" }, { "set-cookie", "a=1" }, { "set-cookie", "b=2" } }, body = "no",
        } } } },
      },
    }
    local x = plugin:exchange {}
    t:equal(x.answered_by, "plugin")
    t:equal(x.response.status, 403)
    t:equal(x.response.body, "no")
    t:equal(x.response.headers["x-why"], "because")
    t:equal(x.response.headers["set-cookie"], { "a=1", "b=2" })
  end,
  ["it goes on where nothing is said"] = function(t)
    local x = load(t)({ hooks = { request = { { say = "nothing" } } } }):exchange {}
    t:equal(x.answered_by, "upstream")
  end,
  ["it fails with a text"] = function(t)
    local settings = { hooks = { request = { { say = { fail = "no key today" } } } } }
    local x = load(t)(settings):exchange {}
    t:equal(x.answered_by, "failure")
    t:match(x.failure, "on_request")
    t:match(x.failure, "no key today")
    local open = load(t, "open")(settings):exchange {}
    t:equal(open.answered_by, "upstream")
    t:match(open.failure, "no key today")
  end,
}
