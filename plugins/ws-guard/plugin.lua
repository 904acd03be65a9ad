-- Bounds what WebSockets carry, each direction by rules of its own: sizes, rates, opcodes, JSON and what is in it. Ends those
-- whose token has expired.
local schema = require "schema"

-- Rules by direction; what a relay has to be watched for by them.
local rules, watch
-- The code of each check.
local codes
-- How it is known until when a relay may go on.
local expires
-- The last second whose relays have been ended.
local swept

local CODES = { opcode = 1003, size = 1009, rate = 1008, json = 1007, schema = 1008 }
local REASONS = {
  opcode = "not this kind of message",
  size = "too large",
  rate = "too much at once",
  json = "no JSON",
  schema = "not as agreed",
}
local OPCODES = { "text", "binary", "ping", "pong" }
-- For how many seconds before the first tick of all relays may be left that nobody has ended; how many a tick takes on at most.
local BACK, MOST_SECONDS = 60, 300
-- How many seconds after its token has expired a relay is ended if no tick did so.
local LATE = 2
-- The longest that a relay may be bounded to, in seconds: thirty years.
local FOREVER = 1e9

-- A rate: so many a second, and a burst at once.
local function rate(side, direction, name)
  local per_second, burst = side[name .. "_per_second"], side[name .. "_burst"]
  if not per_second then
    if burst then
      error(`\`{direction}.{name}_burst\` goes with \`{name}_per_second\``, 0)
    end
    return nil
  end
  return { per_second = per_second, burst = burst or math.max(per_second, 1), key = `{direction} {name}` }
end

-- What the settings of a direction come to.
local function compiled(side, direction)
  local rule = {
    max_message = side.max_message or math.huge,
    messages = rate(side, direction, "messages"),
    bytes = rate(side, direction, "bytes"),
    json = side.json or side.schema ~= nil or side.rewrite,
    check = if side.schema ~= nil then schema.compile(side.schema) else nil,
    rewrite = side.rewrite,
    drops = side.refused == "drop",
    direction = direction,
    opcodes = {},
  }
  for _, opcode in side.opcodes or OPCODES do
    rule.opcodes[opcode] = true
  end
  rule.frames = not (rule.opcodes.ping and rule.opcodes.pong)
  rule.any = side.max_message or rule.messages or rule.bytes or rule.json or side.opcodes
  return rule
end

-- Whether so much more fits: the generic cell rate algorithm, whose only state is the time at which all of the burst is back.
local function fits(rate, amount, now, ctx)
  if not rate then
    return true
  end
  local back = math.max(ctx[rate.key] or 0, now) + amount / rate.per_second
  if back - now > rate.burst / rate.per_second + 1e-9 then
    return false
  end
  ctx[rate.key] = back
  return true
end

local function refuse(rule, check, why)
  weir.metrics.counter("refused", { check = check, direction = rule.direction }):add()
  if why then
    weir.log.debug(`not as agreed, {rule.direction}: {if string.sub(why, 1, 1) == ":" then "the message" else ""}{why}`)
  end
  return if rule.drops then weir.drop() else weir.close(codes[check], REASONS[check])
end

-- The group of relays whose token is good until a second.
local function ending(second)
  return `{expires.group}:{second}`
end

-- What is left to do of a relay at its begin, and when it has gone over to this code.
local function watched(ws, ctx)
  if not expires or not ctx.expires then
    return watch
  elseif ctx.expires <= weir.time.now() then
    ws:close(expires.code, expires.reason)
    return watch
  end
  ws:join(ending(math.ceil(ctx.expires)))
  if ctx.opened then
    -- No plugin ticks while weir drains.
    local age = math.min(math.ceil(ctx.expires - ctx.opened) + LATE, expires.max_age or FOREVER)
    ws:limit { max_age = age }
  end
  return watch
end

local side = {
  type = "table",
  default = {},
  fields = {
    max_message = { type = "integer", min = 1 },
    messages_per_second = { type = "number", min = 0.001 },
    messages_burst = { type = "integer", min = 1 },
    bytes_per_second = { type = "number", min = 1 },
    bytes_burst = { type = "integer", min = 1 },
    opcodes = { type = "list", items = { type = "string", one_of = OPCODES }, min = 1 },
    json = { type = "boolean", default = false },
    schema = "any",
    rewrite = { type = "boolean", default = false },
    refused = { type = "string", one_of = { "close", "drop" }, default = "close" },
  },
}

return {
  tick_every = 1,

  config = {
    to_upstream = side,
    to_client = side,
    codes = { type = "table", items = { type = "integer" }, default = {} },
    expires = {
      type = "table",
      fields = {
        header = { type = "string", required = true },
        code = { type = "integer", default = 4001 },
        reason = { type = "string", default = "the token has expired" },
        required = { type = "boolean", default = true },
        group = { type = "string", default = "expires" },
        max_age = { type = "integer", min = 1 },
      },
    },
  },

  on_load = function(config)
    rules = {
      to_upstream = compiled(config.to_upstream, "to_upstream"),
      to_client = compiled(config.to_client, "to_client"),
    }
    codes = table.clone(CODES)
    for check, code in config.codes do
      if not CODES[check] then
        error(`\`codes\` has no "{check}": there are json, opcode, rate, schema, size`, 0)
      end
      codes[check] = code
    end
    for check, code in codes do
      weir.close(code, REASONS[check])
    end
    expires = config.expires
    if expires then
      weir.close(expires.code, expires.reason)
      -- Whether the group was granted is told now.
      weir.websocket.group(ending(0))
    end
    local messages = rules.to_upstream.any or rules.to_client.any
    if not messages and not expires then
      error("none of `to_upstream`, `to_client` and `expires` says anything: nothing would be guarded", 0)
    end
    local wanted = { "send" }
    if messages then
      table.insert(wanted, "messages")
    end
    if rules.to_upstream.frames or rules.to_client.frames then
      table.insert(wanted, "frames")
    end
    watch = weir.watch(table.unpack(wanted))
  end,

  on_websocket = function(ws, req, ctx)
    if expires then
      local until_when = tonumber(req.headers:get(expires.header) or "")
      if until_when and until_when == until_when and math.abs(until_when) < 1e12 then
        ctx.expires, ctx.opened = until_when, weir.time.now()
      elseif expires.required then
        ctx.expires = 0
      end
    end
    return watched(ws, ctx)
  end,

  -- Of messages each is looked at as a whole.
  on_frame = function(frame)
    local rule = rules[frame.direction]
    if (frame.opcode == "ping" or frame.opcode == "pong") and not rule.opcodes[frame.opcode] then
      return refuse(rule, "opcode")
    end
  end,

  on_message = function(message, ws, ctx)
    local rule, data = rules[message.direction], message.data
    if expires and ctx.expires and ctx.expires <= weir.time.now() then
      return weir.close(expires.code, expires.reason)
    elseif not rule.opcodes[message.opcode] then
      return refuse(rule, "opcode")
    elseif #data > rule.max_message then
      return refuse(rule, "size")
    end
    if rule.messages or rule.bytes then
      local now = weir.time.monotonic()
      if not (fits(rule.messages, 1, now, ctx) and fits(rule.bytes, #data, now, ctx)) then
        return refuse(rule, "rate")
      end
    end
    if rule.json then
      local ok, value = pcall(weir.json.decode, data)
      if not ok then
        return refuse(rule, "json")
      end
      local why = rule.check and rule.check(value)
      if why then
        return refuse(rule, "schema", why)
      end
      return if rule.rewrite then weir.json.encode(value) else nil
    end
  end,

  -- By groups, so that relays are ended on all workers, and those that an earlier generation of this plugin has opened.
  on_tick = function()
    if not expires then
      return
    end
    local now = math.floor(weir.time.now())
    local last = swept or tonumber(weir.kv.get("swept") or "") or now - BACK
    -- After a long pause it takes some ticks to come up to now.
    swept = math.min(now, last + MOST_SECONDS)
    for second = last + 1, swept do
      weir.websocket.group(ending(second)):close(expires.code, expires.reason)
    end
    weir.kv.set("swept", tostring(swept))
  end,

  on_migrate = function(old, ws, ctx)
    for name, value in old do
      ctx[name] = value
    end
    return watched(ws, ctx)
  end,
}
