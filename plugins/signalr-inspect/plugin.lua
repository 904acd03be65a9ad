-- Looks into the JSON hub protocol of SignalR: which methods may be called, each direction by itself, and how often that is
-- done. The protocol: https://github.com/dotnet/aspnetcore/blob/main/src/SignalR/docs/specs/HubProtocol.md
local settings
-- The methods that may be called, by direction and name in lower case; nil where all may.
local allowed
-- Names that metrics tell apart: as they were first written, by lower case; how many of them are not of the settings.
local names, known
-- Whether other transports than WebSockets are refused.
local refuses_others

-- What ends a record.
local SEPARATOR = "\30"
local INVOCATION, COMPLETION, STREAM_INVOCATION, LAST_TYPE = 1, 3, 4, 9
local DROP = weir.drop()
local OTHER = { to_upstream = "to_client", to_client = "to_upstream" }
-- The most calls of a WebSocket of which it is remembered what they called, and names that metrics tell apart.
local MOST_CALLS, MOST_NAMES = 1000, 100
-- The largest record that can be looked at, in bytes.
local MOST_RECORD = 1048576

-- Methods of hubs are the same in upper and lower case.
local function compiled(side)
  if not side.methods then
    return nil
  end
  local set = {}
  for _, name in side.methods do
    set[string.lower(name)] = true
  end
  return set
end

-- What metrics call a method. Clients may make names up, so that there is a bound.
local function label(target)
  local lower = string.lower(target)
  if not names[lower] then
    if known >= MOST_NAMES or #target > 100 then
      return "other"
    end
    names[lower], known = target, known + 1
  end
  return names[lower]
end

local function count(name, method, direction, by, more)
  local labels = more or {}
  labels.method, labels.direction = method, direction
  weir.metrics.counter(name, labels):add(by)
end

-- Ends a WebSocket that does not speak the protocol, with words for people who look for the reason.
local function violation(why)
  return weir.close(settings.code, why)
end

-- A call that may not be made goes no further; who waits for its end is told.
local function refuse(record, ws, direction)
  weir.metrics.counter("refused", { direction = direction }):add()
  if settings.refused == "close" then
    return violation("this method may not be called")
  end
  if record.invocationId ~= nil and record.invocationId ~= weir.json.null then
    local told = { type = COMPLETION, invocationId = record.invocationId, error = "This method may not be called." }
    ws:send(OTHER[direction], weir.json.encode(told) .. SEPARATOR)
  end
  return DROP
end

-- Counts a call, and remembers it until it is complete.
local function called(record, size, direction, ctx)
  local method = label(record.target)
  count("calls", method, direction, 1)
  count("bytes", method, direction, size)
  local id = record.invocationId
  if type(id) ~= "string" then
    return
  end
  local key = `{direction} {id}`
  if ctx.calls[key] then
    -- An id that is used again stands for the later call.
    ctx.calls[key] = method
  elseif ctx.count < MOST_CALLS then
    ctx.calls[key] = method
    ctx.count += 1
  end
end

local function completed(record, direction, ctx)
  local caller = OTHER[direction]
  local key = `{caller} {tostring(record.invocationId)}`
  local method = ctx.calls[key]
  if method then
    ctx.calls[key] = nil
    ctx.count -= 1
    local is_error = record.error ~= nil and record.error ~= weir.json.null
    count("completions", method, caller, 1, { outcome = if is_error then "error" else "result" })
  end
end

local function forbidden()
  return weir.respond{
    status = 403,
    body = "Only WebSockets are served here\n",
    headers = { ["content-type"] = "text/plain; charset=utf-8" },
  }
end

-- What becomes of a record after the handshake; nothing where it goes on.
local function judged(text, direction, ws, ctx)
  local ok, record = pcall(weir.json.decode, text)
  local kind = ok and type(record) == "table" and record.type
  if type(kind) ~= "number" or kind % 1 ~= 0 or kind < INVOCATION or kind > LAST_TYPE then
    return violation("not a message of the hub protocol")
  elseif kind == INVOCATION or kind == STREAM_INVOCATION then
    if type(record.target) ~= "string" then
      return violation("a call without a method")
    end
    local set = allowed[direction]
    if set and not set[string.lower(record.target)] then
      return refuse(record, ws, direction)
    end
    called(record, #text + 1, direction, ctx)
  elseif kind == COMPLETION then
    completed(record, direction, ctx)
  end
  return nil
end

-- What becomes of the first record of the client: it names the protocol.
local function shaken(text, ws, ctx)
  local ok, record = pcall(weir.json.decode, text)
  local protocol = ok and type(record) == "table" and record.protocol
  if type(protocol) ~= "string" then
    return violation("no handshake of the hub protocol")
  elseif string.lower(protocol) == "json" then
    return nil
  elseif settings.other_protocols == "forward" then
    ctx.unread = true
    return nil
  end
  ws:send("to_client", weir.json.encode({ error = "Only the protocol json is spoken here." }) .. SEPARATOR)
  return violation("only the protocol json is spoken here")
end

-- Takes the records that are whole off a text; what is left of it.
local function split(text)
  local records, from = {}, 1
  while true do
    local at = string.find(text, SEPARATOR, from, true)
    if not at then
      return records, string.sub(text, from)
    end
    table.insert(records, string.sub(text, from, at - 1))
    from = at + 1
  end
end

-- What of a list of records goes on, or a verdict that ends it all.
local function passed(records, direction, ws, ctx)
  local kept = {}
  for _, text in records do
    local verdict
    if ctx.unread then
      verdict = nil
    elseif #text > MOST_RECORD then
      verdict = weir.close(1009, "a record of more than 1 MiB cannot be looked at")
    elseif ctx[direction] then
      verdict = judged(text, direction, ws, ctx)
    else
      ctx[direction] = true
      -- The answer to the handshake is the upstream's.
      verdict = if direction == "to_upstream" then shaken(text, ws, ctx) else nil
    end
    if verdict == nil then
      table.insert(kept, text .. SEPARATOR)
    elseif verdict ~= DROP then
      return nil, verdict
    end
  end
  return table.concat(kept)
end

local side = {
  type = "table",
  default = {},
  fields = { methods = { type = "list", items = "string" } },
}

return {
  config = {
    to_upstream = side,
    to_client = side,
    refused = { type = "string", one_of = { "answer", "close" }, default = "answer" },
    code = { type = "integer", default = 1008 },
    other_protocols = { type = "string", one_of = { "close", "forward" }, default = "close" },
    other_transports = { type = "string", one_of = { "refuse", "forward" } },
    max_partial = { type = "integer", min = 1, max = MOST_RECORD, default = 65536 },
  },

  on_load = function(config)
    settings = config
    allowed = { to_upstream = compiled(config.to_upstream), to_client = compiled(config.to_client) }
    names, known = {}, 0
    for _, direction in { "to_upstream", "to_client" } do
      -- What may be called is told apart in any case.
      for _, name in config[direction].methods or {} do
        names[string.lower(name)] = name
      end
    end
    refuses_others = config.other_transports == "refuse"
    if config.other_transports == nil then
      refuses_others = allowed.to_upstream ~= nil or allowed.to_client ~= nil
    end
    weir.close(config.code, "")
  end,

  -- Other transports would lead around the list.
  on_request = function(req, ctx)
    if not refuses_others or req.method == "OPTIONS" then
      return nil
    elseif req.method == "GET" and req.headers:get("sec-websocket-key") then
      ctx.handshake = true
    elseif req.method ~= "POST" or not string.find(req.path, "/negotiate$") then
      return forbidden()
    end
    return nil
  end,

  -- What only looked like a handshake.
  on_response = function(res, req, ctx)
    if ctx.handshake and res.status < 400 then
      return forbidden()
    end
    return nil
  end,

  on_websocket = function(ws, req, ctx)
    ctx.calls, ctx.count, ctx.rest = {}, 0, {}
  end,

  on_message = function(message, ws, ctx)
    local direction, data = message.direction, message.data
    -- A record may come in several messages, and a message may have several records.
    local text = (ctx.rest[direction] or "") .. data
    ctx.rest[direction] = nil
    if ctx.unread then
      return text
    end
    local records, rest = split(text)
    if #rest > settings.max_partial then
      return weir.close(1009, "too large")
    end
    local kept, verdict = passed(records, direction, ws, ctx)
    if not kept then
      return verdict
    elseif ctx.unread then
      kept ..= rest
    elseif rest ~= "" then
      ctx.rest[direction] = rest
    end
    if kept == data then
      return nil
    end
    return if kept == "" then DROP else kept
  end,

  on_migrate = function(old, ws, ctx)
    for name, value in old do
      ctx[name] = value
    end
  end,
}
