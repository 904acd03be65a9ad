-- on_response: the head of the response.
local load = require("./lent")

return {
  ["it goes on where nothing is said"] = function(t)
    local plugin = load(t) {
      hooks = { response = {
        { call = "response.status", save = "status" },
        { call = "response.endpoint", save = "endpoint" },
        { call = "request.path", save = "path" },
        { call = "response.headers.set", args = { "x-seen", "${status} ${endpoint} ${path}" } },
        { call = "response.set-status", args = { 202 } },
      } },
    }
    local x = plugin:exchange { path = "/a", upstream = { status = 201 } }
    t:equal(x.answered_by, "upstream")
    t:equal(x.response.status, 202)
    t:equal(x.response.headers["x-seen"], "201 192.0.2.80:80 /a")
  end,
  ["a status that cannot be is an error"] = function(t)
    local plugin = load(t) {
      hooks = { response = {
        { call = "response.set-status", args = { 99 }, save = "result" },
        { call = "log.info", args = { "${result}" } },
      } },
    }
    local x = plugin:exchange {}
    t:equal(x.response.status, 200)
    t:match(weir.json.decode(x.log[1].message).error, "99")
  end,
  ["it is answered"] = function(t)
    local plugin = load(t) {
      hooks = { response = { { say = { respond = { status = 404, headers = { { "x-why", "hidden" } }, body = "no" } } } } },
    }
    local x = plugin:exchange { upstream = { body = "secret" } }
    t:equal(x.answered_by, "plugin")
    t:equal(x.response.status, 404)
    t:equal(x.response.headers["x-why"], "hidden")
    t:equal(x.response.body, "no")
  end,
  ["it fails with a text"] = function(t)
    local settings = { hooks = { response = { { say = { fail = "cannot sign it" } } } } }
    local x = load(t)(settings):exchange {}
    t:equal(x.answered_by, "failure")
    t:match(x.failure, "on_response")
    t:match(x.failure, "cannot sign it")
    t:equal(load(t, "open")(settings):exchange({}).answered_by, "upstream")
  end,
}
