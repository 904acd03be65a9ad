-- Checks of JSON values, made of a schema: a part of JSON Schema 2020-12, which the README lists. What is not in it is
-- refused when the schema is read.
--
-- `compile(schema)` gives a function that takes a value as `weir.json.decode` makes it, and gives nothing where it is right,
-- else a text: where it is wrong (a JSON Pointer, RFC 6901) and how.

-- What a value is, by JSON's names.
local function kind(value)
  local luas = type(value)
  if luas == "table" then
    -- Arrays have a hidden metatable, objects none.
    return if getmetatable(value) == false then "array" else "object"
  elseif luas == "userdata" then
    return "null"
  end
  return luas
end

local function is(value, name)
  if name == "integer" then
    return type(value) == "number" and value % 1 == 0
  end
  return kind(value) == name
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a == b
  end
  if kind(a) ~= kind(b) then
    return false
  end
  for name, value in a do
    if not same(value, b[name]) then
      return false
    end
  end
  for name in b do
    if a[name] == nil then
      return false
    end
  end
  return true
end

local function size(object)
  local count = 0
  for _ in object do
    count += 1
  end
  return count
end

local function wrong(at, text)
  error(`{if at == "" then "the schema" else `the schema at {at}`}: {text}`, 0)
end

-- Keywords that say nothing of what is right.
local notes = {
  ["$schema"] = true, ["$id"] = true, ["$comment"] = true, title = true, description = true, default = true, examples = true,
  deprecated = true, readOnly = true, writeOnly = true,
}

local types = { "array", "boolean", "integer", "null", "number", "object", "string" }

-- A keyword that bounds a number which is made of values of one kind.
local function bound(wanted, of, fits, text)
  return function(limit, at)
    if type(limit) ~= "number" then
      wrong(at, "a number is wanted")
    end
    return function(value)
      return if kind(value) == wanted and not fits(of(value), limit) then `: {text} {limit}` else nil
    end
  end
end

local function itself(value)
  return value
end

local function at_least(n, limit)
  return n >= limit
end

local function at_most(n, limit)
  return n <= limit
end

local function length(text)
  return utf8.len(text) or #text
end

local function count(list)
  return #list
end

local compiled

-- Schemas of a list.
local function each(list, at)
  if kind(list) ~= "array" or #list == 0 then
    wrong(at, "a list of schemas is wanted")
  end
  local checks = {}
  for i, schema in list do
    checks[i] = compiled(schema, `{at}/{i - 1}`)
  end
  return checks
end

-- How many of several checks a value passes.
local function passes(checks, value)
  local passed = 0
  for _, check in checks do
    if not check(value) then
      passed += 1
    end
  end
  return passed
end

local keywords = {
  minimum = bound("number", itself, at_least, "is less than"),
  maximum = bound("number", itself, at_most, "is more than"),
  exclusiveMinimum = bound("number", itself, function(n, limit) return n > limit end, "is not more than"),
  exclusiveMaximum = bound("number", itself, function(n, limit) return n < limit end, "is not less than"),
  minLength = bound("string", length, at_least, "has fewer characters than"),
  maxLength = bound("string", length, at_most, "has more characters than"),
  minItems = bound("array", count, at_least, "has fewer items than"),
  maxItems = bound("array", count, at_most, "has more items than"),
  minProperties = bound("object", size, at_least, "has fewer properties than"),
  maxProperties = bound("object", size, at_most, "has more properties than"),
}

function keywords.type(given, at)
  local names = if kind(given) == "array" then given else { given }
  for _, name in names do
    if not table.find(types, name) then
      wrong(at, `there is no type {weir.json.encode(name)}: there are {table.concat(types, ", ")}`)
    end
  end
  local text = `: is no {table.concat(names, ", no ")}`
  return function(value)
    for _, name in names do
      if is(value, name) then
        return nil
      end
    end
    return text
  end
end

function keywords.const(given)
  return function(value)
    return if same(value, given) then nil else ": is not the one value that there is"
  end
end

function keywords.enum(given, at)
  if kind(given) ~= "array" then
    wrong(at, "a list of values is wanted")
  end
  return function(value)
    for _, one in given do
      if same(value, one) then
        return nil
      end
    end
    return ": is none of the values that there are"
  end
end

function keywords.required(given, at)
  if type(given) ~= "table" then
    wrong(at, "a list of names is wanted")
  end
  for _, name in given do
    if type(name) ~= "string" then
      wrong(at, "a list of names is wanted")
    end
  end
  return function(value)
    if kind(value) ~= "object" then
      return nil
    end
    for _, name in given do
      if value[name] == nil then
        return `: has no "{name}"`
      end
    end
    return nil
  end
end

-- A name as a step of a JSON Pointer.
local function step(name)
  return "/" .. string.gsub(string.gsub(name, "~", "~0"), "/", "~1")
end

function keywords.properties(given, at)
  if kind(given) ~= "object" then
    wrong(at, "schemas by name are wanted")
  end
  local checks = {}
  for name, schema in given do
    checks[name] = compiled(schema, at .. step(name))
  end
  return function(value)
    if kind(value) ~= "object" then
      return nil
    end
    for name, check in checks do
      local there = value[name]
      local problem = if there == nil then nil else check(there)
      if problem then
        return step(name) .. problem
      end
    end
    return nil
  end
end

function keywords.additionalProperties(given, at, schema)
  local check, known = compiled(given, at), if kind(schema.properties) == "object" then schema.properties else {}
  return function(value)
    if kind(value) ~= "object" then
      return nil
    end
    for name, other in value do
      local problem = if known[name] == nil then check(other) else nil
      if problem then
        return step(name) .. problem
      end
    end
    return nil
  end
end

function keywords.items(given, at)
  local check = compiled(given, at)
  return function(value)
    if kind(value) ~= "array" then
      return nil
    end
    for i, item in value do
      local problem = check(item)
      if problem then
        return `/{i - 1}{problem}`
      end
    end
    return nil
  end
end

function keywords.pattern(given, at)
  if type(given) ~= "string" then
    wrong(at, "a regular expression is wanted")
  end
  local ok, message = pcall(weir.regex.is_match, given, "")
  if not ok then
    wrong(at, tostring(message))
  end
  return function(value)
    return if type(value) == "string" and not weir.regex.is_match(given, value) then ": does not match" else nil
  end
end

-- A check that is all of these.
local function all(checks)
  return function(value)
    for _, check in checks do
      local problem = check(value)
      if problem then
        return problem
      end
    end
    return nil
  end
end

function keywords.allOf(given, at)
  return all(each(given, at))
end

function keywords.anyOf(given, at)
  local checks = each(given, at)
  return function(value)
    return if passes(checks, value) == 0 then ": is right by none of anyOf" else nil
  end
end

function keywords.oneOf(given, at)
  local checks = each(given, at)
  return function(value)
    local passed = passes(checks, value)
    return if passed ~= 1 then `: is right by {passed} of oneOf` else nil
  end
end

keywords["not"] = function(given, at)
  local check = compiled(given, at)
  return function(value)
    return if check(value) then nil else ": is what it must not be"
  end
end

function compiled(schema, at)
  if type(schema) == "boolean" then
    return function()
      return if schema then nil else ": may not be there"
    end
  elseif kind(schema) ~= "object" then
    wrong(at, "a schema is an object, true or false")
  end
  local checks, names = {}, {}
  for name in keywords do
    table.insert(names, name)
  end
  table.sort(names)
  for name in schema do
    if not keywords[name] and not notes[name] then
      wrong(at, `the keyword "{name}" is not known: there are {table.concat(names, ", ")}`)
    end
  end
  for _, name in names do
    local given = schema[name]
    if given ~= nil then
      table.insert(checks, keywords[name](given, at .. step(name), schema))
    end
  end
  return all(checks)
end

return {
  -- `schema` is a table of settings, or a text of JSON.
  compile = function(schema)
    local text = if type(schema) == "string" then schema else weir.json.encode(schema)
    local ok, read = pcall(weir.json.decode, text)
    if not ok then
      error(`the schema is no JSON: {read}`, 0)
    end
    return compiled(read, "")
  end,
}
