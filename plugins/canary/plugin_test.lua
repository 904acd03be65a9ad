local upstreams = { app = { "10.0.0.1:80" }, next = { "10.0.0.2:80" } }

local function ask(plugin, what)
  what = what or {}
  what.upstreams = upstreams
  local x = plugin:exchange(what)
  return x.request.upstream, x.response.headers["set-cookie"]
end

return {
  ["nobody without a weight, everybody with all of it"] = function(t)
    t:equal(ask(t:plugin { upstream = "next" }), "app")
    t:equal(ask(t:plugin { upstream = "next", weight = 100 }), "next")
  end,

  ["what was chosen is remembered in a cookie"] = function(t)
    local _, cookie = ask(t:plugin { upstream = "next", weight = 100, max_age = 60 })
    t:equal(cookie, "weir-canary=1; Path=/; Max-Age=60; HttpOnly; SameSite=Lax")
    _, cookie = ask(t:plugin { upstream = "next", cookie = "c" })
    t:equal(cookie, "c=0; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax")
  end,

  ["a client with a cookie stays"] = function(t)
    local none, all = t:plugin { upstream = "next" }, t:plugin { upstream = "next", weight = 100 }
    local function with(plugin, value)
      return { ask(plugin, { headers = { cookie = "weir-canary=" .. value } }) }
    end
    t:equal(with(none, "1"), { "next" })
    t:equal(with(all, "0"), { "app" })
    t:equal(with(none, "always"), { "next" })
    t:equal(with(all, "never"), { "app" })
    t:equal(with(all, "nonsense")[1], "next")
    t:truthy(with(all, "nonsense")[2])
  end,

  ["a header decides before all else"] = function(t)
    local plugin = t:plugin { upstream = "next", weight = 100, header = "x-canary", header_value = "yes" }
    local function with(value)
      return ask(plugin, { headers = { ["x-canary"] = value, cookie = "weir-canary=always" } })
    end
    t:equal(with("yes"), "next")
    t:equal(with("no"), "app")
    t:equal(with(nil), "next")
    t:equal(ask(t:plugin { upstream = "next", header = "x-c" }, { headers = { ["x-c"] = "1" } }), "next")
  end,

  ["a client is told apart by its address"] = function(t)
    local plugin = t:plugin { upstream = "next", weight = 50, sticky = "client" }
    local seen = { app = 0, next = 0 }
    for i = 1, 60 do
      local ip = "192.0.2." .. i
      local first, cookie = ask(plugin, { client_ip = ip })
      t:equal(cookie, nil)
      t:equal(ask(plugin, { client_ip = ip }), first)
      seen[first] += 1
    end
    t:truthy(seen.app > 10 and seen.next > 10)
    t:equal(ask(plugin, { client_ip = false }), ask(plugin, { client_ip = false }))
  end,

  ["more weight keeps those that are there"] = function(t)
    local some = t:plugin { upstream = "next", weight = 30, sticky = "client" }
    local more = t:plugin { upstream = "next", weight = 60, sticky = "client" }
    for i = 1, 40 do
      local what = { client_ip = "198.51.100." .. i }
      if ask(some, what) == "next" then
        t:equal(ask(more, what), "next")
      end
    end
  end,

  ["nothing is remembered where it need not be"] = function(t)
    local upstream, cookie = ask(t:plugin { upstream = "next", weight = 100, sticky = "none" }, {
      headers = { cookie = "weir-canary=never" },
    })
    t:equal({ upstream, cookie }, { "next" })
  end,

  ["who is sent there stays there, also when it does not answer"] = function(t)
    local failure = "the endpoint refused the connection"
    local x = t:plugin({ upstream = "next", weight = 100 }):exchange {
      upstreams = { app = { "10.0.0.1:80" }, next = { "10.0.0.2:80", "10.0.0.3:80" } },
      attempts = { { failure = failure }, { failure = failure } },
    }
    t:equal(x.attempts, {
      { upstream = "next", endpoint = "10.0.0.2:80", failure = failure },
      { upstream = "next", endpoint = "10.0.0.3:80", failure = failure },
    })
    t:equal({ x.answered_by, x.response.status }, { "failure", 502 })
  end,

  ["an upstream that is not there is a failure"] = function(t)
    local x = t:plugin({ upstream = "gone", weight = 100 }):exchange()
    t:equal({ x.response.status, x.answered_by }, { 502, "failure" })
    t:match(x.failure, "gone")
  end,

  ["wrong settings are refused"] = function(t)
    t:error(function() t:plugin {} end, "`upstream`")
    t:error(function() t:plugin { upstream = "next", weight = 101 } end, "`weight`")
    t:error(function() t:plugin { upstream = "next", sticky = "ip" } end, "`sticky`")
    t:error(function() t:plugin { upstream = "next", max_age = -1 } end, "`max_age`")
  end,
}
