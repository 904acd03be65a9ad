local function asked(t, side, what)
  return t:plugin({ request = side }):exchange(what).request.headers
end

return {
  ["without rules nothing changes"] = function(t)
    local x = t:plugin():exchange { headers = { host = "a.test", ["x-a"] = "1" }, upstream = { headers = { b = "2" } } }
    t:equal(x.request.headers, { host = "a.test", ["x-a"] = "1" })
    t:equal(x.response.headers, { b = "2" })
  end,

  ["headers are set, added and removed"] = function(t)
    local side = { set = { ["x-a"] = "new" }, add = { ["x-b"] = "more" }, remove = { "x-c" } }
    local before = { host = "a.test", ["x-a"] = { "1", "2" }, ["x-b"] = "1", ["x-c"] = "1" }
    local after = { host = "a.test", ["x-a"] = "new", ["x-b"] = { "1", "more" } }
    t:equal(asked(t, side, { headers = before }), after)
    local x = t:plugin({ response = side }):exchange { upstream = { headers = before } }
    t:equal(x.response.headers, after)
  end,

  ["templates know the request"] = function(t)
    local side = {
      set = {
        ["x-line"] = "{method} {scheme}://{host}{path}?{query}",
        ["x-who"] = "{client_ip} {request_id} {route} {sni} {client_subject}",
        ["x-parts"] = "{header:x-in} {cookie:session} {query:a}!",
      },
    }
    local told = asked(t, side, {
      method = "POST", path = "/p%20q?a=b%20c&d", route = "shop", request_id = "id-7", client_ip = "2001:db8::1",
      headers = { host = "a.test:81", ["x-in"] = "in", cookie = "session=7" },
      tls = { sni = "a.test", client_subject = "CN=me" },
    })
    t:equal(told["x-line"], "POST https://a.test:81/p%20q?a=b%20c&d")
    t:equal(told["x-who"], "2001:db8::1 id-7 shop a.test CN=me")
    t:equal(told["x-parts"], "in 7 b c!")
  end,

  ["what is not there is empty"] = function(t)
    local side = { set = { ["x-a"] = "[{sni}{client_ip}{header:x-no}{cookie:no}{query:no}{upstream}]" } }
    t:equal(asked(t, side, { client_ip = false })["x-a"], "[]")
  end,

  ["responses know which upstream was asked"] = function(t)
    local plugin = t:plugin { response = { set = { ["x-from"] = "{upstream} {path}" } } }
    t:equal(plugin:exchange({ path = "/a" }).response.headers["x-from"], "app /a")
  end,

  ["rules see the request as it came"] = function(t)
    local side = { set = { ["x-a"] = "{header:x-b}", ["x-b"] = "{header:x-a}" }, remove = { "x-a", "x-b" } }
    local told = asked(t, side, { headers = { ["x-a"] = "1", ["x-b"] = "2" } })
    t:equal({ told["x-a"], told["x-b"] }, { "2", "1" })
  end,

  ["what cannot be a header is a failure"] = function(t)
    local side = { set = { connection = "close" } }
    local x = t:plugin({ request = side }):exchange()
    t:equal(x.answered_by, "failure")
    t:match(x.failure, "connection")
  end,

  ["wrong settings are refused"] = function(t)
    local function with(template)
      return function() t:plugin { request = { set = { a = template } } } end
    end
    t:error(with("{clientip}"), "\"{clientip}\" is not known: there are {client_ip}")
    t:error(with("{nothing:x}"), "\"{nothing:x}\" is not known")
    t:error(with(1), "`request.set.a`")
    t:error(function() t:plugin { request = { remove = "x" } } end, "`request.remove`")
    t:error(function() t:plugin { response = { delete = {} } } end, "`response.delete`")
  end,
}
