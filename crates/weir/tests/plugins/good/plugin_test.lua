local text = require "lib.text"

local two = { app = { "10.0.0.1:80", { address = "10.0.0.2:80", load = 7 } }, other = { "10.0.0.3:80" } }

return {
  ["what is exchanged is seen whole"] = function(t)
    local plugin = t:plugin()
    t:equal(plugin.log, { { level = "info", message = "loaded" } })
    local x = plugin:exchange {
      method = "put", path = "/a/../b?c=d", headers = { host = "a.test", ["x-many"] = { "1", "2" } },
      upstream = { status = 201, headers = { ["x-b"] = "3" }, body = "made" },
    }
    t:equal(x, {
      request = {
        method = "put", path = "/b", query_string = "c=d", upstream = "app", endpoint = "192.0.2.80:80",
        headers = { host = "a.test", ["x-many"] = { "1", "2" }, ["x-text"] = "PUT!" }, body = "",
      },
      response = { status = 201, headers = { ["x-b"] = "3", ["x-count"] = "1" }, body = "made" },
      answered_by = "upstream",
      attempts = { { upstream = "app", endpoint = "192.0.2.80:80" } },
      log = {
        { level = "debug", message = "asked for /b" },
        { level = "warn", message = "put 201 192.0.2.80:80" },
      },
    })
  end,

  ["the plugin answers"] = function(t)
    local x = t:plugin({ refuse = "/a" }):exchange { path = "/a" }
    t:equal(x.answered_by, "plugin")
    t:equal(x.response, { status = 403, headers = { ["x-a"] = { "1", "2" }, ["x-count"] = "0" }, body = "no\n" })
    t:equal(x.request.upstream, nil)
    t:equal(t:plugin():exchange({ upstream = { status = 599 } }).response.status, 502)
  end,

  ["a failure goes by the policy"] = function(t)
    local x = t:plugin():exchange { path = "/break" }
    t:equal(x.answered_by, "failure")
    t:equal(x.response.status, 502)
    t:equal(x.failure, "on_request: plugin.lua:24: broken")
    t:falsy(x.request.upstream)
    x = t:plugin({}, { on_failure = "open" }):exchange { path = "/break" }
    t:equal(x.answered_by, "upstream")
    t:match(x.failure, "broken$")
    t:equal(x.response.headers["x-count"], "0")
  end,

  ["an upstream is chosen"] = function(t)
    local plugin = t:plugin()
    local function asked(path)
      return plugin:exchange({ path = path, upstreams = two }).request
    end
    t:equal(asked("/second").endpoint, "10.0.0.2:80")
    t:equal(asked("/other").endpoint, "10.0.0.3:80")
    t:equal(asked("/group").upstream, "other")
    local hashed = asked("/hash")
    t:equal({ hashed.hash_key, hashed.endpoint, hashed.upstream }, { "key", nil, "app" })
    local x = plugin:exchange { path = "/nowhere" }
    t:equal({ x.answered_by, x.failure }, { "failure", "the group app has no endpoint nowhere" })
    x = plugin:exchange { path = "/other" }
    t:equal({ x.response.status, x.failure }, { 502, "a plugin chose an upstream that is not there: other" })
  end,

  ["attempts that fail are made again"] = function(t)
    local refused, status = "the endpoint refused the connection", "its status is one to try again for"
    local x = t:plugin():exchange {
      path = "/patient", upstreams = two,
      attempts = { { failure = refused }, { status = 503 }, { status = 201, body = "made" } },
    }
    t:equal({ x.answered_by, x.response.status, x.response.body, x.failure }, { "upstream", 201, "made" })
    t:equal(x.attempts, {
      { upstream = "app", endpoint = "10.0.0.1:80", failure = refused },
      { upstream = "app", endpoint = "10.0.0.2:80", failure = status },
      { upstream = "other", endpoint = "10.0.0.3:80" },
    })
    t:equal({ x.request.upstream, x.request.endpoint }, { "other", "10.0.0.3:80" })
    local seen = "0 -; 10.0.0.1:80 true; 10.0.0.2:80 true; "
      .. `1 {refused}; 10.0.0.1:80 false; 10.0.0.2:80 true; `
      .. `2 {status}; 10.0.0.1:80 false; 10.0.0.2:80 true`
    t:equal(x.log[4].message, seen)
  end,

  ["the last attempt may fail, too"] = function(t)
    local late = "no response from the upstream"
    local x = t:plugin():exchange { upstreams = two, group = "app", attempts = { { failure = late }, { failure = late } } }
    t:equal({ x.answered_by, x.response.status, x.failure, #x.attempts }, { "failure", 504, late, 2 })
    x = t:plugin():exchange { upstream = { failure = "the TLS handshake with the endpoint failed" } }
    t:equal({ x.response.status, #x.attempts }, { 502, 1 })
    x = t:plugin():exchange { path = "/hash", attempts = { { failure = late }, {} } }
    t:equal(x.attempts, { { upstream = "app", hash_key = "key", failure = late }, { upstream = "app", hash_key = "key" } })
    t:equal(#t:plugin({ refuse = "/a" }):exchange({ path = "/a" }).attempts, 0)
  end,

  ["the clock is the test's"] = function(t)
    local before = weir.time.now()
    local plugin = t:plugin { wait = 9 }
    t:equal(plugin:exchange().response.headers["x-count"], "1")
    t:equal(weir.time.now() - before, 9)
    t:equal(weir.kv.ttl("count"), 60)
    t:advance(30.5)
    t:equal(plugin:exchange().response.headers["x-count"], "2")
    t:advance(60)
    t:equal(plugin:exchange().response.headers["x-count"], "1")
    local x = t:plugin({ wait = 11 }):exchange()
    t:equal(x.failure, "on_request: it took longer than its deadline of 10s")
  end,

  ["each test has a store of its own"] = function(t)
    t:equal(weir.kv.get("count"), nil)
    t:equal(t:plugin():exchange().response.headers["x-count"], "1")
  end,

  ["modules can be tested alone"] = function(t)
    t:equal(text.shout("a"), "A!")
  end,

  ["what cannot be is told"] = function(t)
    t:error(function() t:plugin { refuse = 1 } end, "`refuse`")
    t:error(function() t:plugin({}, { on_failure = "maybe" }) end, "`on_failure` is no option")
    local plugin = t:plugin()
    local message = t:error(function() plugin:exchange { url = "/" } end, "an exchange has no `url`: there are method")
    t:match(message, "^plugin_test.lua:%d+: ")
    t:error(function() plugin:exchange { client_ip = "x" } end, "\"x\" is no IP address")
    t:error(function() plugin:exchange { path = "/a/%zz" } end, "400")
    t:error(function() plugin:exchange { upstream = { status = 99 } } end, "99 is no status")
    t:error(function() plugin:exchange { attempts = {} } end, "one attempt or more")
    t:error(function() plugin:exchange { attempts = { {} }, upstream = {} } end, "not both")
    t:error(function() plugin:exchange { attempts = { {}, { status = 99 } } } end, "`attempts[2]`: 99 is no status")
    message = t:error(function() plugin:exchange { upstream = { failure = "connect" } } end, "no attempt fails with \"connect\"")
    t:match(message, '\n  "the endpoint refused the connection"\n')
    t:error(function() plugin:exchange { upstream = { failure = "connect", status = 200 } } end, "has no `status`")
    t:error(function() plugin:exchange { group = "none" } end, "there is no group \"none\"")
    t:error(function() t:advance(-1) end, "no time in seconds")
    t:error(function() t:advance("1") end, "1 is no time in seconds")
    t:error(function() t:plugin({}, { secrets = { token = "" } }) end, "the secret `token` is a string")
  end,
}
