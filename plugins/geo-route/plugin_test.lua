local NETWORKS = { ["10.0.0.0/8"] = "near", ["10.9.0.0/16"] = "far", ["10.9.9.9"] = "one", ["2001:db8::/32"] = "six" }

local function upstream(t, settings, client_ip)
  local groups = {}
  for _, name in { "app", "near", "far", "one", "six", "rest" } do
    groups[name] = { "192.0.2.80:80" }
  end
  local x = t:plugin(settings):exchange { client_ip = client_ip, upstreams = groups }
  t:falsy(x.failure)
  return x.request.upstream
end

return {
  ["the longest prefix wins"] = function(t)
    for ip, wanted in {
      ["10.1.2.3"] = "near", ["10.9.1.1"] = "far", ["10.9.9.9"] = "one", ["2001:db8::1"] = "six",
    } do
      t:equal(upstream(t, { networks = NETWORKS }, ip), wanted)
    end
  end,

  ["others go where the route says, or to the default"] = function(t)
    t:equal(upstream(t, { networks = NETWORKS }, "192.0.2.1"), "app")
    t:equal(upstream(t, { networks = NETWORKS, default = "rest" }, "192.0.2.1"), "rest")
  end,

  ["a network of all is the last resort"] = function(t)
    local networks = { ["0.0.0.0/0"] = "rest", ["10.0.0.0/8"] = "near" }
    t:equal(upstream(t, { networks = networks }, "192.0.2.1"), "rest")
    t:equal(upstream(t, { networks = networks }, "10.0.0.1"), "near")
  end,

  ["a header tells it instead, which no client can forge"] = function(t)
    local plugin = t:plugin { networks = NETWORKS, header = "x-region" }
    local x = plugin:exchange { client_ip = "10.9.1.1", headers = { ["x-region"] = "forged" } }
    t:equal({ x.request.headers["x-region"], x.request.upstream }, { "far", "app" })
    x = plugin:exchange { client_ip = "192.0.2.1", headers = { ["x-region"] = "forged" } }
    t:falsy(x.request.headers["x-region"])
    plugin = t:plugin { networks = NETWORKS, header = "x-region", default = "none" }
    t:equal(plugin:exchange({ client_ip = "192.0.2.1" }).request.headers["x-region"], "none")
  end,

  ["wrong settings are told"] = function(t)
    for wanted, settings in {
      ["networks"] = {},
      ["is empty"] = { networks = {} },
      ["no address and no network"] = { networks = { ["10.0.0.0/40"] = "a" } },
      ["is a text"] = { networks = { ["10.0.0.0/8"] = 5 } },
    } do
      t:error(function()
        t:plugin(settings)
      end, wanted)
    end
  end,
}
