use serde_json::json;

use super::*;

fn compile(draft: Draft, schema: Value) -> Result<(Schemas, Schema), String> {
    let mut builder = Builder::new(draft, true);
    builder.add("it", schema)?;
    let schema = builder.schema("it", "")?;
    Ok((builder.finish(), schema))
}

/// Pointer and keyword of what is wrong.
fn wrong(schema: Value, value: Value) -> Vec<(String, &'static str)> {
    let (schemas, schema) = compile(Draft::V2020, schema).expect("a schema");
    schemas.check(schema, &value).into_iter().map(|finding| (finding.pointer, finding.keyword)).collect()
}

#[test]
fn what_is_wrong_is_told_with_pointer_and_keyword() {
    let schema = json!({
        "properties": {
            "a": { "items": { "maxLength": 2 } },
            "b/c": { "$ref": "#/$defs/number" },
            "d": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
        },
        "required": ["a"],
        "additionalProperties": false,
        "$defs": { "number": { "type": "number", "minimum": 3 } },
    });
    let one = |pointer: &str, keyword| vec![(pointer.to_owned(), keyword)];
    assert_eq!(wrong(schema.clone(), json!({ "a": ["xy"], "b/c": 3, "d": null })), []);
    assert_eq!(wrong(schema.clone(), json!({ "a": ["xy", "xyz"] })), one("/a/1", "maxLength"));
    assert_eq!(wrong(schema.clone(), json!({ "a": [], "b/c": 2 })), one("/b~1c", "minimum"));
    assert_eq!(wrong(schema.clone(), json!({ "a": [], "d": 2 })), one("/d", "anyOf"));
    assert_eq!(wrong(schema.clone(), json!({})), one("", "required"));
    assert_eq!(wrong(schema, json!({ "a": [], "e": 1 })), one("", "additionalProperties"));
}

#[test]
fn findings_are_bounded_and_have_no_control_characters() {
    let items: Vec<u32> = (0..100).collect();
    assert_eq!(wrong(json!({ "items": { "type": "string" } }), json!(items)).len(), Finding::MOST);
    let name = format!("\n\u{7}{}", "é".repeat(400));
    let mut object = serde_json::Map::new();
    object.insert(name, json!(1));
    let found = wrong(json!({ "additionalProperties": { "type": "string" } }), object.into());
    let (pointer, _) = found.first().expect("a finding");
    assert!(pointer.starts_with("/\u{fffd}\u{fffd}é") && pointer.len() < 300, "{pointer}");
}

#[test]
fn drafts_differ() {
    let tuple = json!({ "items": [{ "type": "string" }] });
    let (schemas, schema) = compile(Draft::V7, tuple.clone()).expect("of draft 7");
    assert_eq!(schemas.check(schema, &json!([1])).len(), 1);
    compile(Draft::V2020, tuple.clone()).err().expect("not of 2020-12");
    let mut says = tuple;
    says["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    assert!(compile(Draft::V2020, says).is_ok());
    let (schemas, schema) =
        compile(Draft::V4, json!({ "minimum": 3, "exclusiveMinimum": true })).expect("of draft 4");
    assert_eq!(schemas.check(schema, &json!(3)).len(), 1);
}

#[test]
fn what_is_no_schema_is_told_with_its_place() {
    for (schema, expected) in [
        (
            json!({ "properties": { "a": { "type": "strin" } } }),
            "#/properties/a/type: must match one of `anyOf`",
        ),
        (
            json!({ "$ref": "https://example.com/other.json" }),
            "`$ref` to `https://example.com/other.json`: only references",
        ),
        (json!({ "$ref": "other.json#/a" }), "`$ref` to `other.json`: only references"),
        (json!({ "$ref": "#/$defs/a" }), "#/$defs/a: there is nothing"),
        (json!({ "pattern": "a(?=b)" }), "#/pattern: no regular expression that can be used"),
    ] {
        let error = compile(Draft::V2020, schema).err().expect("no schema");
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn formats_of_openapi_are_known() {
    assert_eq!(wrong(json!({ "format": "int32" }), json!(1)), []);
    assert_eq!(wrong(json!({ "format": "int32" }), json!(1u64 << 31)).len(), 1);
    assert_eq!(wrong(json!({ "format": "int64" }), json!(1e19)).len(), 1);
    assert_eq!(wrong(json!({ "format": "date" }), json!("2026-02-30")).len(), 1);
}

#[test]
fn json_is_read_strictly() {
    let text = r#"{"a": [1, -2, 1.5, "x\n", true, null], "b": {}}"#;
    assert_eq!(read(text.as_bytes()).expect("JSON"), serde_json::from_str::<Value>(text).expect("JSON"));
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    read(nested(MAX_DEPTH).as_bytes()).expect("deep, and not too deep");
    for (text, expected) in [
        (nested(MAX_DEPTH + 1).as_str(), "more than 64"),
        (nested(100_000).as_str(), "more than 64"),
        (r#"{"a": 1, "a": 2}"#, "an object has a name twice"),
        (r#"{"a": {"b": 1, "\u0062": 2}}"#, "an object has a name twice"),
        ("1 2", "trailing characters"),
        ("\"\u{1}\"", "control character"),
        ("1e999", "out of range"),
        ("", "EOF"),
    ] {
        let error = read(text.as_bytes()).expect_err(text);
        assert!(error.contains(expected), "{error}");
    }
}
