local function preflight(plugin, origin, wanted)
  return plugin:exchange {
    method = "OPTIONS",
    headers = {
      origin = origin,
      ["access-control-request-method"] = "PUT",
      ["access-control-request-headers"] = wanted,
    },
  }
end

local function simple(plugin, origin, headers)
  return plugin:exchange({ headers = { origin = origin }, upstream = { headers = headers } })
end

return {
  ["a preflight of an origin that may is answered"] = function(t)
    local x = preflight(t:plugin { origins = { "https://a.test" } }, "https://a.test", "x-b, x-c")
    t:equal(x.answered_by, "plugin")
    t:equal(x.response, {
      status = 204,
      body = "",
      headers = {
        ["access-control-allow-origin"] = "https://a.test",
        ["access-control-allow-methods"] = "GET, HEAD, POST, PUT, PATCH, DELETE",
        ["access-control-allow-headers"] = "x-b, x-c",
        ["access-control-max-age"] = "600",
        vary = "origin",
      },
    })
  end,

  ["what a preflight is told can be set"] = function(t)
    local plugin = t:plugin {
      origins = { "https://a.test" }, methods = { "GET", "POST" }, headers = { "x-a", "x-b" }, max_age = 5,
      credentials = true, expose = { "x-e" },
    }
    local headers = preflight(plugin, "https://a.test", "x-z").response.headers
    t:equal(headers["access-control-allow-methods"], "GET, POST")
    t:equal(headers["access-control-allow-headers"], "x-a, x-b")
    t:equal(headers["access-control-max-age"], "5")
    t:equal(headers["access-control-allow-credentials"], "true")
    t:equal(headers["access-control-expose-headers"], nil)
  end,

  ["without wanted headers none are told"] = function(t)
    local plugin = t:plugin { origins = { "https://a.test" } }
    t:equal(preflight(plugin, "https://a.test").response.headers["access-control-allow-headers"], nil)
  end,

  ["another origin gets no permission"] = function(t)
    local plugin = t:plugin { origins = { "https://a.test" } }
    local x = preflight(plugin, "https://b.test")
    t:equal(x.answered_by, "upstream")
    t:equal(x.response.headers["access-control-allow-origin"], nil)
    x = simple(plugin, "https://b.test")
    t:equal(x.response.headers["access-control-allow-origin"], nil)
  end,

  ["OPTIONS that is no preflight goes on"] = function(t)
    local plugin = t:plugin { origins = { "https://a.test" } }
    local x = plugin:exchange { method = "OPTIONS", headers = { origin = "https://a.test" } }
    t:equal(x.answered_by, "upstream")
    t:equal(x.response.headers["access-control-allow-origin"], "https://a.test")
    t:equal(plugin:exchange({ method = "OPTIONS" }).response.headers, {})
  end,

  ["a response may be read"] = function(t)
    local plugin = t:plugin { origins = { "https://a.test" }, expose = { "x-a", "x-b" }, credentials = true }
    local own = { vary = "accept", ["access-control-allow-origin"] = "null" }
    t:equal(simple(plugin, "https://a.test", own).response.headers, {
      ["access-control-allow-origin"] = "https://a.test",
      ["access-control-allow-credentials"] = "true",
      ["access-control-expose-headers"] = "x-a, x-b",
      vary = { "accept", "origin" },
    })
  end,

  ["any origin"] = function(t)
    local headers = simple(t:plugin { origins = { "*" } }, "https://any.test").response.headers
    t:equal(headers, { ["access-control-allow-origin"] = "*" })
  end,

  ["patterns stand for labels, and for nothing else"] = function(t)
    local plugin = t:plugin { origins = { "https://*.shop.test", "http://a.test:8080" } }
    for origin, may in {
      ["https://x.shop.test"] = true,
      ["https://x.y.shop.test"] = true,
      ["https://shop.test"] = false,
      ["https://xshop.test"] = false,
      ["https://x.shop.test.evil.test"] = false,
      ["http://x.shop.test"] = false,
      ["https://xXshopXtest"] = false,
      ["http://a.test:8080"] = true,
      ["http://a.test"] = false,
      null = false,
    } do
      local told = simple(plugin, origin).response.headers["access-control-allow-origin"]
      t:equal({ origin, told }, { origin, if may then origin else nil })
    end
  end,

  ["wrong settings are refused"] = function(t)
    t:error(function() t:plugin {} end, "`origins`")
    t:error(function() t:plugin { origins = "https://a.test" } end, "`origins`")
    t:error(function() t:plugin { origins = { "*" }, credentials = true } end, "every site act as the user")
    t:error(function() t:plugin { origins = {}, max_age = 86401 } end, "`max_age`")
    t:error(function() t:plugin { origins = {}, methods = { 1 } } end, "`methods")
  end,
}
