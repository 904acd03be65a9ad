local function plugin(t, settings)
  local own = { upstream = "login", path = "/verify" }
  for name, value in settings or {} do
    own[name] = value
  end
  return t:plugin(own, { grants = { upstreams = { "login" } } })
end

return {
  ["a request that may pass does"] = function(t)
    t:http(function(call)
      return { status = 204, headers = { ["x-user"] = { "mary", "ann" } } }
    end)
    local x = plugin(t, { response_headers = { "x-user", "x-role" } }):exchange {
      method = "POST", path = "/a?b=c", client_ip = "192.0.2.7", body = "text",
      headers = { host = "shop.test", authorization = "Bearer 1", cookie = "a=b", accept = "*/*", ["x-user"] = "root", ["x-role"] = "root" },
    }
    t:equal(x.answered_by, "upstream")
    t:equal(x.request.headers["x-user"], { "mary", "ann" })
    t:falsy(x.request.headers["x-role"])
    t:equal(x.request.body, "text")
    local call = t.calls[1]
    t:equal({ call.upstream, call.method, call.path, call.body }, { "login", "GET", "/verify", "" })
    local headers = call.headers
    t:equal(headers["x-forwarded-method"], "POST")
    t:equal(headers["x-forwarded-uri"], "/a?b=c")
    t:equal(headers["x-forwarded-host"], "shop.test")
    t:equal(headers["x-forwarded-for"], "192.0.2.7")
    t:equal(headers["x-forwarded-proto"], "http")
    t:equal({ headers.authorization, headers.cookie }, { "Bearer 1", "a=b" })
    t:falsy(headers.accept)
  end,

  ["any other answer is the client's"] = function(t)
    for _, status in { 302, 401, 403, 500 } do
      t:http(function()
        return { status = status, headers = { ["set-cookie"] = { "a=1", "b=2" }, location = "/login" }, body = "log in" }
      end)
      local x = plugin(t):exchange {}
      t:equal(x.answered_by, "plugin")
      t:equal({ x.response.status, x.response.body, x.response.headers.location }, { status, "log in", "/login" })
      t:equal(x.response.headers["set-cookie"], { "a=1", "b=2" })
    end
  end,

  ["a server that does not answer lets nobody pass"] = function(t)
    t:http(function()
      return nil, "the endpoint refused the connection"
    end)
    local x = plugin(t):exchange {}
    t:equal({ x.answered_by, x.response.status }, { "plugin", 503 })
    t:match(x.log[1].message, "does not answer: the endpoint refused the connection$")
    t:equal(plugin(t, { unavailable_status = 500 }):exchange({}).response.status, 500)
  end,

  ["a URL is asked where it is granted"] = function(t)
    t:http(function()
      return { status = 200 }
    end)
    local settings = { url = "https://login.example.com/verify?x", request_headers = { "x-token" } }
    local asked = t:plugin(settings, { grants = { hosts = { "https://login.example.com" } } })
    t:equal(asked:exchange({ headers = { ["x-token"] = "1", authorization = "2" } }).answered_by, "upstream")
    t:equal({ t.calls[1].upstream, t.calls[1].path }, { "https://login.example.com", "/verify?x" })
    t:equal(t.calls[1].headers["x-token"], "1")
    t:falsy(t.calls[1].headers.authorization)
    local x = t:plugin(settings):exchange {}
    t:equal(x.answered_by, "failure")
    t:match(x.failure, "grants.hosts")
  end,

  ["settings say which server is asked"] = function(t)
    t:error(function()
      t:plugin {}
    end, "says which server is asked")
    t:error(function()
      t:plugin { url = "https://a.test", upstream = "login" }
    end, "says which server is asked")
  end,
}
