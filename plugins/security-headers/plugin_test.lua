local function headers(plugin, from, scheme)
  return plugin:exchange({ scheme = scheme, upstream = { headers = from } }).response.headers
end

return {
  ["the defaults, over plain HTTP"] = function(t)
    t:equal(headers(t:plugin(), { server = "x", ["x-powered-by"] = "y", ["x-own"] = "z" }), {
      ["x-own"] = "z",
      ["x-content-type-options"] = "nosniff",
      ["x-frame-options"] = "SAMEORIGIN",
      ["referrer-policy"] = "strict-origin-when-cross-origin",
    })
  end,

  ["over HTTPS browsers are told to stay there"] = function(t)
    local told = headers(t:plugin(), {}, "https")["strict-transport-security"]
    t:equal(told, "max-age=31536000; includeSubDomains")
    t:equal(headers(t:plugin { hsts = "max-age=60" }, {}, "https")["strict-transport-security"], "max-age=60")
    t:equal(headers(t:plugin { hsts = "" }, {}, "https")["strict-transport-security"], nil)
  end,

  ["each can be set, and left out by an empty one"] = function(t)
    local plugin = t:plugin {
      content_type_options = "", frame_options = "DENY", referrer_policy = "no-referrer",
      content_security_policy = "default-src 'self'", permissions_policy = "camera=()",
    }
    t:equal(headers(plugin), {
      ["x-frame-options"] = "DENY",
      ["referrer-policy"] = "no-referrer",
      ["content-security-policy"] = "default-src 'self'",
      ["permissions-policy"] = "camera=()",
    })
  end,

  ["what the application has set stays"] = function(t)
    local own = { ["x-frame-options"] = "DENY", ["strict-transport-security"] = "max-age=1" }
    local told = headers(t:plugin(), own, "https")
    t:equal(told["x-frame-options"], "DENY")
    t:equal(told["strict-transport-security"], "max-age=1")
  end,

  ["unless it is overridden"] = function(t)
    local own = { ["x-frame-options"] = { "DENY", "ALLOW" }, ["strict-transport-security"] = "max-age=1" }
    local told = headers(t:plugin { override = true, hsts = "max-age=2" }, own, "https")
    t:equal(told["x-frame-options"], "SAMEORIGIN")
    t:equal(told["strict-transport-security"], "max-age=2")
  end,

  ["what is removed can be chosen"] = function(t)
    local told = headers(t:plugin { remove = { "X-Debug" } }, { server = "x", ["x-debug"] = { "1", "2" } })
    t:equal({ told.server, told["x-debug"] }, { "x", nil })
  end,

  ["wrong settings are refused"] = function(t)
    t:error(function() t:plugin { hsts = true } end, "`hsts`")
    t:error(function() t:plugin { remove = "server" } end, "`remove`")
    t:error(function() t:plugin { override = "yes" } end, "`override`")
    t:error(function() t:plugin { csp = "x" } end, "`csp`")
  end,
}
