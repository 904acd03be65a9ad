-- Chooses the upstream of a WebSocket by what its first message says, for routes with `connect = "first-message"`.
local path, upstreams, default, forward, code

local REASONS = { opcode = "not a text", json = "no JSON", field = "nothing to choose by", value = "nobody for this" }

-- What is at a path, or nil.
local function at(value, steps)
  for _, step in steps do
    if type(value) ~= "table" then
      return nil
    end
    -- Arrays have a hidden metatable, objects none.
    value = value[if getmetatable(value) == false then tonumber(step) else step]
  end
  return value
end

-- The upstream that a message asks for, or nil and what is wrong with it.
local function asked(message)
  if message.opcode ~= "text" then
    return nil, "opcode"
  end
  local ok, value = pcall(weir.json.decode, message.data)
  if not ok then
    return nil, "json"
  end
  value = at(value, path)
  if type(value) ~= "string" and type(value) ~= "number" then
    return nil, "field"
  end
  local upstream = upstreams[tostring(value)]
  return upstream, if upstream then nil else "value"
end

return {
  config = {
    field = { type = "string", required = true },
    upstreams = { type = "table", items = { type = "string" }, required = true },
    default = { type = "string" },
    forward = { type = "boolean", default = true },
    code = { type = "integer", default = 1008 },
  },

  on_load = function(config)
    path = string.split(config.field, ".")
    if table.find(path, "") then
      error(`"{config.field}" is no path of a field: "type" and "payload.service" are, for example`, 0)
    end
    if next(config.upstreams) == nil then
      error("`upstreams` is empty: no message would choose one", 0)
    end
    -- A mistake is told when it is loaded.
    weir.close(config.code)
    upstreams, default, forward, code = config.upstreams, config.default, config.forward, config.code
  end,

  select_upstream = function(selection, req, ctx)
    if ctx.upstream then
      return weir.group(ctx.upstream)
    end
    if req.is_websocket and not ctx.open then
      error('the upstream is opened before there is a message: set `connect = "first-message"` in [routes.websocket]', 0)
    end
  end,

  on_websocket = function(ws, req, ctx)
    ctx.open = true
    return weir.watch("messages")
  end,

  on_message = function(message, ws, ctx)
    if message.direction ~= "to_upstream" then
      return
    end
    local upstream, wrong = asked(message)
    if not upstream and not default then
      weir.metrics.counter("refused", { why = wrong }):add()
      return weir.close(code, REASONS[wrong])
    end
    ctx.upstream = upstream or default
    weir.metrics.counter("routed", { upstream = ctx.upstream }):add()
    ws:watch("send")
    if not forward and upstream then
      return weir.drop()
    end
  end,

  on_migrate = function(old, ws, ctx)
    ctx.open, ctx.upstream = true, old.upstream
    return weir.watch(if ctx.upstream then "send" else "messages")
  end,
}
