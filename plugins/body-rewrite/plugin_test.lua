local JSON = { ["content-type"] = "application/json" }

local function sent(t, settings, body, headers)
  local x = t:plugin({ request = settings }):exchange { method = "POST", headers = headers or JSON, body = body }
  t:falsy(x.failure)
  return x.request.body
end

return {
  ["fields are set, made and removed"] = function(t)
    local body = sent(t, {
      set = { ["user.role"] = "guest", ["made.new"] = true, ["items.2.price"] = 5, top = "x" },
      remove = { "secret", "user.password", "none.at.all" },
    }, '{"secret":1,"user":{"name":"a","password":"b"},"items":[{"price":1},{"price":2}]}')
    t:equal(weir.json.decode(body), {
      user = { name = "a", role = "guest" }, made = { new = true }, items = { { price = 1 }, { price = 5 } }, top = "x",
    })
  end,

  ["texts are replaced"] = function(t)
    local x = t:plugin({ response = { types = { "text/html" }, replace = { { pattern = "http://([a-z.]+)", with = "https://$1" }, { pattern = "secret" } } } })
      :exchange { upstream = { headers = { ["content-type"] = "Text/HTML; charset=utf-8", etag = '"1"' }, body = "http://a.test secret" } }
    t:equal(x.response.body, "https://a.test ")
    t:equal(x.response.headers.etag, 'W/"1"')
  end,

  ["what is of another kind is left alone"] = function(t)
    local settings = { remove = { "a" } }
    for _, kind in { "text/plain", "application/jsonp", "" } do
      t:equal(sent(t, settings, '{"a":1}', { ["content-type"] = kind }), '{"a":1}')
    end
    t:equal(sent(t, settings, '{"a":1}', {}), '{"a":1}')
    t:equal(sent(t, settings, '{"a":1,"b":2}', { ["content-type"] = "application/vnd.x+json" }), '{"b":2}')
  end,

  ["what is no JSON is left alone"] = function(t)
    for _, body in { '{"a":', "5", "", '"text"' } do
      t:equal(sent(t, { remove = { "a" } }, body), body)
    end
  end,

  ["a body that is too long is a failure"] = function(t)
    local long = '{"a":"' .. string.rep("a", 1024 * 1024) .. '"}'
    local x = t:plugin({ request = { remove = { "a" } } }):exchange { method = "POST", headers = JSON, body = long }
    t:equal({ x.answered_by, x.response.status }, { "failure", 502 })
    local open = t:plugin({ request = { remove = { "a" } } }, { on_failure = "open" })
    t:equal(open:exchange({ method = "POST", headers = JSON, body = long }).request.body, long)
  end,

  ["wrong settings are told"] = function(t)
    for wanted, settings in {
      ["nothing would change"] = {},
      ["is no path of a field"] = { request = { remove = { "a..b" } } },
      ["no regular expression"] = { response = { replace = { { pattern = "(" } } } },
      ["pattern"] = { response = { replace = { { with = "x" } } } },
    } do
      t:error(function()
        t:plugin(settings)
      end, wanted)
    end
  end,
}
