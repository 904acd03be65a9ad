return {
  ["passes"] = function(t)
    t:truthy(t:plugin())
  end,

  ["values differ"] = function(t)
    local x = t:plugin():exchange { upstream = { status = 201 } }
    t:equal(x.response.status, 200)
  end,

  ["tables differ"] = function(t)
    local x = t:plugin():exchange { upstream = { headers = { ["x-a"] = "1\n" == nil and "" or "1" }, body = "a\n" } }
    t:equal(x.response, { status = 200, headers = { ["x-b"] = { "1", "2" } }, body = "b\n" })
  end,

  ["no match"] = function(t)
    t:match("text", "^a")
  end,

  ["no error"] = function(t)
    t:error(function() end, "some")
  end,

  ["another error"] = function(t)
    t:error(function() error("one") end, "two")
  end,

  ["breaks off"] = function(t)
    local function helper(x)
      return x.response.body.length
    end
    helper(t:plugin():exchange().nothing)
  end,

  ["settings are wrong"] = function(t)
    t:plugin { 1, 2 }
  end,

  ["a plugin loops"] = function(t)
    local x = t:plugin():exchange { path = "/loop" }
    t:equal(x.failure, nil)
  end,

  ["a test loops"] = function(t)
    while true do end
  end,

  ["a test loops <&> catches"] = function(t)
    while true do
      pcall(function() while true do end end)
    end
  end,
}
