-- Secrets that the configuration lends.
local load = require("./lent")

return {
  ["one that is there, and one that is not"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "secrets.get", args = { "token" }, save = "token" },
        { call = "secrets.get", args = { "other" }, save = "other" },
        { say = { respond = { body = "[\"${token}\",${other}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal(results[1], "s3cret")
    t:match(results[2].error, "other")
  end,
  ["they are there when the plugin starts"] = function(t)
    local plugin = load(t) {
      hooks = { load = { { call = "secrets.get", args = { "token" }, save = "token" }, { call = "log.info", args = { "${token}" } } } },
    }
    t:equal(plugin.log, { { level = "info", message = "s3cret" } })
  end,
}
