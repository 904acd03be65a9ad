local function status(plugin, ip)
  return plugin:exchange({ client_ip = ip }).response.status
end

return {
  ["who is allowed comes in, a stranger is refused"] = function(t)
    local plugin = t:plugin { allow = { "10.0.0.0/8", "2001:db8::1" } }
    t:equal(status(plugin, "10.1.2.3"), 200)
    t:equal(status(plugin, "2001:db8::1"), 200)
    t:equal(status(plugin, "::ffff:10.0.0.1"), 200)
    local x = plugin:exchange { client_ip = "192.0.2.1" }
    t:equal(x.answered_by, "plugin")
    t:equal(x.response, {
      status = 403,
      headers = { ["content-type"] = "text/plain; charset=utf-8" },
      body = "Forbidden\n",
    })
  end,

  ["who is denied is refused, others come in"] = function(t)
    local plugin = t:plugin { deny = { "192.0.2.0/24" } }
    t:equal(status(plugin, "192.0.2.1"), 403)
    t:equal(status(plugin, "192.0.3.1"), 200)
  end,

  ["deny goes before allow"] = function(t)
    local plugin = t:plugin { allow = { "10.0.0.0/8" }, deny = { "10.0.0.9" } }
    t:equal(status(plugin, "10.0.0.8"), 200)
    t:equal(status(plugin, "10.0.0.9"), 403)
    t:equal(status(plugin, "11.0.0.1"), 403)
  end,

  ["status and body are set"] = function(t)
    local x = t:plugin({ deny = { "0.0.0.0/0" }, status = 451, body = "no" }):exchange()
    t:equal({ x.response.status, x.response.body }, { 451, "no" })
  end,

  ["a client on a Unix socket comes in"] = function(t)
    t:equal(status(t:plugin { allow = { "10.0.0.0/8" } }, false), 200)
  end,

  ["connections of a listener are refused before they ask"] = function(t)
    local plugin = t:plugin { allow = { "10.0.0.0/8" }, deny = { "10.0.0.9" } }
    local function accepted(ip)
      return plugin:connect({ client_ip = ip }).accepted
    end
    t:equal(accepted("10.0.0.8"), true)
    t:equal(accepted("10.0.0.9"), false)
    t:equal(accepted("192.0.2.1"), false)
    t:equal(accepted(false), true)
  end,

  ["an empty list to allow keeps everybody out"] = function(t)
    t:equal(status(t:plugin { allow = {} }, "10.0.0.1"), 403)
  end,

  ["wrong settings are refused"] = function(t)
    t:error(function() t:plugin {} end, "neither `allow` nor `deny` is set")
    t:error(function() t:plugin { allow = { "10.0.0.0/40" } } end, "no address and no network")
    t:error(function() t:plugin { deny = { "home" } } end, "\"home\" is no address")
    t:error(function() t:plugin { allow = "10.0.0.0/8" } end, "`allow`")
    t:error(function() t:plugin { deny = {}, status = 302 } end, "`status`")
    t:error(function() t:plugin { deny = {}, refuse = true } end, "`refuse`")
  end,
}
