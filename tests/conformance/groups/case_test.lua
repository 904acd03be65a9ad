-- Groups, and other WebSockets by their ids.
local load = require("./lent")
local others = {
  { id = "8", route = "chat", groups = { "room:7" } },
  { id = "9", route = "chat", groups = { "room:7" } },
  { id = "10", route = "other" },
}

return {
  ["all that are in a group"] = function(t)
    local plugin = load(t) {
      hooks = { message = {
        { call = "relay.id", save = "id" },
        { call = "relay.join", args = { "room:7" } },
        { call = "group.count", args = { "room:7" }, save = "count" },
        { call = "group.members", args = { "room:7" }, save = "members" },
        { call = "group.send", args = { "room:7", "to-client", "$data", "text", "$id" }, save = "sent" },
        { call = "group.close", args = { "room:7", 4001, "enough" }, save = "closed" },
        { call = "group.count", args = { "hall" }, save = "denied" },
        { call = "log.info", args = { "[${count},${members},${sent},${closed},${denied}]" } },
      } },
    }
    local x = plugin:websocket { others = others, events = { { from = "client", text = "hello" } } }
    local results = weir.json.decode(x.log[1].message)
    t:equal(results[1], 3)
    t:equal(#results[2], 3)
    t:truthy(table.find(results[2], "8"))
    t:equal(results[3], 2)
    t:equal(results[4], 3)
    t:match(results[5].error, "hall")
    t:equal(x.to_client, {})
    t:equal(x.closed.code, 4001)
    t:equal(#x.sent, 4)
    t:equal(x.sent[1], { relay = "8", to = "to_client", opcode = "text", data = "hello" })
  end,
  ["one by its id"] = function(t)
    local plugin = load(t) {
      hooks = { message = {
        { call = "websocket.find", args = { "8" }, save = "there" },
        { call = "websocket.find", args = { "77" }, save = "gone" },
        { call = "websocket.find", args = { "10" }, save = "denied" },
        { call = "websocket.send", args = { "8", "to-upstream", "hi", "text" } },
        { call = "log.info", args = { "[\"${there}\",${gone},${denied}]" } },
      } },
    }
    local x = plugin:websocket { others = others, events = { { from = "client", text = "hello" } } }
    local results = weir.json.decode(x.log[1].message)
    t:equal(results[1], "8")
    t:equal(results[2], weir.json.null)
    t:match(results[3].error, "other")
    t:equal(x.sent, { { relay = "8", to = "to_upstream", opcode = "text", data = "hi" } })
  end,
}
