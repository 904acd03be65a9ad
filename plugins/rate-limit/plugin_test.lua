local function ask(plugin, ip)
  return plugin:exchange({ client_ip = ip }).response
end

return {
  ["a client has its burst, then waits"] = function(t)
    local plugin = t:plugin { limit = 3, window = 60 }
    for left = 2, 0, -1 do
      local response = ask(plugin, "192.0.2.1")
      t:equal(response.status, 200)
      t:equal(response.headers["ratelimit-policy"], '"default";q=3;w=60')
      t:equal(response.headers.ratelimit, `"default";r={left};t={(3 - left) * 20}`)
    end
    t:equal(ask(plugin, "192.0.2.1"), {
      status = 429,
      body = "Too many requests\n",
      headers = {
        ["content-type"] = "text/plain; charset=utf-8",
        ["retry-after"] = "20",
        ["ratelimit-policy"] = '"default";q=3;w=60',
        ratelimit = '"default";r=0;t=20',
      },
    })
  end,

  ["requests come back evenly over time"] = function(t)
    local plugin = t:plugin { limit = 3, window = 60 }
    for _ = 1, 3 do
      ask(plugin)
    end
    t:advance(19)
    t:equal(ask(plugin).headers["retry-after"], "1")
    t:advance(1)
    t:equal(ask(plugin).status, 200)
    t:equal(ask(plugin).status, 429)
    t:advance(60)
    for _ = 1, 3 do
      t:equal(ask(plugin).status, 200)
    end
    t:equal(ask(plugin).status, 429)
  end,

  ["a burst of its own"] = function(t)
    local plugin = t:plugin { limit = 60, window = 60, burst = 2 }
    t:equal(ask(plugin).headers.ratelimit, '"default";r=1;t=1')
    t:equal(ask(plugin).status, 200)
    t:equal(ask(plugin).status, 429)
    t:advance(1)
    t:equal(ask(plugin).status, 200)
  end,

  ["clients do not share a limit"] = function(t)
    local plugin = t:plugin { limit = 1 }
    t:equal(ask(plugin, "192.0.2.1").status, 200)
    t:equal(ask(plugin, "192.0.2.1").status, 429)
    t:equal(ask(plugin, "192.0.2.2").status, 200)
  end,

  ["who has no address shares one"] = function(t)
    local plugin = t:plugin { limit = 1 }
    t:equal(ask(plugin, false).status, 200)
    t:equal(ask(plugin, false).status, 429)
  end,

  ["by a header"] = function(t)
    local plugin = t:plugin { limit = 1, by = "header", header = "x-key" }
    local function with(key)
      return plugin:exchange({ headers = { ["x-key"] = key } }).response.status
    end
    t:equal({ with("a"), with("a"), with("b") }, { 200, 429, 200 })
    t:equal({ with(nil), with(nil) }, { 200, 429 })
    local long = string.rep("k", 5000)
    t:equal({ with(long .. "1"), with(long .. "1"), with(long .. "2") }, { 200, 429, 200 })
  end,

  ["what is counted does not stay for ever"] = function(t)
    local plugin = t:plugin { limit = 1, window = 10 }
    ask(plugin, "192.0.2.1")
    t:equal(weir.kv.ttl("192.0.2.1"), 11)
    t:advance(12)
    t:equal(weir.kv.get("192.0.2.1"), nil)
  end,

  ["a value that is no count is none"] = function(t)
    local plugin = t:plugin { limit = 1 }
    weir.kv.set("192.0.2.1", "nonsense")
    t:equal({ ask(plugin, "192.0.2.1").status, ask(plugin, "192.0.2.1").status }, { 200, 429 })
  end,

  ["another status"] = function(t)
    local plugin = t:plugin { limit = 1, status = 503 }
    ask(plugin)
    t:equal(ask(plugin).status, 503)
  end,

  ["wrong settings are refused"] = function(t)
    t:error(function() t:plugin {} end, "`limit`")
    t:error(function() t:plugin { limit = 0 } end, "`limit`")
    t:error(function() t:plugin { limit = 1, window = 0 } end, "`window`")
    t:error(function() t:plugin { limit = 1, burst = 0 } end, "`burst`")
    t:error(function() t:plugin { limit = 1, status = 200 } end, "`status`")
    t:error(function() t:plugin { limit = 1, by = "cookie" } end, "`by`")
    t:error(function() t:plugin { limit = 1, by = "header" } end, "needs `header`")
  end,
}
