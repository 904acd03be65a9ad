-- Changes fields of JSON bodies, and texts of others.
local request, response

local function steps(path)
  local parts = string.split(path, ".")
  for _, part in parts do
    if part == "" then
      error(`"{path}" is no path of a field: "user.name" is, for example`, 0)
    end
  end
  return parts
end

-- What the settings of one side come to, or nil where it is left alone.
local function compiled(side)
  if not side then
    return nil
  end
  local rules = { set = {}, remove = {}, replace = side.replace or {}, types = side.types or { "application/json" } }
  for path, value in side.set or {} do
    table.insert(rules.set, { path = steps(path), value = value })
  end
  for _, path in side.remove or {} do
    table.insert(rules.remove, steps(path))
  end
  for _, one in rules.replace do
    -- A mistake is told when it is loaded.
    weir.regex.is_match(one.pattern, "")
  end
  return rules
end

-- The table that holds the last step of a path; nil where there is none.
local function holder(value, path, make)
  for i = 1, #path - 1 do
    if type(value) ~= "table" then
      return nil
    end
    local key = tonumber(path[i]) or path[i]
    if value[key] == nil and make then
      value[key] = {}
    end
    value = value[key]
  end
  return if type(value) == "table" then value else nil
end

local function changed(rules, text)
  if #rules.set > 0 or #rules.remove > 0 then
    local ok, value = pcall(weir.json.decode, text)
    if not ok or type(value) ~= "table" then
      return nil
    end
    for _, path in rules.remove do
      local within = holder(value, path, false)
      if within then
        within[tonumber(path[#path]) or path[#path]] = nil
      end
    end
    for _, one in rules.set do
      local within = holder(value, one.path, true)
      if within then
        within[tonumber(one.path[#one.path]) or one.path[#one.path]] = one.value
      end
    end
    text = weir.json.encode(value)
  end
  for _, one in rules.replace do
    text = weir.regex.replace(one.pattern, text, one.with)
  end
  return text
end

local function is_listed(rules, headers)
  local kind = string.lower(string.match(headers:get("content-type") or "", "^[^;%s]*") or "")
  if table.find(rules.types, kind) then
    return true
  end
  return string.match(kind, "%+json$") ~= nil and table.find(rules.types, "application/json") ~= nil
end

local function rewrite(rules, message)
  if not rules or not is_listed(rules, message.headers) then
    return
  end
  local text = message.body:read()
  local new = text ~= "" and changed(rules, text)
  if new and new ~= text then
    message.body:replace(new)
  end
end

local side = {
  type = "table",
  fields = {
    set = { type = "table", items = "any" },
    remove = { type = "list", items = "string" },
    replace = { type = "list", items = { type = "table", fields = {
      pattern = { type = "string", required = true },
      with = { type = "string", default = "" },
    } } },
    types = { type = "list", items = "string" },
  },
}

return {
  config = { request = side, response = side },

  on_load = function(config)
    request, response = compiled(config.request), compiled(config.response)
    if not request and not response then
      error("neither `request` nor `response` is set: nothing would change", 0)
    end
  end,

  on_request = function(req)
    rewrite(request, req)
  end,

  on_response = function(res)
    rewrite(response, res)
  end,
}
