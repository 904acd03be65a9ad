-- Of crypt_blowfish's own tests: the password is U*U.
local BCRYPT = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
-- Of the reference implementation's own tests: the password is password.
local ARGON2 = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"

local function basic(text)
  return "Basic " .. weir.codec.base64_encode(text)
end

local function ask(plugin, authorization, headers)
  headers = headers or {}
  headers.authorization = authorization
  return plugin:exchange { headers = headers }
end

local function status(plugin, authorization)
  return ask(plugin, authorization).response.status
end

-- Whether something is remembered of who came in.
local function remembered(name, hash, password)
  local key = weir.kv.get("key")
  local mark = key and "ok:" .. weir.crypto.hmac("sha256", key, `{#name}:{name}{#hash}:{hash}{password}`)
  return mark and weir.kv.ttl(mark)
end

return {
  ["without credentials there is a challenge"] = function(t)
    local x = ask(t:plugin { users = { ann = BCRYPT }, realm = "Staff" })
    t:equal(x.answered_by, "plugin")
    t:equal(x.response, {
      status = 401,
      body = "Unauthorized\n",
      headers = {
        ["content-type"] = "text/plain; charset=utf-8",
        ["www-authenticate"] = 'Basic realm="Staff", charset="UTF-8"',
      },
    })
    local challenge = ask(t:plugin { users = { ann = BCRYPT } }).response.headers["www-authenticate"]
    t:equal(challenge, 'Basic realm="restricted", charset="UTF-8"')
  end,

  ["the right password is let in"] = function(t)
    local plugin = t:plugin { users = { ann = BCRYPT, ["Jörg"] = ARGON2 } }
    for name, password in { ann = "U*U", ["Jörg"] = "password" } do
      local x = ask(plugin, basic(`{name}:{password}`))
      t:equal({ x.answered_by, x.request.headers["x-user"], x.failure }, { "upstream", name })
    end
  end,

  ["all kinds of bcrypt"] = function(t)
    for _, kind in { "2a", "2b", "2y" } do
      local plugin = t:plugin { users = { ann = string.gsub(BCRYPT, "2b", kind, 1) } }
      t:equal({ status(plugin, basic("ann:U*U")), status(plugin, basic("ann:U*U*")) }, { 200, 401 })
    end
  end,

  ["a wrong name or password is not, however often"] = function(t)
    local plugin = t:plugin { users = { ann = BCRYPT, ben = ARGON2 } }
    t:equal(status(plugin, basic("ann:U*U")), 200)
    for _ = 1, 2 do
      for _, text in {
        "ann:u*u", "ann:U*U ", "ann: U*U", "ann:", "ann:" .. BCRYPT, "Ann:U*U", "ann :U*U", "ben:U*U", "eve:U*U",
        "eve:password", ":U*U", ":", "ann:U*U:", "ann:" .. string.rep("x", 1024), "ann:" .. string.rep("x", 1025),
      } do
        local x = ask(plugin, basic(text))
        t:equal({ text, x.response.status, x.answered_by }, { text, 401, "plugin" })
        t:falsy(x.failure)
      end
    end
  end,

  ["what is no header of this kind is none"] = function(t)
    local plugin = t:plugin { users = { ann = BCRYPT } }
    local good = weir.codec.base64_encode("ann:U*U")
    for _, wrong in {
      "", "Basic", "Basic ", "Basic !", "Basic " .. weir.codec.base64_encode("ann"), "Bearer " .. good, good,
      "Basic" .. good, `Basic {good}, Basic {good}`, `Basic {good} x`, "Basic " .. string.sub(good, 1, -2),
      "Basic ===", basic("\xFFnn:U*U"), basic("ann:U*U\n"), basic("ann:U*U\0"), basic("\0ann:U*U"),
      basic("ann\r:U*U"), "Basic " .. string.rep("QUFB", 1000), "Digest username=ann",
    } do
      local x = ask(plugin, wrong)
      t:equal({ wrong, x.response.status, x.failure }, { wrong, 401 })
    end
    t:equal(status(plugin, { basic("ann:U*U"), basic("ann:U*U") }), 401)
    t:equal(status(plugin, { basic("ann:U*U"), "Bearer x" }), 401)
  end,

  ["the scheme comes in any case, and with spaces"] = function(t)
    local plugin = t:plugin { users = { ann = BCRYPT } }
    local good = weir.codec.base64_encode("ann:U*U")
    t:equal(status(plugin, "bAsIc " .. good), 200)
    t:equal(status(plugin, "BASIC   " .. good), 200)
  end,

  ["nobody says by a header who they are"] = function(t)
    local plugin = t:plugin { users = { ann = BCRYPT } }
    local x = ask(plugin, basic("ann:U*U"), { ["X-User"] = { "root", "ben" } })
    t:equal(x.request.headers["x-user"], "ann")
    t:equal(ask(plugin, nil, { ["x-user"] = "ann" }).response.status, 401)
    local own = t:plugin { users = { ann = BCRYPT }, header = "X-Who" }
    x = ask(own, basic("ann:U*U"), { ["x-who"] = "root", ["x-user"] = "kept" })
    t:equal({ x.request.headers["x-who"], x.request.headers["x-user"] }, { "ann", "kept" })
  end,

  ["no header, if none is wanted"] = function(t)
    local x = ask(t:plugin { users = { ann = BCRYPT }, header = "" }, basic("ann:U*U"))
    t:equal({ x.answered_by, x.request.headers["x-user"] }, { "upstream" })
  end,

  ["the upstream gets the password only if it is to"] = function(t)
    t:equal(ask(t:plugin { users = { ann = BCRYPT } }, basic("ann:U*U")).request.headers.authorization, nil)
    local plugin = t:plugin { users = { ann = BCRYPT }, forward = true }
    t:equal(ask(plugin, basic("ann:U*U")).request.headers.authorization, basic("ann:U*U"))
  end,

  ["what was right is remembered for a time"] = function(t)
    local plugin = t:plugin { users = { ann = BCRYPT }, remember = 60 }
    t:falsy(remembered("ann", BCRYPT, "U*U"))
    t:equal(status(plugin, basic("ann:U*U")), 200)
    t:equal(remembered("ann", BCRYPT, "U*U"), 60)
    t:advance(20)
    t:equal(status(plugin, basic("ann:U*U")), 200)
    t:equal(remembered("ann", BCRYPT, "U*U"), 40)
    t:advance(41)
    t:falsy(remembered("ann", BCRYPT, "U*U"))
    t:equal(status(plugin, basic("ann:U*U")), 200)
    t:equal(remembered("ann", BCRYPT, "U*U"), 60)
  end,

  ["what was wrong is not remembered"] = function(t)
    local plugin = t:plugin { users = { ann = BCRYPT } }
    t:equal(status(plugin, basic("ann:u*u")), 401)
    t:falsy(remembered("ann", BCRYPT, "u*u"))
    t:equal(status(plugin, basic("eve:U*U")), 401)
    t:falsy(remembered("eve", BCRYPT, "U*U"))
  end,

  ["nothing is remembered, if it is not to be"] = function(t)
    local plugin = t:plugin { users = { ann = BCRYPT }, remember = 0 }
    t:equal({ status(plugin, basic("ann:U*U")), status(plugin, basic("ann:U*U")) }, { 200, 200 })
    t:equal(weir.kv.get("key"), nil)
    t:equal(status(plugin, basic("ann:u*u")), 401)
  end,

  ["another password ends what is remembered"] = function(t)
    t:equal(status(t:plugin { users = { ann = BCRYPT } }, basic("ann:U*U")), 200)
    local changed = t:plugin { users = { ann = ARGON2 } }
    t:equal({ status(changed, basic("ann:U*U")), status(changed, basic("ann:password")) }, { 401, 200 })
    t:equal(status(t:plugin { users = { ben = BCRYPT } }, basic("ann:U*U")), 401)
  end,

  ["a hash that cannot be verified lets nobody in"] = function(t)
    local plugin = t:plugin { users = { ann = "$2b$20$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW" } }
    local x = ask(plugin, basic("ann:U*U"))
    t:equal({ x.answered_by, x.response.status, x.response.headers["retry-after"] }, { "plugin", 503, "5" })
    t:equal(x.log[1].level, "error")
    t:match(x.log[1].message, "could not be verified")
    t:falsy(string.find(x.log[1].message, "U*U", 1, true))
  end,

  ["users are a secret, too"] = function(t)
    local function with(text, settings)
      settings = settings or {}
      settings.users_secret = "htpasswd"
      return t:plugin(settings, { secrets = { htpasswd = text } })
    end
    local plugin = with(`# staff\r\n  ann:{BCRYPT}  \r\n\n`, { users = { ben = ARGON2 } })
    t:equal({ status(plugin, basic("ann:U*U")), status(plugin, basic("ben:password")) }, { 200, 200 })
    t:equal(status(plugin, basic("# staff:U*U")), 401)
    t:error(function() with(`ann:{BCRYPT}\nben`) end, "line 2 of the secret: there is no colon")
    t:error(function() with("ann:secret") end, "line 1 of the secret: the hash of \"ann\" is neither")
    t:error(function() with("# nobody") end, "there is no user")
  end,

  ["wrong settings are refused"] = function(t)
    local function refused(settings, text)
      t:error(function() t:plugin(settings) end, text)
    end
    local users = { ann = BCRYPT }
    refused({}, "there is no user")
    refused({ users = {} }, "there is no user")
    refused({ users = "ann" }, "`users`")
    refused({ users = { ann = 1 } }, 'the hash of "ann" is a text')
    refused({ users = { ann = "secret" } }, "neither Argon2 nor bcrypt")
    refused({ users = { ann = "" } }, "neither Argon2 nor bcrypt")
    refused({ users = { ann = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=" } }, "neither Argon2 nor bcrypt")
    refused({ users = { ann = "$apr1$x$y" } }, "neither Argon2 nor bcrypt")
    refused({ users = { [""] = BCRYPT } }, "cannot be a user")
    refused({ users = { ["a:b"] = BCRYPT } }, "cannot be a user")
    refused({ users_secret = "htpasswd" }, "there is no secret")
    refused({ users = users, realm = 'a"b' }, "`realm`")
    refused({ users = users, realm = "a\\b" }, "`realm`")
    refused({ users = users, realm = "a\nb" }, "`realm`")
    refused({ users = users, remember = -1 }, "`remember`")
    refused({ users = users, remember = 86401 }, "`remember`")
    refused({ users = users, forward = "yes" }, "`forward`")
    refused({ users = users, header = 1 }, "`header`")
    refused({ users = users, password = "x" }, "`password`")
  end,
}
