-- Hashes, codes, encryption, signatures, random numbers.
local load = require("./lent")

return {
  ["hashes and codes"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "crypto.hash", args = { "sha256", "abc" }, save = "hash" },
        { call = "codec.hex-encode", args = { "$hash" }, save = "hash" },
        { call = "crypto.hmac", args = { "sha256", "key", "The quick brown fox jumps over the lazy dog" }, save = "code" },
        { call = "codec.hex-encode", args = { "$code" }, save = "code" },
        { call = "crypto.hash", args = { "md5", "abc" }, save = "wrong" },
        { say = { respond = { body = "[\"${hash}\",\"${code}\",${wrong}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    -- FIPS 180-2, appendix B.1; the other is as widely published.
    t:equal(results[1], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    t:equal(results[2], "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8")
    t:match(results[3].error, "md5")
  end,
  ["secrets are compared"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "crypto.equal", args = { "abc", "abc" }, save = "same" },
        { call = "crypto.equal", args = { "abc", "abd" }, save = "other" },
        { say = { respond = { body = "${same} ${other}" } } },
      } },
    }
    t:equal(plugin:exchange({}).response.body, "true false")
  end,
  ["what nobody can guess"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "crypto.random", args = { 16 }, save = "random" },
        { call = "codec.hex-encode", args = { "$random" }, save = "random" },
        { call = "crypto.random", args = { 1025 }, save = "wrong" },
        { call = "crypto.uuid", save = "uuid" },
        { say = { respond = { body = "[\"${random}\",\"${uuid}\",${wrong}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal(#results[1], 32)
    t:match(results[2], "^%x+%-%x+%-4%x+%-[89ab]%x+%-%x+$")
    t:match(results[3].error, "1024")
  end,
  ["encryption, there and back"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "crypto.encrypt", args = { "0123456789abcdef", "secret", "of a.test" }, save = "sealed" },
        { call = "crypto.decrypt", args = { "0123456789abcdef", "$sealed", "of a.test" }, save = "opened" },
        { call = "crypto.decrypt", args = { "0123456789abcdef", "$sealed", "of b.test" }, save = "changed" },
        { call = "crypto.encrypt", args = { "short", "secret", "" }, save = "wrong" },
        { say = { respond = { body = "[\"${opened}\",${changed},${wrong}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal(results[1], "secret")
    t:truthy(results[2].error)
    t:match(results[3].error, "16")
  end,
  ["signatures"] = function(t)
    local key = { hex = "f95b0bde17874fc4f51fa48e8d307d8767b2f4b6124f108660b60985ace9f389" }
    local signature = {
      hex = "295636c612e17b0d8171a135cda81731807e0774f94fcb5c34c0b2c3bcf911ba0ca3c2075e36d28c8f510e76ce9bf7a957cfed7e5497776f840447e5a1adde0f",
    }
    local plugin = load(t) {
      hooks = { request = {
        { call = "crypto.verify", args = { "ed25519", key, "hello", signature }, save = "good" },
        { call = "crypto.verify", args = { "ed25519", key, "hullo", signature }, save = "bad" },
        { call = "crypto.verify", args = { "rot13", key, "hello", signature }, save = "wrong" },
        { say = { respond = { body = "[${good},${bad},${wrong}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal(results[1], true)
    t:equal(results[2], false)
    t:match(results[3].error, "rot13")
  end,
}
