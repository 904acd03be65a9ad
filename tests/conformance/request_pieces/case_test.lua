-- on_request_body: pieces of the request's body on its way.
local load = require("./lent")

return {
  ["they pass where nothing is said"] = function(t)
    local plugin = load(t) { hooks = { ["request-body"] = { { call = "log.info", args = { "${data} ${last}" } } } } }
    local x = plugin:exchange { method = "POST", body = "hello" }
    t:equal(x.request.body, "hello")
    t:equal(x.log, { { level = "info", message = "hello false" }, { level = "info", message = " true" } })
  end,
  ["they are replaced, and held back"] = function(t)
    local plugin = load(t) {
      hooks = { ["request-body"] = {
        { ["if"] = "last", say = { replace = "!" } },
        { say = { replace = "<${data}>" } },
      } },
    }
    t:equal(plugin:exchange({ method = "POST", body = "hello" }).request.body, "<hello>!")
    local held = load(t) { hooks = { ["request-body"] = { { say = { replace = "" } } } } }
    t:equal(held:exchange({ method = "POST", body = "hello" }).request.body, "")
  end,
  ["the request is answered"] = function(t)
    local plugin = load(t) { hooks = { ["request-body"] = { { say = { respond = { status = 413, body = "too much" } } } } } }
    local x = plugin:exchange { method = "POST", body = "hello" }
    t:equal(x.answered_by, "plugin")
    t:equal(x.response.status, 413)
    t:equal(x.response.body, "too much")
  end,
  ["it fails with a text"] = function(t)
    local plugin = load(t) { hooks = { ["request-body"] = { { say = { fail = "not readable" } } } } }
    local x = plugin:exchange { method = "POST", body = "hello" }
    t:equal(x.answered_by, "failure")
    t:match(x.failure, "on_request_body")
    t:match(x.failure, "not readable")
  end,
  ["a body that is passed is not shown"] = function(t)
    local plugin = load(t) {
      hooks = { request = { { call = "request.body.pass" } }, ["request-body"] = { { say = { replace = "seen" } } } },
    }
    local x = plugin:exchange { method = "POST", body = "hello" }
    t:equal(x.answered_by, "upstream")
    t:equal(x.request.body, "hello")
  end,
}
