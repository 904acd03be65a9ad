-- Of crypt_blowfish's own tests; the password is U*U.
local HASH = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"

local function plugin(t, settings)
  local own = { users = { ann = HASH, ["Jörg"] = HASH } }
  for name, value in settings or {} do
    own[name] = value
  end
  return t:plugin(own)
end

local function basic(name, password)
  return "Basic " .. weir.codec.base64_encode(name .. ":" .. password)
end

local function status(plugin, authorization)
  return plugin:exchange({ headers = { authorization = authorization } }).response.status
end

return {
  ["who has the password passes"] = function(t)
    for _, name in { "ann", "Jörg" } do
      local x = plugin(t):exchange { headers = { authorization = basic(name, "U*U"), ["x-user"] = "root" } }
      t:equal(x.answered_by, "upstream")
      t:equal(x.request.headers["x-user"], name)
      t:falsy(x.request.headers.authorization, "the password is not passed on")
    end
  end,

  ["nobody else does"] = function(t)
    local plugin = plugin(t, { realm = "Staff" })
    for _, wrong in {
      basic("ann", "u*u"), basic("ann", ""), basic("ann", "U*U "), basic("bob", "U*U"), basic("", "U*U"), basic("Ann", "U*U"),
      basic("ann", string.rep("x", 2000)), basic("ann", "U*U\0"), "Basic ???", "Basic", "Bearer x",
      weir.codec.base64_encode("ann:U*U"), "Basic " .. weir.codec.base64_encode("ann"), "Basic " .. weir.codec.base64_encode("\255:U*U"),
    } do
      local x = plugin:exchange { headers = { authorization = wrong } }
      t:equal({ x.answered_by, x.response.status }, { "plugin", 401 })
      t:equal(x.response.headers["www-authenticate"], 'Basic realm="Staff", charset="UTF-8"')
    end
    t:equal(status(plugin, nil), 401)
    t:equal(status(plugin, { basic("ann", "U*U"), basic("ann", "U*U") }), 401)
  end,

  ["the scheme has no case"] = function(t)
    t:equal(status(plugin(t), (string.gsub(basic("ann", "U*U"), "Basic", "bASIC"))), 200)
  end,

  ["what is wrong is never remembered"] = function(t)
    local plugin = plugin(t)
    for _ = 1, 3 do
      t:equal(status(plugin, basic("ann", "U*U")), 200)
      t:equal(status(plugin, basic("ann", "wrong")), 401)
    end
    t:advance(301)
    t:equal(status(plugin, basic("ann", "U*U")), 200)
  end,

  ["headers are as the settings say"] = function(t)
    local x = plugin(t, { header = "x-who", forward = true }):exchange {
      headers = { authorization = basic("ann", "U*U"), ["x-who"] = "root", ["x-user"] = "kept" },
    }
    t:equal({ x.request.headers["x-who"], x.request.headers["x-user"] }, { "ann", "kept" })
    t:equal(x.request.headers.authorization, basic("ann", "U*U"))
    x = plugin(t, { header = "", remember = 0 }):exchange { headers = { authorization = basic("ann", "U*U") } }
    t:falsy(x.request.headers["x-user"])
  end,

  ["wrong settings are told"] = function(t)
    for wanted, settings in {
      ["there is no user"] = {},
      ["neither Argon2 nor bcrypt"] = { users = { ann = "secret" } },
      ["a name has no colon"] = { users = { ["a:b"] = HASH } },
      ["is a text"] = { users = { ann = 5 } },
      ["has no quotes"] = { users = { ann = HASH }, realm = 'a"b' },
      ["plugins.basic-auth.secrets"] = { users_secret = "none" },
    } do
      t:error(function()
        t:plugin(settings)
      end, wanted)
    end
  end,
}
