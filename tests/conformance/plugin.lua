-- The twin of tests/guests/conformance: a plugin that does what its settings say. Its settings, steps and values are
-- described there; what each function of the WIT package is in Lua, the table `functions` says.

local null = weir.json.null

local hooks = {}

-- What hooks without an exchange have saved.
local common = {}

-- Values ----------------------------------------------------------------------------------------------------------

-- Bytes as a value: text, or hexadecimal.
local function bytes_value(data)
  if data == nil then
    return null
  end
  return if utf8.len(data) then data else { hex = weir.codec.hex_encode(data) }
end

local function list(values)
  local out = {}
  for i, value in values do
    out[i] = bytes_value(value)
  end
  return out
end

local function fields(entries)
  local out = {}
  for i, entry in entries do
    out[i] = { entry.name, bytes_value(entry.value) }
  end
  return out
end

local function is_none(value)
  return value == nil or value == null
end

local function optional(value)
  if is_none(value) then
    return nil
  end
  return value
end

-- Within texts: values that are none are JSON.
local function shown(value)
  return if type(value) == "string" then value else weir.json.encode(value)
end

-- An argument as text, and as bytes.
local function text(value)
  return if value == nil then "null" else shown(value)
end

local function bytes(value)
  if type(value) == "table" and value.hex then
    return weir.codec.hex_decode(value.hex)
  end
  return text(value)
end

local function optional_bytes(value)
  return if is_none(value) then nil else bytes(value)
end

-- A value with what was saved in the place of `"$name"` and `"${name}"`.
local function filled(value, kept)
  if type(value) == "string" then
    local name = string.match(value, "^%$(.*)$")
    if name and kept[name] ~= nil then
      return kept[name]
    end
    return (string.gsub(value, "%${([^}]*)}", function(name)
      return if kept[name] ~= nil then shown(kept[name]) else nil
    end))
  elseif type(value) == "table" then
    local out = {}
    for name, inner in value do
      out[name] = filled(inner, kept)
    end
    return out
  end
  return value
end

-- Names of the WIT package in Lua: `to-client` is `to_client`.
local function snake(name)
  return (string.gsub(name, "-", "_"))
end

local function kebab(name)
  return (string.gsub(name, "_", "-"))
end

local function frame_value(frame)
  return {
    direction = kebab(frame.direction),
    opcode = frame.opcode,
    first = frame.first,
    last = frame.last,
    sequence = frame.sequence,
    compressed = frame.compressed,
    size = frame.size,
  }
end

-- Functions ---------------------------------------------------------------------------------------------------------

-- By their names in the WIT package: each gets what the hook was given, and the arguments. Getters of the WIT are fields
-- in Lua, and `set-x` an assignment.
local functions = {}

local function there(given, name)
  return given[name] or error(`this hook has no {name}`, 0)
end

-- Fields of the handle `owner`.
local function getters(owner, find, names)
  for _, name in names do
    functions[`{owner}.{name}`] = function(given)
      local value = find(given)[snake(name)]
      return if value == nil then null else value
    end
  end
end

local function setters(owner, find, names)
  for _, name in names do
    functions[`{owner}.set-{name}`] = function(given, value)
      find(given)[snake(name)] = if type(value) == "number" then value else text(value)
    end
  end
end

local function request(given)
  return there(given, "request")
end

local function response(given)
  return there(given, "response")
end

local function relay(given)
  return there(given, "relay")
end

-- Headers, queries and cookies have these, as far as they have them.
local function named(owner, find)
  functions[`{owner}.get`] = function(given, name)
    return bytes_value(find(given):get(text(name)))
  end
  functions[`{owner}.get-all`] = function(given, name)
    return list(find(given):get_all(text(name)))
  end
  functions[`{owner}.set`] = function(given, name, value)
    find(given):set(text(name), bytes(value))
  end
  functions[`{owner}.add`] = function(given, name, value)
    find(given):add(text(name), bytes(value))
  end
  functions[`{owner}.remove`] = function(given, name)
    find(given):remove(text(name))
  end
  functions[`{owner}.entries`] = function(given)
    return fields(find(given):entries())
  end
end

local function body(owner, find)
  functions[`{owner}.read`] = function(given, limit)
    return bytes_value(find(given):read(optional(limit)))
  end
  functions[`{owner}.replace`] = function(given, data)
    find(given):replace(bytes(data))
  end
  functions[`{owner}.pass`] = function(given)
    find(given):pass()
  end
end

for owner, find in { request = request, response = response } do
  named(`{owner}.headers`, function(given)
    return find(given).headers
  end)
  body(`{owner}.body`, function(given)
    return find(given).body
  end)
end
named("request.query", function(given)
  return request(given).query
end)
named("request.cookies", function(given)
  return request(given).cookies
end)

getters("request", request, {
  "request-id", "route", "method", "scheme", "host", "path", "query-string", "version", "is-websocket", "client-ip",
  "upstream",
})
setters("request", request, { "method", "path", "query-string", "upstream" })
functions["request.capture"] = function(given, name)
  local value = request(given):capture(text(name))
  return if value == nil then null else value
end

getters("response", response, { "status", "endpoint" })
setters("response", response, { "status" })

local of_connection = {
  "id", "listener", "peer", "peer-ip", "local-address", "tls-version", "tls-cipher", "sni", "alpn", "client-subject",
  "client-fingerprint",
}
getters("connection", function(given)
  return there(given, "connection")
end, of_connection)
getters("request.connection", function(given)
  return request(given).connection
end, of_connection)

getters("relay", relay, { "id", "route", "request-id", "client-ip", "subprotocol" })
functions["relay.send"] = function(given, to, data, opcode)
  relay(given):send(snake(to), bytes(data), optional(opcode))
end
functions["relay.close"] = function(given, code, reason)
  relay(given):close(code, optional(reason))
end
functions["relay.join"] = function(given, group)
  relay(given):join(group)
end
functions["relay.leave"] = function(given, group)
  return relay(given):leave(group)
end
functions["relay.watch"] = function(given, names)
  relay(given):watch(table.unpack(names))
end
functions["relay.limit"] = function(given, limits)
  local as_here = {}
  for name, bound in limits do
    as_here[snake(name)] = bound
  end
  relay(given):limit(as_here)
end

functions["group.send"] = function(_, group, to, data, opcode, except)
  return weir.websocket.group(group):send(snake(to), bytes(data), optional(opcode), optional(except))
end
functions["group.close"] = function(_, group, code, reason)
  return weir.websocket.group(group):close(code, optional(reason))
end
functions["group.count"] = function(_, group)
  return weir.websocket.group(group):count()
end
functions["group.members"] = function(_, group)
  return weir.websocket.group(group):members()
end
functions["websocket.find"] = function(_, id)
  local found = weir.websocket.relay(text(id))
  return if found then found.id else null
end
functions["websocket.send"] = function(_, id, to, data, opcode)
  local found = weir.websocket.relay(text(id))
  if not found then
    return false
  end
  found:send(snake(to), bytes(data), optional(opcode))
  return null
end

for _, level in { "debug", "info", "warn", "error" } do
  functions[`log.{level}`] = function(_, message)
    weir.log[level](text(message))
  end
end

-- Those of `store` have the namespace before the arguments of `kv`.
local kv = {
  get = function(lent, key)
    return bytes_value(lent.get(bytes(key)))
  end,
  set = function(lent, key, value, ttl)
    lent.set(bytes(key), bytes(value), optional(ttl))
  end,
  add = function(lent, key, value, ttl)
    return lent.add(bytes(key), bytes(value), optional(ttl))
  end,
  incr = function(lent, key, by, initial, ttl)
    return lent.incr(bytes(key), by or 0, initial or 0, optional(ttl))
  end,
  cas = function(lent, key, expected, value, ttl)
    return lent.cas(bytes(key), optional_bytes(expected), bytes(value), optional(ttl))
  end,
  delete = function(lent, key)
    return lent.delete(bytes(key))
  end,
  ttl = function(lent, key)
    local ttl = lent.ttl(bytes(key))
    return if ttl == nil then null else ttl
  end,
}
for name, act in kv do
  functions[`kv.{name}`] = function(_, ...)
    return act(weir.kv, ...)
  end
  functions[`store.{name}`] = function(_, namespace, ...)
    local store = weir.kv.open(namespace)
    local lent = {
      [name] = function(...)
        return store[name](store, ...)
      end,
    }
    return act(lent, ...)
  end
end

functions["secrets.get"] = function(_, name)
  return bytes_value(weir.secrets.get(text(name)))
end

for _, coding in { "base64", "base64url", "hex", "url" } do
  functions[`codec.{coding}-encode`] = function(_, data)
    return weir.codec[`{coding}_encode`](bytes(data))
  end
  functions[`codec.{coding}-decode`] = function(_, data)
    return bytes_value(weir.codec[`{coding}_decode`](bytes(data)))
  end
end

functions["crypto.hash"] = function(_, name, data)
  return bytes_value(weir.crypto.hash(text(name), bytes(data)))
end
functions["crypto.hmac"] = function(_, name, key, data)
  return bytes_value(weir.crypto.hmac(text(name), bytes(key), bytes(data)))
end
functions["crypto.equal"] = function(_, a, b)
  return weir.crypto.equal(bytes(a), bytes(b))
end
functions["crypto.random"] = function(_, count)
  return bytes_value(weir.crypto.random(count))
end
functions["crypto.uuid"] = function()
  return weir.crypto.uuid()
end
functions["crypto.encrypt"] = function(_, key, plaintext, aad)
  return bytes_value(weir.crypto.encrypt(bytes(key), bytes(plaintext), bytes(aad)))
end
functions["crypto.decrypt"] = function(_, key, sealed, aad)
  return bytes_value(weir.crypto.decrypt(bytes(key), bytes(sealed), bytes(aad)))
end
functions["crypto.verify"] = function(_, algorithm, key, data, signature)
  return weir.crypto.verify(text(algorithm), bytes(key), bytes(data), bytes(signature))
end

functions["password.verify"] = function(_, hash, password)
  return weir.password.verify(text(hash), bytes(password))
end

functions["jwt.verify"] = function(_, token, keys, options)
  -- What the token failed is told beside `nil` here, and is an error there.
  local claims, failed = weir.jwt.verify(bytes(token), keys, options)
  return claims or error(failed, 0)
end

functions["metrics.counter.add"] = function(_, name, labels, n)
  weir.metrics.counter(name, labels):add(n)
end
functions["metrics.gauge.set"] = function(_, name, labels, n)
  weir.metrics.gauge(name, labels):set(n)
end
functions["metrics.gauge.add"] = function(_, name, labels, n)
  weir.metrics.gauge(name, labels):add(n)
end
functions["metrics.histogram.observe"] = function(_, name, labels, n, buckets)
  weir.metrics.histogram(name, labels, buckets):observe(n)
end

functions["regex.is-match"] = function(_, pattern, data)
  return weir.regex.is_match(text(pattern), bytes(data))
end
functions["regex.find"] = function(_, pattern, data)
  local groups = weir.regex.find(text(pattern), bytes(data))
  if not groups then
    return null
  end
  local out = {}
  for i, group in groups do
    out[i] = if group == false then null else bytes_value(group)
  end
  return out
end
functions["regex.replace"] = function(_, pattern, data, with)
  return bytes_value(weir.regex.replace(text(pattern), bytes(data), bytes(with)))
end

functions["ip.is-valid"] = function(_, address)
  return weir.ip.is_valid(text(address))
end
functions["ip.contains"] = function(_, networks, address)
  return weir.ip.parse(networks):contains(text(address))
end

functions["time.now"] = function()
  return weir.time.now()
end
functions["time.monotonic"] = function()
  return weir.time.monotonic()
end
functions["time.sleep"] = function(_, seconds)
  weir.time.sleep(seconds)
end

functions["timer.set"] = function(_, name, seconds)
  weir.timer.set(text(name), seconds)
end
functions["timer.cancel"] = function(_, name)
  return weir.timer.cancel(text(name))
end

-- A call with its headers as Lua has them.
local function made(call)
  local headers = {}
  for _, field in call.headers or {} do
    headers[field[1]] = field[2]
  end
  local made = table.clone(call)
  made.headers = headers
  return made
end

local function pieces(response)
  local all = {}
  while true do
    local piece = response:piece()
    if piece == nil then
      return bytes_value(table.concat(all))
    end
    table.insert(all, piece)
  end
end

local function answer(response)
  return { status = response.status, headers = fields(response:headers()), body = pieces(response) }
end

-- Why there is no response is told beside `nil` here, and is an error there.
local function sent(call)
  local response, problem = weir.http.request(made(call))
  return response or error(problem, 0)
end

functions["http.request"] = function(_, call)
  return answer(sent(call))
end
functions["http.all"] = function(_, calls)
  local all = {}
  for i, call in calls do
    all[i] = made(call)
  end
  local out = {}
  for i, response in weir.http.all(all) do
    out[i] = if type(response) == "table" then response else answer(response)
  end
  return out
end
functions["http-response.status"] = function(_, call)
  return sent(call).status
end
functions["http-response.header"] = function(_, call, name)
  return bytes_value(sent(call):header(name))
end
functions["http-response.header-all"] = function(_, call, name)
  return list(sent(call):header_all(name))
end
functions["http-response.headers"] = function(_, call)
  return fields(sent(call):headers())
end
functions["http-response.read"] = function(_, call, limit)
  return bytes_value(sent(call):read(optional(limit)))
end
functions["http-response.piece"] = function(_, call)
  return pieces(sent(call))
end

-- Steps -------------------------------------------------------------------------------------------------------------

-- What a hook says: the verdict that it returns.
local says = {
  respond = function(answer)
    local headers = {}
    for _, field in answer.headers or {} do
      local name, value = field[1], field[2]
      local before = headers[name]
      headers[name] = if before == nil
        then value
        elseif type(before) == "table" then { table.unpack(before), value }
        else { before, value }
    end
    return weir.respond { status = answer.status, headers = headers, body = answer.body }
  end,
  replace = text,
  group = weir.group,
  endpoint = weir.endpoint,
  ["hash-key"] = weir.hash_key,
  close = function(with)
    return weir.close(with.code, with.reason)
  end,
  watch = function(names)
    return weir.watch(table.unpack(names))
  end,
  fail = function(message)
    error(message, 0)
  end,
}
local plain = {
  nothing = function() end,
  refuse = weir.refuse,
  drop = weir.drop,
  loop = function()
    while true do
    end
  end,
}

local function verdict(say)
  if type(say) == "string" then
    return plain[say]()
  end
  local name, with = next(say)
  return says[name](with)
end

-- An error's text without the place in this file.
local function told(problem)
  return (string.gsub(tostring(problem), "^[%w_./-]+:%d+: ", ""))
end

local function take(hook, kept, given)
  for _, step in hooks[hook] or {} do
    local when = step["if"]
    if when and (is_none(kept[when]) or kept[when] == false) then
      continue
    end
    if step.call then
      local act = functions[step.call] or error(`{step.call} is no function of the host`, 0)
      local done, result = pcall(act, given, table.unpack(filled(step.args or {}, kept)))
      if not done and not step.save then
        error(told(result), 0)
      end
      if step.save then
        kept[step.save] = if not done then { error = told(result) } elseif result == nil then null else result
      end
    end
    if step.say then
      return verdict(filled(step.say, kept))
    end
  end
  return nil
end

local function frame(hook)
  return function(frame, ws, ctx)
    ctx.data, ctx.frame = bytes_value(frame.data), frame_value(frame)
    return take(hook, ctx, { relay = ws })
  end
end

local function piece(hook)
  return function(data, last, ctx)
    ctx.data, ctx.last = bytes_value(data), last
    return take(hook, ctx, {})
  end
end

-- Hooks -------------------------------------------------------------------------------------------------------------

return {
  config = {
    hooks = { type = "any" },
    tick_every = { type = "number" },
  },
  on_load = function(config)
    hooks = config.hooks or {}
    take("load", common, {})
  end,
  on_connect = function(connection)
    return take("connect", common, { connection = connection })
  end,
  on_request = function(req, ctx)
    return take("request", ctx, { request = req })
  end,
  on_request_body = piece("request-body"),
  select_upstream = function(selection, req, ctx)
    local candidates = {}
    for i, c in selection.candidates do
      candidates[i] = { address = c.address, weight = c.weight, load = c.load, available = c.available }
    end
    ctx.selection = {
      group = selection.group,
      candidates = candidates,
      attempt = selection.attempt,
      failure = if selection.failure == nil then null else selection.failure,
    }
    return take("select-upstream", ctx, { request = req })
  end,
  on_response = function(res, req, ctx)
    return take("response", ctx, { request = req, response = res })
  end,
  on_response_body = piece("response-body"),
  on_log = function(res, req, ctx)
    take("log", ctx, { request = req, response = res })
  end,
  on_websocket = function(ws, req, ctx)
    -- Weir itself saves `ctx`, so there is no hook `save` here. One that fails is data that cannot be saved.
    for _, step in hooks.save or {} do
      ctx.unsaved = print
    end
    return take("websocket", ctx, { request = req, relay = ws })
  end,
  on_frame = frame("frame"),
  on_message = frame("message"),
  on_close = function(closed, ws, ctx)
    ctx.closed = { code = if closed.code == nil then null else closed.code, reason = closed.reason, by = closed.by }
    take("close", ctx, { relay = ws })
  end,
  on_migrate = function(old, ws, ctx)
    ctx.old = old
    return take("migrate", ctx, { relay = ws })
  end,
  on_tick = function()
    take("tick", common, {})
  end,
  on_timer = function(name)
    common.name = name
    take("timer", common, {})
  end,
}
