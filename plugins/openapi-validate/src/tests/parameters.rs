//! Where parameters are, how they are written, and what they are read as.

use super::*;

/// For `GET /x`, with these parameters.
fn with(parameters: Value) -> Guard {
    let paths = json!({ "/x": { "get": { "parameters": parameters, "responses": {} } } });
    load(&json!({ "document": document(paths), "base": "" }))
}

/// A parameter whose value must be this; it is required.
fn exactly(place: &str, schema: Value, value: Value, more: Value) -> Guard {
    let mut schema = schema;
    schema["enum"] = json!([value]);
    let mut parameter = json!({ "name": "p", "in": place, "required": true, "schema": schema });
    for (name, value) in more.as_object().expect("fields") {
        parameter[name] = value.clone();
    }
    with(json!([parameter]))
}

#[test]
fn styles_of_queries() {
    let (text, int) = (json!({ "type": "string" }), json!({ "type": "integer" }));
    let ints = json!({ "type": "array", "items": { "type": "integer" } });
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let point = json!({ "type": "object", "properties": { "x": int, "y": int } });
    let whole = json!({ "explode": false });
    for (schema, more, query, value) in [
        (&text, json!({}), "p=a+b%2C%C3%A9", json!("a b,é")),
        (&text, json!({}), "p=12", json!("12")),
        (&text, json!({}), "p", json!("")),
        (&text, json!({}), "%70=a&q=b", json!("a")),
        (&int, json!({}), "p=-12", json!(-12)),
        (&json!({ "type": "boolean" }), json!({}), "p=true", json!(true)),
        (&json!({ "type": "number" }), json!({}), "p=1.5e3", json!(1500.0)),
        (&json!({ "allOf": [int] }), json!({}), "p=1", json!(1)),
        (&ints, json!({}), "p=1&p=2", json!([1, 2])),
        (&ints, json!({}), "p=1", json!([1])),
        (&ints, whole.clone(), "p=1,2", json!([1, 2])),
        (&texts, whole.clone(), "p=a%2Cb,c", json!(["a,b", "c"])),
        (&point, json!({}), "x=1&z=3&y=2", json!({ "x": 1, "y": 2 })),
        (&point, whole, "p=x,1,y,2", json!({ "x": 1, "y": 2 })),
    ] {
        let guard = exactly("query", schema.clone(), value, more);
        assert_eq!(wrong(&guard, &get(&format!("/x?{query}"))), [""; 0], "{query}");
    }
}

#[test]
fn what_is_no_value_is_refused() {
    let int = || exactly("query", json!({ "type": "integer" }), json!(1), json!({}));
    for (query, expected) in [
        ("", "query p  required"),
        ("p=1&p=1", "query p  style"),
        ("p=01", "query p  enum"),
        ("p=+1", "query p  enum"),
        ("p=", "query p  enum"),
        ("p=%FF", "query p  style"),
    ] {
        let found = wrong(&int(), &get(&format!("/x?{query}")));
        assert!(
            found.iter().any(|found| found == expected || found == "query p  type"),
            "{query}: {found:?}"
        );
    }
    let empty = with(json!([{
        "name": "p", "in": "query", "allowEmptyValue": true, "schema": { "type": "integer" },
    }]));
    assert_eq!(wrong(&empty, &get("/x?p=")), [""; 0]);
}

#[test]
fn headers_cookies_and_json() {
    let ints = json!({ "type": "array", "items": { "type": "integer" } });
    let guard = exactly("header", ints, json!([1, 2, 3]), json!({}));
    assert_eq!(wrong(&guard, &get("/x").with_header("P", "1, 2").with_header("p", "3")), [""; 0]);
    assert_eq!(wrong(&guard, &get("/x").with_header("p", "1")), ["header p  enum"]);
    let guard = exactly("cookie", json!({ "type": "integer" }), json!(7), json!({}));
    assert_eq!(wrong(&guard, &get("/x").with_header("cookie", "q=1; p=7")), [""; 0]);
    assert_eq!(wrong(&guard, &get("/x").with_header("cookie", "P=7")), ["cookie p  required"]);
    let guard = with(json!([{
        "name": "p", "in": "query", "content": { "application/json": { "schema": { "required": ["a"] } } },
    }]));
    assert_eq!(wrong(&guard, &get("/x?p={%22a%22:1}")), [""; 0]);
    assert_eq!(wrong(&guard, &get("/x?p={}")), ["query p  required"]);
    assert_eq!(wrong(&guard, &get("/x?p={")), ["query p  style"]);
    // Other parts of the document describe it: it is no parameter.
    let guard = with(json!([{ "name": "Accept", "in": "header", "required": true, "schema": {} }]));
    assert_eq!(wrong(&guard, &get("/x")), [""; 0]);
}

#[test]
fn paths_are_matched_by_what_is_most_concrete() {
    let number =
        |name: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "integer" } });
    let operation = |name: &str, parameters: &[&str]| {
        let parameters: Vec<Value> = parameters.iter().map(|name| number(name)).collect();
        json!({ "get": { "operationId": name, "parameters": parameters, "responses": {} } })
    };
    let paths = json!({
        "/{a}/{b}": operation("both", &["a", "b"]),
        "/{a}/x": operation("second", &["a"]),
        "/1/{b}": operation("first", &["b"]),
        "/1/{b}.json": operation("file", &["b"]),
        "/1/{b}-{c}.json": operation("range", &["b", "c"]),
        "/a b/é": operation("encoded", &[]),
    });
    let guard = load(&json!({ "document": document(paths), "base": "" }));
    for (target, expected) in [
        ("/2/3", "both"),
        ("/2/x", "second"),
        ("/1/3", "first"),
        ("/1/3.json", "file"),
        ("/1/3-4.json", "range"),
        ("/a%20b/%C3%A9", "encoded"),
    ] {
        assert_eq!(status(&guard, &get(target)), 200, "{target}");
        let series = format!("requests{{operation=\"{expected}\",outcome=\"valid\"}}");
        assert_eq!(testing::metrics().get(&series), Some(&1.0), "{target}: {:?}", testing::metrics());
    }
    assert_eq!(status(&guard, &get("/1/x")), 400);
}
