-- Secrets that the configuration lends.
return {
  ["one that is there, and one that is not"] = function(t)
    local plugin = t:plugin({
      hooks = { request = {
        { call = "secrets.get", args = { "token" }, save = "token" },
        { call = "secrets.get", args = { "other" }, save = "other" },
        { say = { respond = { body = "[\"${token}\",${other}]" } } },
      } },
    }, { secrets = { token = "s3cret" } })
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal(results[1], "s3cret")
    t:match(results[2].error, "secrets.other")
  end,
  ["they are there when the plugin starts"] = function(t)
    local plugin = t:plugin({
      hooks = { load = { { call = "secrets.get", args = { "token" }, save = "token" }, { call = "log.info", args = { "${token}" } } } },
    }, { secrets = { token = "s3cret" } })
    t:equal(plugin.log, { { level = "info", message = "s3cret" } })
  end,
}
