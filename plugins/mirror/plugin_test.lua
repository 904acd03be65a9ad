local function plugin(t, settings)
  local own = { upstream = "next" }
  for name, value in settings or {} do
    own[name] = value
  end
  t:http(function()
    return { status = 500 }
  end)
  return t:plugin(own, { grants = { upstreams = { "next" } } })
end

return {
  ["a request is copied"] = function(t)
    local x = plugin(t):exchange {
      method = "POST", path = "/a?b", headers = { host = "a.test", ["x-many"] = { "1", "2" } }, body = "text",
    }
    t:equal({ x.answered_by, x.response.status, x.request.body }, { "upstream", 200, "text" })
    t:equal(#t.calls, 1)
    local call = t.calls[1]
    t:equal({ call.upstream, call.method, call.path, call.body }, { "next", "POST", "/a?b", "text" })
    t:equal(call.headers, { host = "a.test", ["x-many"] = { "1", "2" }, ["x-mirror"] = "1" })
  end,

  ["the copy is of what the upstream saw"] = function(t)
    plugin(t, { header = "x-shadow" }):exchange { headers = { ["x-shadow"] = "forged" } }
    t:equal(t.calls[1].headers["x-shadow"], "1")
  end,

  ["only some are copied"] = function(t)
    local some = plugin(t, { methods = { "GET" } })
    some:exchange { method = "POST" }
    t:equal(#t.calls, 0)
    some:exchange { method = "GET" }
    t:equal(#t.calls, 1)
    for _ = 1, 50 do
      plugin(t, { percent = 0 }):exchange {}
    end
    t:equal(#t.calls, 1)
  end,

  ["bodies can be left out"] = function(t)
    local x = plugin(t, { bodies = false }):exchange { method = "POST", body = "text" }
    t:equal({ x.request.body, t.calls[1].body }, { "text", "" })
  end,

  ["a body that is too long is not copied"] = function(t)
    local long = string.rep("a", 1024 * 1024 + 1)
    local x = plugin(t):exchange { method = "POST", body = long }
    t:equal({ x.answered_by, #x.request.body, #t.calls }, { "upstream", #long, 0 })
  end,

  ["a copy that fails is nobody's business"] = function(t)
    local mirror = plugin(t)
    t:http(function()
      return nil, "gone"
    end)
    local x = mirror:exchange {}
    t:equal({ x.answered_by, x.failure }, { "upstream" })
    t:equal(#t.calls, 1)
  end,

  ["the upstream must be granted and named"] = function(t)
    t:error(function()
      t:plugin {}
    end, "upstream")
    local x = t:plugin({ upstream = "next" }):exchange {}
    t:match(x.failure, "grants.upstreams")
  end,
}
