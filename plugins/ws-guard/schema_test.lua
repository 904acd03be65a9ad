local schema = require "schema"

-- A schema as JSON; values that are right; values that are not, and what is said of each.
local cases = {
  { "true", { "1", "null" }, {} },
  { "false", {}, { ["1"] = ": may not be there" } },
  { '{"type":"integer","title":"a","$schema":"b"}', { "1", "-5", "1.0", "1e3" }, { ["1.5"] = ": is no integer", ['"1"'] = ": is no integer" } },
  { '{"type":["null","array"]}', { "null", "[]", "[1]" }, { ["{}"] = ": is no null, no array", ["false"] = ": is no null, no array" } },
  { '{"type":"object"}', { "{}" }, { ["[]"] = ": is no object" } },
  { '{"type":"boolean"}', { "true" }, { ["0"] = ": is no boolean" } },
  { '{"const":{"a":[1,{}]}}', { '{"a":[1,{}]}' }, { ['{"a":[1,[]]}'] = ": is not the one value that there is", ['{"a":[1,{}],"b":2}'] = ": is not the one value that there is", ["{}"] = ": is not the one value that there is" } },
  { '{"enum":[null,"a",1]}', { "null", '"a"', "1.0" }, { ['"1"'] = ": is none of the values that there are" } },
  { '{"minimum":1,"maximum":2}', { "1", "2", '"9"' }, { ["0.9"] = ": is less than 1", ["3"] = ": is more than 2" } },
  { '{"exclusiveMinimum":1,"exclusiveMaximum":2}', { "1.5" }, { ["1"] = ": is not more than 1", ["2"] = ": is not less than 2" } },
  { '{"minLength":1,"maxLength":2}', { '"é"', '"éé"', "5" }, { ['""'] = ": has fewer characters than 1", ['"abc"'] = ": has more characters than 2" } },
  { '{"pattern":"^[a-z]+$"}', { '"abc"', "5" }, { ['"aB"'] = ": does not match" } },
  { '{"items":{"type":"string"},"minItems":1,"maxItems":2}', { '["a"]', "{}" }, { ["[]"] = ": has fewer items than 1", ['["a","b","c"]'] = ": has more items than 2", ['["a",1]'] = "/1: is no string" } },
  { '{"minProperties":1,"maxProperties":1}', { '{"a":1}', "[]" }, { ["{}"] = ": has fewer properties than 1", ['{"a":1,"b":2}'] = ": has more properties than 1" } },
  { '{"required":["a"]}', { '{"a":null}', "[]", "5" }, { ["{}"] = ': has no "a"' } },
  { '{"properties":{"a/b~":{"properties":{"c":{"type":"null"}}}}}', { "{}", '{"a/b~":{"c":null}}' }, { ['{"a/b~":{"c":1}}'] = "/a~1b~0/c: is no null" } },
  { '{"properties":{"a":true},"additionalProperties":false}', { '{"a":1}' }, { ['{"b":1}'] = "/b: may not be there" } },
  { '{"additionalProperties":{"type":"number"}}', { '{"a":1}' }, { ['{"a":"1"}'] = "/a: is no number" } },
  { '{"allOf":[{"minimum":1},{"maximum":2}]}', { "1" }, { ["3"] = ": is more than 2" } },
  { '{"anyOf":[{"const":1},{"const":2}]}', { "1", "2" }, { ["3"] = ": is right by none of anyOf" } },
  { '{"oneOf":[{"minimum":1},{"minimum":2}]}', { "1" }, { ["3"] = ": is right by 2 of oneOf", ["0"] = ": is right by 0 of oneOf" } },
  { '{"not":{"type":"null"}}', { "1" }, { ["null"] = ": is what it must not be" } },
}

return {
  ["each keyword says what is right"] = function(t)
    for _, case in cases do
      local text, right, wrong = table.unpack(case)
      local check = schema.compile(text)
      for _, value in right do
        t:equal({ text, value, check(weir.json.decode(value)) }, { text, value })
      end
      for value, problem in wrong do
        t:equal({ text, value, check(weir.json.decode(value)) }, { text, value, problem })
      end
    end
  end,

  ["a schema of settings is one, too"] = function(t)
    local check = schema.compile { type = "array", items = { enum = { "a", "b" } }, maxItems = 2 }
    t:equal(check(weir.json.decode('["a","b"]')), nil)
    t:equal(check(weir.json.decode('["c"]')), "/0: is none of the values that there are")
    t:equal(schema.compile({})(5), nil)
  end,

  ["what is not known or wrong is refused"] = function(t)
    for text, wanted in {
      ["5"] = "the schema: a schema is an object, true or false",
      ['{"$ref":"#"}'] = 'the schema: the keyword "$ref" is not known: there are additionalProperties, allOf',
      ['{"items":[{}]}'] = "the schema at /items: a schema is an object, true or false",
      ['{"properties":{"a":{"type":"text"}}}'] = 'the schema at /properties/a/type: there is no type "text"',
      ['{"type":null}'] = "the schema at /type: there is no type null",
      ['{"minimum":"1"}'] = "the schema at /minimum: a number is wanted",
      ['{"required":"a"}'] = "the schema at /required: a list of names is wanted",
      ['{"required":[1]}'] = "the schema at /required: a list of names is wanted",
      ['{"enum":"a"}'] = "the schema at /enum: a list of values is wanted",
      ['{"properties":[]}'] = "the schema at /properties: schemas by name are wanted",
      ['{"pattern":"("}'] = "the schema at /pattern: ",
      ['{"pattern":1}'] = "the schema at /pattern: a regular expression is wanted",
      ['{"anyOf":[]}'] = "the schema at /anyOf: a list of schemas is wanted",
      ['{"anyOf":[1]}'] = "the schema at /anyOf/0: a schema is an object",
    } do
      t:error(function()
        schema.compile(text)
      end, wanted)
    end
  end,
}
