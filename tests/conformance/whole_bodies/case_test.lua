-- Bodies as a whole: read and replaced where the head is.
local load = require("./lent")

return {
  ["of a request"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "request.body.read", save = "body" },
        { call = "request.body.replace", args = { "<${body}>" } },
      } },
    }
    t:equal(plugin:exchange({ method = "POST", body = "hello" }).request.body, "<hello>")
  end,
  ["of a response"] = function(t)
    local plugin = load(t) {
      hooks = { response = {
        { call = "response.body.read", args = { 100 }, save = "body" },
        { call = "response.body.replace", args = { "<${body}>" } },
      } },
    }
    local x = plugin:exchange { upstream = { body = "hello" } }
    t:equal(x.response.body, "<hello>")
  end,
  ["one that is longer than the limit goes on"] = function(t)
    local plugin = load(t) {
      hooks = { response = {
        { call = "response.body.read", args = { 3 }, save = "body" },
        { call = "log.info", args = { "${body}" } },
      } },
    }
    local x = plugin:exchange { upstream = { body = "hello" } }
    t:equal(x.response.body, "hello")
    t:match(weir.json.decode(x.log[1].message).error, "3")
  end,
  ["bytes that are no text"] = function(t)
    local plugin = load(t) {
      hooks = { response = {
        { call = "response.body.read", save = "body" },
        { call = "log.info", args = { "${body}" } },
        { call = "response.body.replace", args = { { hex = "fffe00" } } },
      } },
    }
    local x = plugin:exchange { upstream = { body = "\xff\x00" } }
    t:equal(x.log[1].message, '{"hex":"ff00"}')
    t:equal(x.response.body, "\xff\xfe\0")
  end,
}
