return {
  ["everybody is told to come back"] = function(t)
    local x = t:plugin():exchange()
    t:equal(x.answered_by, "plugin")
    t:equal(x.response, {
      status = 503,
      body = "We are working on it and will be back soon.\n",
      headers = {
        ["content-type"] = "text/plain; charset=utf-8",
        ["cache-control"] = "no-store",
        ["retry-after"] = "300",
      },
    })
  end,

  ["the answer can be set"] = function(t)
    local plugin = t:plugin { status = 200, retry_after = 0, content_type = "text/html", body = "<p>soon" }
    t:equal(plugin:exchange().response, {
      status = 200,
      body = "<p>soon",
      headers = { ["content-type"] = "text/html", ["cache-control"] = "no-store", ["retry-after"] = "0" },
    })
  end,

  ["it can be turned off"] = function(t)
    t:equal(t:plugin({ enabled = false }):exchange().answered_by, "upstream")
  end,

  ["some addresses come in"] = function(t)
    local plugin = t:plugin { allow = { "10.0.0.0/8" } }
    t:equal(plugin:exchange({ client_ip = "10.0.0.1" }).answered_by, "upstream")
    t:equal(plugin:exchange({ client_ip = "192.0.2.1" }).answered_by, "plugin")
    t:equal(plugin:exchange({ client_ip = false }).answered_by, "plugin")
  end,

  ["who knows the word comes in"] = function(t)
    local plugin = t:plugin { bypass_header = "x-let-me", bypass_value = "in" }
    local function answered_by(value)
      return plugin:exchange({ headers = { ["x-let-me"] = value } }).answered_by
    end
    t:equal(answered_by("in"), "upstream")
    t:equal(answered_by("out"), "plugin")
    t:equal(answered_by(""), "plugin")
    t:equal(answered_by(nil), "plugin")
  end,

  ["wrong settings are refused"] = function(t)
    t:error(function() t:plugin { bypass_header = "x" } end, "go together")
    t:error(function() t:plugin { bypass_value = "x" } end, "go together")
    t:error(function() t:plugin { allow = { "x" } } end, "no address and no network")
    t:error(function() t:plugin { status = 100 } end, "`status`")
    t:error(function() t:plugin { retry_after = -1 } end, "`retry_after`")
    t:error(function() t:plugin { enabled = 1 } end, "`enabled`")
  end,
}
