-- Requests of the plugin's own.
local load = require("./lent")

return {
  ["one is sent, and its answer read"] = function(t)
    t:http(function(call)
      return { status = 201, headers = { ["x-a"] = { "1", "2" } }, body = `{call.method} {call.path} {call.body}` }
    end)
    local plugin = load(t) {
      hooks = { request = {
        { call = "http.request", args = { { upstream = "auth", path = "/verify?a=b", method = "POST", headers = { { "x-token", "t" } }, body = "hello", timeout = 3, limit = 1000, stream = true } }, save = "answer" },
        { say = { respond = { body = "${answer}" } } },
      } },
    }
    t:equal(weir.json.decode(plugin:exchange({}).response.body), {
      status = 201, headers = { { "x-a", "1" }, { "x-a", "2" } }, body = "POST /verify?a=b hello",
    })
    t:equal(#t.calls, 1)
    t:equal(t.calls[1].upstream, "auth")
    t:equal(t.calls[1].headers["x-token"], "t")
  end,
  ["all that an answer has"] = function(t)
    t:http(function()
      return { status = 203, headers = { ["x-a"] = { "1", "2" } }, body = "hello" }
    end)
    local plugin = load(t) {
      hooks = { request = {
        { call = "http-response.status", args = { { url = "https://login.example.com/keys" } }, save = "status" },
        { call = "http-response.header", args = { { url = "https://login.example.com/keys" }, "X-A" }, save = "header" },
        { call = "http-response.header", args = { { url = "https://login.example.com/keys" }, "x-b" }, save = "none" },
        { call = "http-response.header-all", args = { { url = "https://login.example.com/keys" }, "x-a" }, save = "all" },
        { call = "http-response.headers", args = { { url = "https://login.example.com/keys" } }, save = "headers" },
        { call = "http-response.read", args = { { url = "https://login.example.com/keys" } }, save = "body" },
        { call = "http-response.piece", args = { { url = "https://login.example.com/keys", stream = true } }, save = "pieces" },
        { call = "http-response.read", args = { { url = "https://login.example.com/keys" }, 3 }, save = "long" },
        { say = { respond = { body = "[${status},\"${header}\",${none},${all},${headers},\"${body}\",\"${pieces}\",${long}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal({ table.unpack(results, 1, 7) }, {
      203, "1", weir.json.null, { "1", "2" }, { { "x-a", "1" }, { "x-a", "2" } }, "hello", "hello",
    })
    t:match(results[8].error, "3")
  end,
  ["several at once"] = function(t)
    t:http(function(call)
      if call.path == "/bad" then
        return nil, "the connection broke"
      end
      return { status = 200, body = call.path }
    end)
    local plugin = load(t) {
      hooks = { request = {
        { call = "http.all", args = { { { upstream = "auth", path = "/a" }, { upstream = "auth", path = "/bad" } } }, save = "answers" },
        { call = "http.all", args = { { { upstream = "auth" }, { upstream = "other" } } }, save = "denied" },
        { say = { respond = { body = "[${answers},${denied}]" } } },
      } },
    }
    local answers, denied = table.unpack(weir.json.decode(plugin:exchange({}).response.body))
    t:equal(answers[1], { status = 200, headers = {}, body = "/a" })
    t:match(answers[2].error, "the connection broke")
    t:match(denied.error, "other")
  end,
  ["what is not granted or fails is an error"] = function(t)
    t:http(function()
      return nil, "the connection broke"
    end)
    local plugin = load(t) {
      hooks = { request = {
        { call = "http.request", args = { { upstream = "other" } }, save = "upstream" },
        { call = "http.request", args = { { url = "https://example.com/" } }, save = "host" },
        { call = "http.request", args = { { upstream = "auth" } }, save = "broken" },
        { call = "http.request", args = { { upstream = "auth", path = "no slash" } }, save = "invalid" },
        { say = { respond = { body = "[${upstream},${host},${broken},${invalid}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:match(results[1].error, "other")
    t:match(results[2].error, "https://example.com")
    t:match(results[3].error, "the connection broke")
    t:match(results[4].error, "slash")
  end,
}
