-- Run these with `weir test`. The guide is docs/lua.md, "Testing a plugin".
return {
  ["the upstream is greeted"] = function(t)
    local plugin = t:plugin { word = "good day" }
    local x = plugin:exchange { path = "/a?b=c", client_ip = "192.0.2.1", upstream = { status = 201 } }
    t:equal(x.request.headers["x-greeting"], "good day 192.0.2.1")
    t:equal(x.response.status, 201)
    t:equal(x.response.headers["x-took"], "0.000")
  end,

  ["a stranger is turned away"] = function(t)
    local plugin = t:plugin { secret = "s" }
    local x = plugin:exchange { path = "/a" }
    t:equal(x.answered_by, "plugin")
    t:equal(x.response.status, 403)
    t:equal(x.log, { { level = "info", message = "a stranger at /a" } })
    t:equal(plugin:exchange({ headers = { ["x-secret"] = "s" } }).answered_by, "upstream")
  end,

  ["wrong settings are refused"] = function(t)
    t:error(function() t:plugin { word = 7 } end, "`word`")
  end,
}
