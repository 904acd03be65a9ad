-- select_upstream: where each attempt goes.
local load = require("./lent")
local upstreams = { app = { "192.0.2.1:80", { address = "192.0.2.2:80", weight = 3, load = 5 } }, spare = { "192.0.2.3:80" } }

return {
  ["the default where nothing is said"] = function(t)
    local plugin = load(t) {
      hooks = { ["select-upstream"] = {
        { call = "request.path", save = "path" },
        { call = "log.info", args = { "[\"${path}\",${selection}]" } },
      } },
    }
    local x = plugin:exchange {
      path = "/a", upstreams = upstreams, group = "app",
      attempts = { { failure = "the endpoint refused the connection" }, { status = 200 } },
    }
    t:equal(x.request.endpoint, "192.0.2.2:80")
    local null = weir.json.null
    local second = { address = "192.0.2.2:80", weight = 3, load = 5, available = true }
    t:equal(weir.json.decode(x.log[1].message), { "/a", {
      group = "app", attempt = 0, failure = null,
      candidates = { { address = "192.0.2.1:80", weight = 1, load = 0, available = true }, second },
    } })
    t:equal(weir.json.decode(x.log[2].message), { "/a", {
      group = "app", attempt = 1, failure = "the endpoint refused the connection",
      candidates = { { address = "192.0.2.1:80", weight = 1, load = 0, available = false }, second },
    } })
  end,
  ["another group"] = function(t)
    local plugin = load(t) { hooks = { ["select-upstream"] = { { say = { group = "spare" } } } } }
    local x = plugin:exchange { upstreams = upstreams, group = "app" }
    t:equal(x.request.upstream, "spare")
    t:equal(x.request.endpoint, "192.0.2.3:80")
  end,
  ["an endpoint"] = function(t)
    local plugin = load(t) { hooks = { ["select-upstream"] = { { say = { endpoint = "192.0.2.2:80" } } } } }
    t:equal(plugin:exchange({ upstreams = upstreams, group = "app" }).request.endpoint, "192.0.2.2:80")
  end,
  ["a key"] = function(t)
    local plugin = load(t) { hooks = { ["select-upstream"] = { { say = { ["hash-key"] = "user 7" } } } } }
    t:equal(plugin:exchange({ upstreams = upstreams, group = "app" }).request.hash_key, "user 7")
  end,
  ["what is not there fails"] = function(t)
    local plugin = load(t) { hooks = { ["select-upstream"] = { { say = { endpoint = "192.0.2.9:80" } } } } }
    local x = plugin:exchange { upstreams = upstreams, group = "app" }
    t:equal(x.answered_by, "failure")
    t:match(x.failure, "192.0.2.9:80")
  end,
  ["it fails with a text"] = function(t)
    local plugin = load(t) { hooks = { ["select-upstream"] = { { say = { fail = "no map" } } } } }
    local x = plugin:exchange { upstreams = upstreams, group = "app" }
    t:equal(x.answered_by, "failure")
    t:match(x.failure, "select_upstream")
    t:match(x.failure, "no map")
  end,
}
