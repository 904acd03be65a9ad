-- Publishes over HTTP to WebSockets: a POST sends its body to all that are in a group, a GET counts them.
local settings, secret
-- Pieces of the name of a group: texts, and what stands for a part of the request.
local template

-- The longest name of a group, in bytes.
local LONGEST = 128

local PLACEHOLDERS = {
  capture = function(req, name) return req:capture(name) end,
  query = function(req, name) return req.query:get(name) end,
  header = function(req, name) return req.headers:get(name) end,
}

local function parsed(text)
  local pieces, from = {}, 1
  while true do
    local first, last, inside = string.find(text, "{([^{}]*)}", from)
    local plain = string.sub(text, from, first and first - 1)
    if string.find(plain, "[{}]") then
      error(`\`group\` has a brace that belongs to no placeholder: "{text}"`, 0)
    elseif plain ~= "" then
      table.insert(pieces, plain)
    end
    if not first then
      return pieces
    end
    local kind, name = string.match(inside, "^(%l+):(.+)$")
    if not PLACEHOLDERS[kind or ""] then
      error(`"\{{inside}}" is not known in \`group\`: there are \{capture:NAME}, \{query:NAME}, \{header:NAME}`, 0)
    end
    if type(pieces[#pieces]) == "table" then
      error(`\`group\` has two placeholders with no text between them: different values would name one group: "{text}"`, 0)
    end
    table.insert(pieces, { value = PLACEHOLDERS[kind], name = name })
    from = last + 1
  end
end

-- Whether it can be seen in a name where a value ends: the text that stands between it and the next one begins nowhere before.
local function ends_clearly(value, i)
  local between = template[i + 1]
  return template[i + 2] == nil or string.find(value .. between, between, 1, true) == #value + 1
end

-- The group of a request; nil where a part of its name is not there, could be taken for more than one, or it is too long.
local function group_of(req)
  local name = ""
  for i, piece in template do
    local part = piece
    if type(piece) == "table" then
      part = piece.value(req, piece.name)
      if not part or part == "" or not ends_clearly(part, i) then
        return nil
      end
    end
    name ..= part
  end
  return if #name <= LONGEST then name else nil
end

local function answer(status, what, more)
  local headers = { ["content-type"] = "application/json", ["cache-control"] = "no-store" }
  for name, value in more or {} do
    headers[name] = value
  end
  return weir.respond{ status = status, headers = headers, body = weir.json.encode(what) .. "\n" }
end

local function may(req)
  if not secret then
    return true
  end
  local fields = req.headers:get_all("authorization")
  local token = #fields == 1 and string.match(fields[1], "^[Bb][Ee][Aa][Rr][Ee][Rr] +(.-) *$")
  return token and weir.crypto.equal(token, secret)
end

local function publish(req, group)
  local ok, body = pcall(function()
    return req.body:read(settings.max_message)
  end)
  if not ok then
    if string.find(tostring(body), "too large", 1, true) then
      return answer(413, { error = `a message has at most {settings.max_message} bytes` })
    end
    error(body, 0)
  end
  local kind = string.lower(string.match(req.headers:get("content-type") or "", "^[^;%s]*") or "")
  local is_binary = kind == "application/octet-stream"
  if not is_binary and not utf8.len(body) then
    return answer(400, { error = "a text is UTF-8: content-type application/octet-stream is for bytes" })
  end
  local sent = weir.websocket.group(group):send("to_client", body, if is_binary then "binary" else "text")
  weir.metrics.counter("published"):add()
  return answer(200, { group = group, sent = sent })
end

return {
  config = {
    group = { type = "string", required = true, min = 1 },
    secret = { type = "string" },
    open = { type = "boolean", default = false },
    counts = { type = "boolean", default = true },
    max_message = { type = "integer", min = 1, max = 1048576, default = 65536 },
  },

  on_load = function(config)
    settings, template = config, parsed(config.group)
    if not config.secret and not config.open then
      error("`secret` names the secret that who publishes knows; `open = true` lets everyone publish", 0)
    elseif config.secret and config.open then
      error("of `secret` and `open` there is one", 0)
    end
    secret = if config.secret then weir.secrets.get(config.secret) else nil
    if secret == "" then
      error("the secret is empty: everyone would know it", 0)
    end
  end,

  on_request = function(req)
    local is_post = req.method == "POST"
    if not is_post then
      local is_handshake = req.headers:get("sec-websocket-key") ~= nil
      if is_handshake or not settings.counts or req.method ~= "GET" then
        return nil
      end
    end
    if not may(req) then
      return answer(401, { error = "Unauthorized" }, { ["www-authenticate"] = 'Bearer realm="publish"' })
    end
    local group = group_of(req)
    if not group then
      return answer(400, { error = "the request names no group" })
    elseif is_post then
      return publish(req, group)
    end
    return answer(200, { group = group, members = weir.websocket.group(group):count() })
  end,

  on_websocket = function(ws, req, ctx)
    local group = group_of(req)
    if not group then
      return weir.watch()
    end
    ws:join(group)
    ctx.joined = true
    return weir.watch("send")
  end,

  -- It stays in its group.
  on_migrate = function(old, ws, ctx)
    ctx.joined = old.joined
    return if ctx.joined then weir.watch("send") else weir.watch()
  end,
}
