-- RFC 8037, appendix A: a key, and the signature by it of "Example of Ed25519 signing".
local KEY = '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
local TOKEN = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
local URL = "https://login.example.com/keys"

local function set(...)
  return '{"keys":[' .. table.concat({ ... }, ",") .. "]}"
end

local function plugin(t, settings)
  local own = { algorithms = { "EdDSA" }, jwks = set(KEY), required = {} }
  for name, value in settings or {} do
    own[name] = value
  end
  return t:plugin(own)
end

-- The keys are at a URL.
local function remote_plugin(t)
  local settings = { algorithms = { "EdDSA" }, jwks_url = URL, jwks_refresh = 60, required = {} }
  return t:plugin(settings, { grants = { hosts = { "https://login.example.com" } } })
end

local function part(value)
  return weir.codec.base64url_encode(weir.json.encode(value))
end

local function ask(plugin, token, more)
  local headers = { authorization = token and "Bearer " .. token }
  for name, value in more or {} do
    headers[name] = value
  end
  return plugin:exchange { headers = headers }
end

local function refused(t, x, why)
  t:equal({ x.answered_by, x.response.status }, { "plugin", 401 })
  t:match(x.response.headers["www-authenticate"], why)
end

return {
  ["without a token nobody passes"] = function(t)
    local x = ask(plugin(t, { realm = "api" }), nil)
    t:equal({ x.response.status, x.response.headers["www-authenticate"] }, { 401, 'Bearer realm="api"' })
    t:equal(ask(plugin(t, { optional = true }), nil).answered_by, "upstream")
  end,

  ["what is signed but has no claims is refused"] = function(t)
    refused(t, ask(plugin(t), TOKEN), 'error="invalid_token"')
  end,

  ["a token that was changed is refused"] = function(t)
    local head, body, signature = string.match(TOKEN, "^(.-)%.(.-)%.(.*)$")
    local other = head .. "." .. part({ sub = "root" }) .. "." .. signature
    refused(t, ask(plugin(t), other), "its signature is wrong")
    refused(t, ask(plugin(t), head .. "." .. body .. "."), "invalid_token")
    refused(t, ask(plugin(t), "x"), "invalid_token")
  end,

  ["an algorithm that is not accepted is refused"] = function(t)
    local secret = weir.json.decode(KEY).x
    local message = part({ alg = "HS256" }) .. "." .. part({ sub = "root" })
    local forged = message .. "." .. weir.codec.base64url_encode(weir.crypto.hmac("sha256", secret, message))
    refused(t, ask(plugin(t), forged), "HS256 is not accepted")
    local none = part({ alg = "none" }) .. "." .. part({ sub = "root" }) .. "."
    refused(t, ask(plugin(t), none), "invalid_token")
  end,

  ["headers that tell claims cannot be forged"] = function(t)
    local optional = plugin(t, { optional = true, claims = { ["x-user"] = "sub" } })
    local x = ask(optional, nil, { ["x-user"] = "root" })
    t:equal(x.answered_by, "upstream")
    t:falsy(x.request.headers["x-user"])
    refused(t, ask(optional, "x", { ["x-user"] = "root" }), "invalid_token")
  end,

  ["two tokens in one request are none"] = function(t)
    local x = plugin(t):exchange { headers = { authorization = { "Bearer a.b.c", "Bearer d.e.f" } } }
    t:equal({ x.response.status, x.response.headers["www-authenticate"] }, { 401, 'Bearer realm="restricted"' })
  end,

  ["keys at a URL are asked for once, and again after a while"] = function(t)
    t:http(function(call)
      return { status = 200, body = set(KEY) }
    end)
    local remote = remote_plugin(t)
    for _ = 1, 3 do
      refused(t, ask(remote, TOKEN), "invalid_token")
    end
    t:equal(#t.calls, 1)
    t:equal({ t.calls[1].upstream, t.calls[1].path }, { "https://login.example.com", "/keys" })
    t:advance(61)
    ask(remote, TOKEN)
    t:equal(#t.calls, 2)
  end,

  ["a server of keys that fails lets nobody pass, and its last set is good"] = function(t)
    t:http(function()
      return { status = 500 }
    end)
    local remote = remote_plugin(t)
    local x = ask(remote, TOKEN)
    t:equal({ x.answered_by, x.response.status }, { "failure", 502 })
    t:equal(ask(remote, TOKEN).answered_by, "failure")
    t:equal(#t.calls, 1)
    t:advance(31)
    t:http(function()
      return { status = 200, body = set(KEY) }
    end)
    t:match(ask(remote, TOKEN).response.headers["www-authenticate"], "invalid_token")
    t:advance(61)
    t:http(function()
      return { status = 200, body = "<html>garbage</html>" }
    end)
    local head, _, signature = string.match(TOKEN, "^(.-)%.(.-)%.(.*)$")
    refused(t, ask(remote, head .. "." .. part({}) .. "." .. signature), "its signature is wrong")
  end,

  ["wrong settings are told"] = function(t)
    for wanted, settings in {
      ["says where the keys are"] = { algorithms = { "EdDSA" } },
      ['unknown algorithm "none"'] = { algorithms = { "none" }, jwks = set(KEY) },
      ["takes a secret"] = { algorithms = { "HS256" }, jwks = set(KEY) },
      ["no public key as PEM"] = { algorithms = { "RS256" }, pem = "x" },
      ['"body" is not known'] = { algorithms = { "EdDSA" }, jwks = set(KEY), sources = { "body" } },
      ["is the name of a claim"] = { algorithms = { "EdDSA" }, jwks = set(KEY), claims = { ["x-a"] = 5 } },
      ["has no quotes"] = { algorithms = { "EdDSA" }, jwks = set(KEY), realm = '"' },
    } do
      t:error(function()
        t:plugin(settings)
      end, wanted)
    end
  end,
}
