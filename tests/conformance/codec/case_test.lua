-- Encodings of bytes as text.
local load = require("./lent")

return {
  ["there and back"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "codec.base64-encode", args = { { hex = "fbff" } }, save = "base64" },
        { call = "codec.base64-decode", args = { "$base64" }, save = "from-base64" },
        { call = "codec.base64url-encode", args = { { hex = "fbff" } }, save = "base64url" },
        { call = "codec.base64url-decode", args = { "$base64url" }, save = "from-base64url" },
        { call = "codec.hex-encode", args = { { hex = "00ff" } }, save = "hex" },
        { call = "codec.hex-decode", args = { "00FF" }, save = "from-hex" },
        { call = "codec.url-encode", args = { "a b/ä~" }, save = "url" },
        { call = "codec.url-decode", args = { "a%20b%2F%zz+" }, save = "from-url" },
        { say = { respond = { body = "${base64} ${from-base64} ${base64url} ${from-base64url} ${hex} ${from-hex} ${url} ${from-url}" } } },
      } },
    }
    t:equal(plugin:exchange({}).response.body,
      '+/8= {"hex":"fbff"} -_8 {"hex":"fbff"} 00ff {"hex":"00ff"} a%20b%2F%C3%A4~ a b/%zz+')
  end,
  ["what is not well formed is an error"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "codec.base64-decode", args = { "a*" }, save = "base64" },
        { call = "codec.base64url-decode", args = { "+" }, save = "base64url" },
        { call = "codec.hex-decode", args = { "0g" }, save = "hex" },
        { say = { respond = { body = "[${base64},${base64url},${hex}]" } } },
      } },
    }
    for _, result in weir.json.decode(plugin:exchange({}).response.body) do
      t:truthy(result.error)
    end
  end,
}
