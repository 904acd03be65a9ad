-- Masks what WebSocket messages say: fields of JSON by their paths, and what regular expressions find.
local rules

-- What begins as JSON does, maybe with the mark of a byte order.
local BEGIN = "^[%s\239\187\191]*([{%[\"])"
-- What stands in the place of a field.
local MASK = "***"

local function steps(path)
  local parts = string.split(path, ".")
  for _, part in parts do
    if part == "" then
      error(`"{path}" is no path of a field: "user.email" and "items.*.card" are, for example`, 0)
    end
  end
  return parts
end

-- What the settings of one direction come to, or nil where it is left alone.
local function compiled(side, direction)
  if #side.fields == 0 and #side.patterns == 0 then
    return nil
  end
  local rule = {
    paths = {},
    patterns = side.patterns,
    mask = if side.mask == nil then MASK else side.mask,
    invalid = side.invalid,
    direction = direction,
  }
  for _, path in side.fields do
    table.insert(rule.paths, steps(path))
  end
  for _, one in rule.patterns do
    -- A mistake is told when it is loaded.
    weir.regex.is_match(one.pattern, "")
  end
  return rule
end

local mask_at

-- Masks what is at a key, or further on a path. Whether there was something.
local function mask_key(value, key, path, at, mask)
  local inner = value[key]
  if inner == nil or inner == weir.json.null then
    return false
  elseif at < #path then
    return mask_at(inner, path, at + 1, mask)
  end
  value[key] = mask
  return true
end

function mask_at(value, path, at, mask)
  if type(value) ~= "table" then
    return false
  end
  local step = path[at]
  if step == "*" then
    local found = false
    for key in value do
      found = mask_key(value, key, path, at, mask) or found
    end
    return found
  end
  -- Arrays have a hidden metatable, objects none.
  local key = if getmetatable(value) == false then tonumber(step) else step
  return key ~= nil and mask_key(value, key, path, at, mask)
end

local function replaced(patterns, text)
  for _, one in patterns do
    text = weir.regex.replace(one.pattern, text, one.with)
  end
  return text
end

-- Applies patterns to all texts in a value. Whether they have changed any.
local function replace_in(patterns, value)
  local found = false
  for key, inner in value do
    if type(inner) == "string" then
      local new = replaced(patterns, inner)
      if new ~= inner then
        value[key] = new
        found = true
      end
    elseif type(inner) == "table" then
      found = replace_in(patterns, inner) or found
    end
  end
  return found
end

-- Whether there may be something to mask in a message that cannot be decoded, but that others might read: numbers that are too
-- large, halves of surrogate pairs, more than 128 levels.
local function may_hide(rule, data, is_text)
  local begin = string.match(data, BEGIN)
  if not begin then
    return false
  elseif #rule.paths > 0 and begin ~= '"' then
    return true
  end
  -- In a text as it is written patterns find all that is not escaped.
  return #rule.patterns > 0 and (not is_text or string.find(data, "\\", 1, true) ~= nil)
end

-- What becomes of a message that is no JSON; nothing where it goes on.
local function refused(rule, data, is_text)
  if rule.invalid == "drop" then
    return weir.drop()
  elseif rule.invalid == "close" or rule.invalid == nil and may_hide(rule, data, is_text) then
    return weir.close(1007, "no JSON")
  end
  return nil
end

-- A text of JSON without what is to be masked, or the same one.
local function redacted(rule, text, value)
  local found = false
  if type(value) == "table" then
    for _, path in rule.paths do
      found = mask_at(value, path, 1, rule.mask) or found
    end
    if #rule.patterns > 0 then
      -- In texts as what they mean, so that an escape hides nothing.
      found = replace_in(rule.patterns, value) or found
    end
  elseif type(value) == "string" and #rule.patterns > 0 then
    local new = replaced(rule.patterns, value)
    found, value = new ~= value, new
  end
  return if found then weir.json.encode(value) else text
end

local side = {
  type = "table",
  default = { fields = {}, patterns = {} },
  fields = {
    fields = { type = "list", items = "string", default = {} },
    mask = "any",
    patterns = {
      type = "list",
      default = {},
      items = {
        type = "table",
        fields = {
          pattern = { type = "string", required = true },
          with = { type = "string", default = MASK },
        },
      },
    },
    invalid = { type = "string", one_of = { "forward", "drop", "close" } },
  },
}

return {
  config = { to_upstream = side, to_client = side },

  on_load = function(config)
    rules = {
      to_upstream = compiled(config.to_upstream, "to_upstream"),
      to_client = compiled(config.to_client, "to_client"),
    }
    if not rules.to_upstream and not rules.to_client then
      error("neither `to_upstream` nor `to_client` has `fields` or `patterns`: nothing would be masked", 0)
    end
  end,

  on_message = function(message)
    local rule = rules[message.direction]
    if not rule then
      return nil
    end
    local data, is_text = message.data, message.opcode == "text"
    local text = data
    if #data > 1048576 then
      -- Nothing that cannot be looked at goes on.
      error("a message of more than 1 MiB cannot be looked at", 0)
    end
    local ok, value = pcall(weir.json.decode, data)
    if ok then
      text = redacted(rule, data, value)
    else
      local verdict = refused(rule, data, is_text)
      if verdict then
        return verdict
      end
    end
    if is_text then
      text = replaced(rule.patterns, text)
    end
    if text == data then
      return nil
    end
    weir.metrics.counter("redacted", { direction = rule.direction }):add()
    return text
  end,

  on_migrate = function() end,
}
