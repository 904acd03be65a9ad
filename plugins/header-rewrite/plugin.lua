-- Sets and removes headers by templates: {name} is a value of the request.
local request, response

-- What templates may name.
local values = {
  method = function(req) return req.method end,
  scheme = function(req) return req.scheme end,
  host = function(req) return req.host end,
  path = function(req) return req.path end,
  query = function(req) return req.query_string end,
  client_ip = function(req) return req.client_ip end,
  request_id = function(req) return req.request_id end,
  route = function(req) return req.route end,
  upstream = function(req) return req.upstream end,
  sni = function(req) return req.connection.sni end,
  client_subject = function(req) return req.connection.client_subject end,
}

-- A template as a list of texts and functions.
local function compile(template)
  local parts: { any }, from = {}, 1
  while true do
    local open, close, kind, name = string.find(template, "{([%a_]*)[:]?([^{}]*)}", from)
    if not open then
      table.insert(parts, string.sub(template, from))
      return parts
    end
    table.insert(parts, string.sub(template, from, open - 1))
    if name ~= "" and kind == "header" then
      table.insert(parts, function(req) return req.headers:get(name) end)
    elseif name ~= "" and kind == "cookie" then
      table.insert(parts, function(req) return req.cookies:get(name) end)
    elseif name ~= "" and kind == "query" then
      table.insert(parts, function(req) return req.query:get(name) end)
    elseif name == "" and values[kind] then
      table.insert(parts, values[kind])
    else
      local known = {}
      for known_name in values do
        table.insert(known, "{" .. known_name .. "}")
      end
      table.sort(known)
      local all = table.concat(known, ", ")
      error(`"{string.sub(template, open, close)}" is not known: there are {all}, \{header:NAME}, \{cookie:NAME} and \{query:NAME}`, 0)
    end
    from = close + 1
  end
end

local function rules(side)
  local compiled = { set = {}, add = {}, remove = side.remove or {} }
  for _, kind in { "set", "add" } do
    for name, template in side[kind] or {} do
      compiled[kind][name] = compile(template)
    end
  end
  return compiled
end

local function fill(parts, req)
  local text = {}
  for i, part in parts do
    text[i] = if type(part) == "string" then part else part(req) or ""
  end
  return table.concat(text)
end

local function apply(side, headers, req)
  -- Values first: a rule sees the request as it came.
  local set, add = {}, {}
  for name, parts in side.set do
    set[name] = fill(parts, req)
  end
  for name, parts in side.add do
    add[name] = fill(parts, req)
  end
  for _, name in side.remove do
    headers:remove(name)
  end
  for name, value in set do
    headers:set(name, value)
  end
  for name, value in add do
    headers:add(name, value)
  end
end

local side = {
  type = "table",
  default = {},
  fields = {
    set = { type = "table", items = "string" },
    add = { type = "table", items = "string" },
    remove = { type = "list", items = "string" },
  },
}

return {
  config = { request = side, response = side },

  on_load = function(config)
    request, response = rules(config.request), rules(config.response)
  end,

  on_request = function(req)
    apply(request, req.headers, req)
  end,

  on_response = function(res, req)
    apply(response, res.headers, req)
  end,
}
