-- on_response_body: pieces of the response's body on its way.
local load = require("./lent")

return {
  ["they pass where nothing is said"] = function(t)
    local plugin = load(t) { hooks = { ["response-body"] = { { call = "log.info", args = { "${data} ${last}" } } } } }
    local x = plugin:exchange { upstream = { body = "hello" } }
    t:equal(x.response.body, "hello")
    t:equal(x.log, { { level = "info", message = "hello false" }, { level = "info", message = " true" } })
  end,
  ["they are replaced"] = function(t)
    local plugin = load(t) {
      hooks = { ["response-body"] = {
        { ["if"] = "last", say = { replace = "!" } },
        { say = { replace = "<${data}>" } },
      } },
    }
    t:equal(plugin:exchange({ upstream = { body = "hello" } }).response.body, "<hello>!")
  end,
  ["what an earlier hook has saved is there"] = function(t)
    local plugin = load(t) {
      hooks = {
        request = { { call = "request.path", save = "path" } },
        ["response-body"] = { { ["if"] = "last", say = { replace = " at ${path}" } } },
      },
    }
    t:equal(plugin:exchange({ path = "/a", upstream = { body = "hello" } }).response.body, "hello at /a")
  end,
  ["it cannot answer: the response has begun"] = function(t)
    local plugin = load(t) { hooks = { ["response-body"] = { { say = { respond = { status = 500 } } } } } }
    local x = plugin:exchange { upstream = { body = "hello" } }
    t:match(x.failure, "on_response_body")
  end,
  ["it fails with a text"] = function(t)
    local plugin = load(t) { hooks = { ["response-body"] = { { say = { fail = "not readable" } } } } }
    local x = plugin:exchange { upstream = { body = "hello" } }
    t:match(x.failure, "on_response_body")
    t:match(x.failure, "not readable")
  end,
  ["a body that is passed is not shown"] = function(t)
    local plugin = load(t) {
      hooks = { response = { { call = "response.body.pass" } }, ["response-body"] = { { say = { replace = "seen" } } } },
    }
    t:equal(plugin:exchange({ upstream = { body = "hello" } }).response.body, "hello")
  end,
}
