-- Addresses and networks.
local load = require("./lent")

return {
  ["what is one, and what is in them"] = function(t)
    local plugin = load(t) {
      hooks = { request = {
        { call = "ip.is-valid", args = { "2001:db8::1" }, save = "valid" },
        { call = "ip.is-valid", args = { "192.0.2.256" }, save = "invalid" },
        { call = "ip.contains", args = { { "192.0.2.0/24", "2001:db8::/32" }, "::ffff:192.0.2.7" }, save = "in" },
        { call = "ip.contains", args = { { "192.0.2.0/24", "2001:db8::/32" }, "192.0.3.7" }, save = "out" },
        { call = "ip.contains", args = { { "192.0.2.0/33" }, "192.0.3.7" }, save = "no-network" },
        { call = "ip.contains", args = { { "192.0.2.0/24" }, "localhost" }, save = "no-address" },
        { say = { respond = { body = "[${valid},${invalid},${in},${out},${no-network},${no-address}]" } } },
      } },
    }
    local results = weir.json.decode(plugin:exchange({}).response.body)
    t:equal({ table.unpack(results, 1, 4) }, { true, false, true, false })
    t:match(results[5].error, "192.0.2.0/33")
    t:match(results[6].error, "localhost")
  end,
}
