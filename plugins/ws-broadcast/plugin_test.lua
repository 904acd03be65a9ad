local options = { grants = { groups = { "room:*" } }, secrets = { key = "let-me" } }
local AUTH = { authorization = "Bearer let-me" }

local function plugin(t, settings)
  local all = { group = "room:{capture:room}", secret = "key" }
  for name, value in settings or {} do
    all[name] = value
  end
  return t:plugin(all, options)
end

local function with(headers)
  local all = table.clone(AUTH)
  for name, value in headers do
    all[name] = value
  end
  return all
end

-- What a request is answered with: status and JSON.
local function ask(it, what)
  what.captures = what.captures or { room = "7" }
  what.headers = what.headers or AUTH
  local x = it:exchange(what)
  return x.response.status, if x.answered_by == "plugin" then weir.json.decode(x.response.body) else x.answered_by, x
end

return {
  ["a WebSocket is in the group of its path, and nothing of it is read"] = function(t)
    local x = plugin(t):websocket { captures = { room = "7" }, events = { { from = "client", text = "hi" } } }
    t:equal({ x.groups, x.to_upstream, x.to_client, x.failure }, { { "room:7" }, { { opcode = "text", data = "hi" } }, {}, nil })
  end,

  ["a POST publishes to it and tells to how many"] = function(t)
    local status, told = ask(plugin(t), { method = "POST", body = "hello" })
    t:equal({ status, told }, { 200, { group = "room:7", sent = 0 } })
  end,

  ["a GET counts"] = function(t)
    local status, told, x = ask(plugin(t), {})
    t:equal({ status, told }, { 200, { group = "room:7", members = 0 } })
    t:equal(x.response.headers, { ["content-type"] = "application/json", ["cache-control"] = "no-store" })
    t:equal((select(2, ask(plugin(t, { counts = false }), { headers = {} }))), "upstream")
  end,

  ["other methods and handshakes go on"] = function(t)
    for _, what in { { method = "PUT" }, { method = "HEAD" }, { headers = { ["sec-websocket-key"] = "dGhlIHNhbXBsZSBub25jZQ==" } } } do
      what.headers = what.headers or {}
      t:equal((select(2, ask(plugin(t), what))), "upstream")
    end
  end,

  ["who does not know the secret is refused"] = function(t)
    for _, header in { false, "let-me", "Bearer let", "Bearer let-me2", "Basic let-me", { "Bearer let-me", "Bearer let-me" } } do
      for _, method in { "POST", "GET" } do
        local status, _, x = ask(plugin(t), { method = method, headers = { authorization = header or nil } })
        t:equal({ status, x.response.headers["www-authenticate"] }, { 401, 'Bearer realm="publish"' })
      end
    end
    t:equal((ask(plugin(t), { method = "POST", headers = { authorization = "bearer  let-me " } })), 200)
    local open = t:plugin({ group = "room:1", open = true }, options)
    t:equal((ask(open, { method = "POST", headers = {} })), 200)
  end,

  ["groups by the query and by a header"] = function(t)
    local it = plugin(t, { group = "room:{header:x-tenant}/{query:room}" })
    local function told(path, headers)
      return select(2, ask(it, { path = path, headers = with(headers) }))
    end
    t:equal(told("/?room=a%20b", { ["x-tenant"] = "t" }).group, "room:t/a b")
    for _, path in { "/", "/?room=", "/?room=" .. string.rep("a", 130) } do
      t:equal(told(path, { ["x-tenant"] = "t" }), { error = "the request names no group" })
    end
    local x = it:websocket { path = "/?other=1", events = { { from = "client", text = "hi" } } }
    t:equal({ x.groups, #x.to_upstream, x.failure }, { {}, 1, nil })
  end,

  ["no two requests name one group by different values"] = function(t)
    local it = plugin(t, { group = "room:{header:x-tenant}::{query:room}." })
    local function group(tenant, room)
      return select(2, ask(it, { path = "/?room=" .. room, headers = with { ["x-tenant"] = tenant } })).group
    end
    t:equal({ group("a", "b::c"), group("a", ":b"), group("a:b", "c.") }, { "room:a::b::c.", "room:a:::b.", "room:a:b::c.." })
    t:equal({ group("a::b", "c"), group("a:", "b"), group("::", "b") }, {})
    local x = it:websocket { path = "/?room=c", headers = { ["x-tenant"] = "a::b" } }
    t:equal({ x.groups, x.failure }, { {}, nil })
  end,

  ["a group that was not granted is not reached"] = function(t)
    local it = plugin(t, { group = "{query:room}" })
    t:equal((select(2, ask(it, { path = "/?room=admin", method = "POST" }))), "failure")
    t:equal((select(2, ask(it, { path = "/?room=room:1", method = "POST" }))), { group = "room:1", sent = 0 })
  end,

  ["bodies that cannot be sent"] = function(t)
    local it = plugin(t, { max_message = 5 })
    local status, told = ask(it, { method = "POST", body = "123456" })
    t:equal({ status, told }, { 413, { error = "a message has at most 5 bytes" } })
    t:equal((ask(it, { method = "POST", body = "12345" })), 200)
    status = ask(it, { method = "POST", body = "\255" })
    t:equal(status, 400)
    t:equal((ask(it, { method = "POST", body = "\255", headers = with { ["content-type"] = "Application/Octet-Stream" } })), 200)
  end,

  ["it stays in its group in newer code"] = function(t)
    local x = plugin(t):websocket { captures = { room = "7" }, events = { { migrate = true }, { from = "client", text = "a" } } }
    t:equal({ x.groups, #x.to_upstream, x.failure }, { { "room:7" }, 1, nil })
  end,

  ["wrong settings are told"] = function(t)
    for wanted, settings in {
      ["`group` is missing"] = { open = true },
      ["`open = true` lets everyone"] = { group = "a" },
      ["there is one"] = { group = "a", open = true, secret = "key" },
      ["in [plugins.ws-broadcast.secrets]"] = { group = "a", secret = "other" },
      ["\"{cookie:a}\" is not known"] = { group = "{cookie:a}", open = true },
      ["no text between them"] = { group = "{capture:a}{query:b}", open = true },
      ["belongs to no placeholder"] = { group = "{capture:a", open = true },
    } do
      t:error(function()
        t:plugin(settings, options)
      end, wanted)
    end
  end,
}
