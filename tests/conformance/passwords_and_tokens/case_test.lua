-- Passwords and signed tokens.
local load = require("./lent")

return {
  ["passwords"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "password.verify", args = { "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", "secret" }, save = "good" },
        { call = "password.verify", args = { "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW", "Secret" }, save = "bad" },
        { call = "password.verify", args = { "plain", "plain" }, save = "wrong" },
        { say = { respond = { body = "[${good},${bad},${wrong}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal(results[1], true)
    t:equal(results[2], false)
    t:truthy(results[3].error)
  end,
  ["tokens"] = function(t)
    -- { alg = "HS256" }, { sub = "me", iss = "a.test", aud = "b.test" }
    local token = "eyJhbGciOiAiSFMyNTYiLCAidHlwIjogIkpXVCJ9"
      .. ".eyJzdWIiOiAibWUiLCAiaXNzIjogImEudGVzdCIsICJhdWQiOiAiYi50ZXN0In0"
      .. ".FwY5Njwtdehu0IBpzMfKmhWTs8DYeFRDicqRPh17gmc"
    local keys = { secret = "0123456789abcdef0123456789abcdef" }
    local plugin = load(t) {
      hooks = { request = {
        { call = "jwt.verify", args = { token, keys, { algorithms = { "HS256" }, issuers = { "a.test" }, audiences = { "b.test" }, required = { "sub" } } }, save = "claims" },
        { call = "jwt.verify", args = { token, keys, { algorithms = { "HS256" }, issuers = { "c.test" } } }, save = "issuer" },
        { call = "jwt.verify", args = { token, { secret = "another secret of thirty-two bytes" }, { algorithms = { "HS256" } } }, save = "signature" },
        { call = "jwt.verify", args = { token, { jwks = "no JSON" }, { algorithms = { "RS256" } } }, save = "keys" },
        { call = "jwt.verify", args = { token, keys, { algorithms = { "none" } } }, save = "algorithm" },
        { say = { respond = { body = "[${claims},${issuer},${signature},${keys},${algorithm}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal(results[1], { sub = "me", iss = "a.test", aud = "b.test" })
    t:match(results[2].error, "iss")
    t:match(results[3].error, "signature")
    t:truthy(results[4].error)
    t:match(results[5].error, "none")
  end,
}
