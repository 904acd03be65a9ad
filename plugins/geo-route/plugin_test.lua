local upstreams = {
  app = { "10.0.0.1:80" },
  wide = { "10.0.0.2:80" },
  near = { "10.0.0.3:80" },
  one = { "10.0.0.4:80" },
  six = { "10.0.0.5:80" },
}
local networks = {
  ["10.0.0.0/8"] = "wide",
  ["10.1.0.0/16"] = "near",
  ["10.1.2.3"] = "one",
  ["2001:db8::/32"] = "six",
  ["2001:db8::1"] = "one",
}

local function ask(plugin, ip, headers)
  return plugin:exchange { client_ip = ip, upstreams = upstreams, headers = headers }
end

return {
  ["the longest prefix wins"] = function(t)
    local plugin = t:plugin { networks = networks }
    for ip, group in {
      ["10.200.0.1"] = "wide",
      ["10.255.255.255"] = "wide",
      ["10.1.0.0"] = "near",
      ["10.1.255.255"] = "near",
      ["10.1.2.2"] = "near",
      ["10.1.2.3"] = "one",
      ["2001:db8::1"] = "one",
      ["2001:db8::2"] = "six",
    } do
      local x = ask(plugin, ip)
      t:equal({ ip, x.request.upstream, x.answered_by }, { ip, group, "upstream" })
    end
  end,

  ["who is in none of them stays with the route"] = function(t)
    local plugin = t:plugin { networks = networks }
    t:equal(ask(plugin, "11.0.0.0").request.upstream, "app")
    t:equal(ask(plugin, "9.255.255.255").request.upstream, "app")
    t:equal(ask(plugin, "2001:db9::1").request.upstream, "app")
    t:equal(ask(plugin, false).request.upstream, "app")
  end,

  ["a default is for the others"] = function(t)
    local plugin = t:plugin { networks = networks, default = "six" }
    t:equal(ask(plugin, "192.0.2.1").request.upstream, "six")
    t:equal(ask(plugin, false).request.upstream, "six")
    t:equal(ask(plugin, "10.0.0.1").request.upstream, "wide")
  end,

  ["one upstream for several networks"] = function(t)
    local plugin = t:plugin { networks = { ["10.0.0.0/8"] = "near", ["172.16.0.0/12"] = "near", ["192.0.2.0/24"] = "wide" } }
    t:equal(ask(plugin, "10.0.0.1").request.upstream, "near")
    t:equal(ask(plugin, "172.31.0.1").request.upstream, "near")
    t:equal(ask(plugin, "192.0.2.9").request.upstream, "wide")
  end,

  ["a network of everybody is the last"] = function(t)
    local plugin = t:plugin { networks = { ["0.0.0.0/0"] = "wide", ["::/0"] = "six", ["10.0.0.0/9"] = "near" } }
    t:equal(ask(plugin, "10.0.0.1").request.upstream, "near")
    t:equal(ask(plugin, "10.128.0.1").request.upstream, "wide")
    t:equal(ask(plugin, "2001:db8::1").request.upstream, "six")
    t:equal(ask(plugin, false).request.upstream, "app")
  end,

  ["an IPv4 client in an IPv6 address is an IPv4 client"] = function(t)
    t:equal(ask(t:plugin { networks = networks }, "::ffff:10.1.2.3").request.upstream, "one")
  end,

  ["a header tells the value, and the upstream stays"] = function(t)
    local plugin = t:plugin { networks = networks, header = "x-region", default = "else" }
    for ip, region in { ["10.1.2.3"] = "one", ["10.1.2.4"] = "near", ["192.0.2.1"] = "else", ["2001:db8::9"] = "six" } do
      local x = ask(plugin, ip)
      t:equal({ x.request.headers["x-region"], x.request.upstream }, { region, "app" })
    end
    t:equal(ask(plugin, false).request.headers["x-region"], "else")
  end,

  ["what a client sends under the header is removed"] = function(t)
    local forged = { ["X-Region"] = { "six", "wide" } }
    local with = t:plugin { networks = networks, header = "x-region", default = "else" }
    local without = t:plugin { networks = networks, header = "X-Region" }
    t:equal(ask(with, "10.1.2.3", forged).request.headers["x-region"], "one")
    t:equal(ask(with, "192.0.2.1", forged).request.headers["x-region"], "else")
    t:equal(ask(without, "10.1.2.3", forged).request.headers["x-region"], "one")
    t:equal(ask(without, "192.0.2.1", forged).request.headers["x-region"], nil)
    t:equal(ask(without, false, forged).request.headers["x-region"], nil)
  end,

  ["what a client says of its address counts for nothing"] = function(t)
    local said = { ["x-forwarded-for"] = "10.1.2.3", forwarded = "for=10.1.2.3", ["x-real-ip"] = "10.1.2.3" }
    t:equal(ask(t:plugin { networks = networks }, "192.0.2.1", said).request.upstream, "app")
  end,

  ["without a header setting, headers stay as they are"] = function(t)
    local x = ask(t:plugin { networks = networks }, "10.1.2.3", { ["x-region"] = "mine" })
    t:equal({ x.request.headers["x-region"], x.request.upstream }, { "mine", "one" })
  end,

  ["an upstream that is not there is a failure"] = function(t)
    local x = ask(t:plugin { networks = { ["10.0.0.0/8"] = "gone" } }, "10.0.0.1")
    t:equal({ x.response.status, x.answered_by }, { 502, "failure" })
    t:match(x.failure, "gone")
  end,

  ["wrong settings are refused"] = function(t)
    local function refused(settings, text)
      t:error(function() t:plugin(settings) end, text)
    end
    refused({}, "`networks`")
    refused({ networks = "10.0.0.0/8" }, "`networks`")
    refused({ networks = {} }, "empty")
    refused({ networks = { ["10.0.0.0/8"] = 1 } }, "10.0.0.0/8")
    refused({ networks = { ["10.0.0.0/33"] = "a" } }, "10.0.0.0/33")
    refused({ networks = { ["2001:db8::/129"] = "a" } }, "2001:db8::/129")
    refused({ networks = { ["10.0.0/8"] = "a" } }, "10.0.0/8")
    refused({ networks = { germany = "a" } }, "germany")
    refused({ networks = networks, default = 1 }, "`default`")
    refused({ networks = networks, header = true }, "`header`")
    refused({ networks = networks, region = "x" }, "`region`")
  end,
}
