//! Makes of the schemas of a document what JSON Schema understands. What lies where does not change, so that references and
//! pointers stay right.

use serde_json::{Map, Value, json};

/// Who sends what the schemas are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Request,
    Response,
}

/// Of a document, with schemas for one side: `nullable` (OpenAPI 3.0) becomes JSON Schema, and a property that this side does
/// not send (`readOnly` in requests, `writeOnly` in responses) is not required.
pub fn translate(document: &Value, side: Side, is_3_0: bool) -> Value {
    let mut out = document.clone();
    let translator = Translator { document, side, is_3_0 };
    translator.walk(&mut out);
    if let Some(Value::Object(schemas)) = out.pointer_mut("/components/schemas") {
        schemas.values_mut().for_each(|schema| translator.schema(schema));
    }
    out
}

struct Translator<'d> {
    document: &'d Value,
    side: Side,
    is_3_0: bool,
}

/// What has no schemas in it, or those of `components`, which are translated by themselves.
const OPAQUE: [&str; 3] = ["example", "examples", "schemas"];

impl Translator<'_> {
    /// Finds the schemas of parameters, headers and media types.
    fn walk(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if name == "schema" {
                        self.schema(value);
                    } else if !OPAQUE.contains(&name.as_str()) {
                        self.walk(value);
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.walk(item)),
            _ => {}
        }
    }

    fn schema(&self, schema: &mut Value) {
        let Value::Object(fields) = schema else { return };
        for (name, value) in fields.iter_mut() {
            match (name.as_str(), value) {
                (
                    "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions",
                    Value::Object(below),
                ) => below.values_mut().for_each(|schema| self.schema(schema)),
                ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(below)) => {
                    below.iter_mut().for_each(|schema| self.schema(schema));
                }
                (
                    "items"
                    | "additionalProperties"
                    | "not"
                    | "if"
                    | "then"
                    | "else"
                    | "contains"
                    | "propertyNames"
                    | "unevaluatedItems"
                    | "unevaluatedProperties"
                    | "contentSchema",
                    below,
                ) => self.schema(below),
                _ => {}
            }
        }
        self.relax(fields);
        if self.is_3_0 && fields.get("nullable") == Some(&Value::Bool(true)) {
            nullable(fields);
        }
    }

    /// Takes what this side does not send out of `required`.
    fn relax(&self, fields: &mut Map<String, Value>) {
        let flag = if self.side == Side::Request { "readOnly" } else { "writeOnly" };
        let Some(Value::Array(mut required)) = fields.get("required").cloned() else { return };
        let is_sent = |name: &Value| {
            let property = name.as_str().and_then(|name| fields.get("properties")?.get(name));
            !property.is_some_and(|property| self.is(property, flag))
        };
        required.retain(is_sent);
        if required.is_empty() {
            fields.remove("required");
        } else {
            fields.insert("required".to_owned(), required.into());
        }
    }

    /// Whether a property, or the schema that it refers to, has a flag.
    fn is(&self, property: &Value, flag: &str) -> bool {
        let target = || self.document.pointer(property.get("$ref")?.as_str()?.strip_prefix('#')?)?.get(flag);
        property.get(flag).or_else(target) == Some(&Value::Bool(true))
    }
}

/// Lets a schema also match null.
fn nullable(fields: &mut Map<String, Value>) {
    let has_type = match fields.get_mut("type") {
        Some(kind @ Value::String(_)) => {
            *kind = json!([kind, "null"]);
            true
        }
        _ => false,
    };
    if let Some(Value::Array(values)) = fields.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
    // Strictly it means nothing where there is no type, but this is how generators write that a reference may be null.
    if !has_type {
        let nothing = json!({ "enum": [null] });
        if let Some(Value::Array(schemas)) = fields.get_mut("anyOf") {
            schemas.push(nothing);
        } else if let Some(Value::Array(schemas)) = fields.get_mut("oneOf") {
            schemas.push(nothing);
        } else if let Some(all) = fields.remove("allOf") {
            fields.insert("anyOf".to_owned(), json!([{ "allOf": all }, nothing]));
        }
    }
}
