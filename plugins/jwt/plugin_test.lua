-- Keys, and tokens that they have signed. All have the same claims but for the first, which has none.
local KEYS, TOKENS = {}, {}
-- RFC 8037, appendix A: a key, and the signature by it of "Example of Ed25519 signing".
KEYS.EdDSA = '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
TOKENS.EdDSA = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
  .. ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
-- Made once by openssl.
KEYS.RS256 = '{"kty":"RSA","kid":"rsa-1","alg":"RS256","use":"sig","e":"AQAB","n":"s4feqbTVX8i6HN7uZuEBersyku7T7F4'
  .. "7s0WcFkqemoFqNWYNhUG6cDeUb0vmVs6SlkbvPTjgxA_7muzExROS2PQS87VNfUxuEGdAI-tV195srehdpcFs_s4k1rfLwI9XhH_"
  .. "nEPTlsM6iJaDRZ2KPqohR6iUp8ddmG-rwxV_WcEhNKABt9PGsNXfEUcXopvNIVfoHFb9P5fVSvAWZQ1fAJnBD0JmlJ6Cw0zvYBw6"
  .. "ztjVKdTnZpunUJAEwZWeE3CtRdwG3LbQU2ZhwBKvza99cd6J6OYYME1usliFECL4sqOtAastgtyVANH_lDxtljeVlKLT-OaEZyh0"
  .. 'l52FP3FR9hw"}'
TOKENS.RS256 = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InJzYS0xIn0.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29t"
  .. "IiwiYXVkIjoiYXBpIiwic3ViIjoiYWRhIiwicm9sZXMiOlsiYWRtaW4iLCJkZXYiXSwiaWF0IjoxNzM1Njg5NjAwLCJleHAiOjE3"
  .. "MzU3NzYwMDB9.f3zamQ6fz1QOiv-ST5zWjDC27zNnckxBqcZzCUe5VRueNvL45kWfXEeMSNqvlB3LPPODQw9I-G3ZiBs_xs0Goo0"
  .. "2XpFDeGc1WcJ-pAaUfLdUeVx5h1zORPMuFMcFJRB65_ydexkiDKO1VDVtRUtVTt1oEbdj4gl6ZCObqAHhWmaXV220L3AOjYjwQsV"
  .. "BTqA6qnrkL9SbsStul-Z229V4Gcgw6ZnO2z9jkZX5Kdx7AScyz_b0pkKbG-C7ABiKaLQralMZpY2Mx3w4GEgCd8qYOI1j5haeZN9"
  .. "Z0JNVXbohYcr1P2plbpoHolykZQgin_nO0TMRvuqfb7qexJpd463d1g"
KEYS.ES256 = '{"kty":"EC","kid":"ec-1","alg":"ES256","use":"sig","crv":"P-256","x":"3YF6XD4mP8wyMTU_KzJpDJpKFQtoR8'
  .. 'xMfD4BLAWCxMU","y":"pvfN04HmDA2Jm90Rm35_tLkxhB-Vn8-pq3D_YSbaBow"}'
TOKENS.ES256 = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImVjLTEifQ.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tI"
  .. "iwiYXVkIjoiYXBpIiwic3ViIjoiYWRhIiwicm9sZXMiOlsiYWRtaW4iLCJkZXYiXSwiaWF0IjoxNzM1Njg5NjAwLCJleHAiOjE3M"
  .. "zU3NzYwMDB9.k4pTCUDIVFSlfpx09dqv7zJ0COcUxt13s0mRyLfJlChYMfeGV8MeEIq0JRGT5rYY-Skys6ld7FygCg-A2uEfig"
-- The key of ES256 once more.
local PEM = [[
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE3YF6XD4mP8wyMTU/KzJpDJpKFQto
R8xMfD4BLAWCxMWm983TgeYMDYmb3RGbfn+0uTGEH5Wfz6mrcP9hJtoGjA==
-----END PUBLIC KEY-----
]]
local SECRET = "0123456789abcdef0123456789abcdef"
-- The clock of a test begins with 2025: the tokens are of that second, and good for a day.
local BEGIN, DAY = 1735689600, 86400
local CLAIMS = {
  iss = "https://login.example.com",
  aud = "api",
  sub = "ada",
  roles = { "admin", "dev" },
  iat = BEGIN,
  exp = BEGIN + DAY,
}
local KEY, TOKEN = KEYS.EdDSA, TOKENS.EdDSA
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
local function remote_plugin(t, settings)
  local own = { algorithms = { "EdDSA" }, jwks_url = URL, jwks_refresh = 60, required = {} }
  for name, value in settings or {} do
    own[name] = value
  end
  return t:plugin(own, { grants = { hosts = { "https://login.example.com" } } })
end

-- As those who have real tokens would configure it.
local function strict(t, more)
  local settings = {
    algorithms = { "RS256", "ES256" },
    required = { "exp", "sub" },
    issuers = { CLAIMS.iss },
    audiences = { CLAIMS.aud },
    claims = { ["x-user"] = "sub", ["x-roles"] = "roles" },
  }
  for name, value in more or {} do
    settings[name] = value
  end
  return remote_plugin(t, settings)
end

-- The server of keys has these.
local function serve(t, ...)
  local keys = set(...)
  t:http(function()
    return { status = 200, body = keys }
  end)
end

local function part(value)
  return weir.codec.base64url_encode(weir.json.encode(value))
end

-- A token that who shares the secret has signed.
local function shared(claims)
  local message = part({ alg = "HS256" }) .. "." .. part(claims)
  return message .. "." .. weir.codec.base64url_encode(weir.crypto.hmac("sha256", SECRET, message))
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

local function accepted(t, x)
  local headers = x.request.headers
  t:equal({ x.answered_by, headers["x-user"], headers["x-roles"] }, { "upstream", "ada", "admin,dev" })
end

return {
  ["a token is let in, and the upstream told what it claims"] = function(t)
    serve(t, KEYS.RS256, KEYS.ES256)
    local remote = strict(t)
    for _, algorithm in { "RS256", "ES256" } do
      local x = ask(remote, TOKENS[algorithm], { ["x-user"] = "root" })
      accepted(t, x)
      t:equal(x.request.headers.authorization, "Bearer " .. TOKENS[algorithm])
    end
    t:equal(#t.calls, 1)
    t:equal({ t.calls[1].upstream, t.calls[1].path }, { "https://login.example.com", "/keys" })
    t:falsy(ask(strict(t, { forward = false }), TOKENS.RS256).request.headers.authorization)
    accepted(t, ask(strict(t, { optional = true }), TOKENS.ES256))
    -- The signature of one is none of the other.
    local signature = string.match(TOKENS.RS256, "[^.]*$")
    refused(t, ask(remote, (string.gsub(TOKENS.ES256, "[^.]*$", signature))), "its signature is wrong")
  end,

  ["a token is taken from where it may be"] = function(t)
    serve(t, KEYS.ES256)
    local remote = strict(t, { sources = { "cookie:session", "query:token" }, forward = false })
    accepted(t, remote:exchange { headers = { cookie = "session=" .. TOKENS.ES256 } })
    local x = remote:exchange { path = "/a?b=c&token=" .. TOKENS.ES256 }
    accepted(t, x)
    t:equal(x.request.query_string, "b=c")
    t:equal(ask(remote, TOKENS.ES256).response.status, 401)
  end,

  ["keys are a secret, too"] = function(t)
    local claims = { ["x-user"] = "sub", ["x-roles"] = "roles" }
    local function secret(name, algorithm, value)
      local settings = { algorithms = { algorithm }, [name] = "mine", claims = claims }
      return t:plugin(settings, { secrets = { mine = value } })
    end
    accepted(t, ask(secret("hmac_secret", "HS256", SECRET), shared(CLAIMS)))
    accepted(t, ask(secret("pem_secret", "ES256", PEM), TOKENS.ES256))
    accepted(t, ask(secret("jwks_secret", "RS256", set(KEYS.ES256, KEYS.RS256)), TOKENS.RS256))
    refused(t, ask(secret("hmac_secret", "HS256", SECRET .. "x"), shared(CLAIMS)), "its signature is wrong")
    t:error(function()
      t:plugin({ algorithms = { "HS256" }, hmac_secret = "other" }, { secrets = { mine = SECRET } })
    end, "there is no secret")
  end,

  ["a token is good until it expires, and a little longer"] = function(t)
    serve(t, KEYS.RS256)
    local remote = strict(t)
    t:advance(DAY + 29)
    accepted(t, ask(remote, TOKENS.RS256))
    t:advance(1)
    refused(t, ask(remote, TOKENS.RS256), "it has expired")
    local exact = t:plugin(
      { algorithms = { "HS256" }, hmac_secret = "mine", leeway = 0 },
      { secrets = { mine = SECRET } }
    )
    local function with(claims)
      return ask(exact, shared(claims))
    end
    t:equal(with({ exp = weir.time.now() + 1 }).answered_by, "upstream")
    refused(t, with({ exp = weir.time.now() }), "it has expired")
    refused(t, with({ exp = BEGIN + 9 * DAY, nbf = weir.time.now() + 1 }), "it is not valid yet")
    refused(t, with({ sub = "ada" }), "it has no claim `exp`")
  end,

  ["a token of another issuer or for another audience is refused"] = function(t)
    serve(t, KEYS.ES256)
    refused(t, ask(strict(t, { issuers = { "https://other.example.com" } }), TOKENS.ES256), "its issuer is not accepted")
    refused(t, ask(strict(t, { audiences = { "web", "app" } }), TOKENS.ES256), "it is for another audience")
    refused(t, ask(strict(t, { algorithms = { "RS256" } }), TOKENS.ES256), "its algorithm ES256 is not accepted")
    refused(t, ask(strict(t, { required = { "exp", "email" } }), TOKENS.ES256), "it has no claim `email`")
  end,

  ["a key that is not known is asked for, at most every 30 seconds"] = function(t)
    serve(t, KEYS.RS256)
    local remote = strict(t)
    accepted(t, ask(remote, TOKENS.RS256))
    refused(t, ask(remote, TOKENS.ES256), "there is no key of its `kid`")
    refused(t, ask(remote, TOKENS.ES256), "there is no key of its `kid`")
    t:equal(#t.calls, 2)
    t:advance(31)
    -- They have been rotated.
    serve(t, KEYS.ES256)
    accepted(t, ask(remote, TOKENS.ES256))
    t:equal(#t.calls, 3)
    refused(t, ask(remote, TOKENS.RS256), "there is no key of its `kid`")
    t:equal(#t.calls, 3)
  end,

  ["while the server of keys is down, the last ones are good"] = function(t)
    serve(t, KEYS.RS256)
    local remote = strict(t)
    accepted(t, ask(remote, TOKENS.RS256))
    t:advance(61)
    t:http(function()
      return nil, "the endpoint refused the connection"
    end)
    local x = ask(remote, TOKENS.RS256)
    accepted(t, x)
    t:equal(x.log, {
      { level = "error", message = `the keys at {URL} cannot be had: the endpoint refused the connection` },
    })
    t:equal(#ask(remote, TOKENS.RS256).log, 0)
    t:equal(#t.calls, 2)
    t:advance(31)
    serve(t, KEYS.ES256)
    accepted(t, ask(remote, TOKENS.ES256))
    t:equal(#t.calls, 3)
  end,

  ["a claim that no header can tell lets nobody in"] = function(t)
    local settings = { algorithms = { "HS256" }, hmac_secret = "mine", claims = { ["x-user"] = "sub" } }
    local plugin = t:plugin(settings, { secrets = { mine = SECRET } })
    local function with(sub)
      return ask(plugin, shared({ sub = sub, exp = BEGIN + DAY }))
    end
    t:equal(with({ id = 7 }).request.headers["x-user"], '{"id":7}')
    t:equal(with(7).request.headers["x-user"], "7")
    t:equal(with("a\nb: c").answered_by, "failure")
  end,

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
