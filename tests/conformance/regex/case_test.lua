-- Regular expressions.
local load = require("./lent")

return {
  ["they match, find and replace"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "regex.is-match", args = { "^b+$", "abba" }, save = "whole" },
        { call = "regex.is-match", args = { "b+", "abba" }, save = "part" },
        { call = "regex.find", args = { "(b+)(c)?", "abba" }, save = "found" },
        { call = "regex.find", args = { "c", "abba" }, save = "none" },
        { call = "regex.replace", args = { "(b)(a)?", "abba", "<$1>" }, save = "replaced" },
        { say = { respond = { body = "[${whole},${part},${found},${none},\"${replaced}\"]" } } },
      } },
    }
    local null = weir.json.null
    t:equal(weir.json.decode(plugin:exchange({}).response.body), { false, true, { "bb", "bb", null }, null, "a<b><b>" })
  end,
  ["a pattern that is none is an error"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "regex.is-match", args = { "(", "a" }, save = "match" },
        { call = "regex.find", args = { "(", "a" }, save = "find" },
        { call = "regex.replace", args = { "(", "a", "b" }, save = "replace" },
        { say = { respond = { body = "[${match},${find},${replace}]" } } },
      } },
    }
    for _, result in weir.json.decode(plugin:exchange({}).response.body) do
      t:match(result.error, "unclosed group")
    end
  end,
}
