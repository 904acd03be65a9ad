//! Documents that cannot be, and what versions differ in.

use super::*;

/// Why settings are refused.
fn refused(settings: &Value) -> String {
    testing::load::<Guard>(&settings.to_string()).err().unwrap_or_else(|| panic!("accepted: {settings}"))
}

/// Why a document with this operation at `GET /x/{id}` is refused.
fn operation(more: Value) -> String {
    let id = json!([{ "name": "id", "in": "path", "required": true, "schema": {} }]);
    let mut get = json!({ "parameters": id, "responses": {} });
    for (name, value) in more.as_object().expect("fields") {
        get[name] = value.clone();
    }
    refused(&json!({ "document": document(json!({ "/x/{id}": { "get": get } })) }))
}

#[test]
fn what_is_wrong_with_a_document_is_told_with_its_place() {
    let parameter = |more: Value| {
        let mut parameter = json!({ "name": "p", "in": "query", "schema": {} });
        for (name, value) in more.as_object().expect("fields") {
            parameter[name] = value.clone();
        }
        json!({ "parameters": [parameter, { "$ref": "#/components/id" }] })
    };
    let at = "document#/paths/~1x~1{id}/get";
    for (error, expected) in [
        (operation(json!({ "parameters": [] })), format!("{at}: `{{id}}` of the path has no parameter")),
        (operation(json!({ "servers": [] })), format!("{at}/servers: only the document's own")),
        (operation(json!({ "responses": { "20": {} } })), format!("{at}/responses/20: `20` is no status")),
        (operation(json!({ "parameters": {} })), format!("{at}/parameters: must be a list")),
        (operation(parameter(json!({ "in": "body" }))), format!("{at}/parameters/0: in: `body`;")),
        (
            operation(parameter(json!({ "style": "deepObject" }))),
            format!("{at}/parameters/0: style: `deepObject`"),
        ),
        (
            operation(parameter(json!({ "required": 1 }))),
            format!("{at}/parameters/0/required: must be true or"),
        ),
        (
            operation(parameter(json!({}))),
            format!("{at}/parameters/1: `$ref` to `#/components/id`: nothing is"),
        ),
        (
            operation(parameter(json!({ "schema": { "type": "int" } }))),
            format!("{at}/parameters/0/schema/type: must match"),
        ),
        (
            operation(parameter(json!({ "schema": { "$ref": "other.json" } }))),
            format!("{at}/parameters/0/schema: `$ref` to `other.json`: only references within"),
        ),
        (
            operation(json!({ "requestBody": { "$ref": "other.json#/a" } })),
            format!("{at}/requestBody: `$ref` to `other.json#/a`: only references within the document"),
        ),
    ] {
        assert!(error.starts_with(&expected), "{error}\n{expected}");
    }
}

#[test]
fn wrong_settings_are_told() {
    let with = |name: &str, value: Value| {
        let mut document = pets();
        document[name] = value;
        json!({ "document": document })
    };
    let paths = |paths: Value| json!({ "document": document(paths) });
    for (settings, expected) in [
        (json!({}), "missing field `document`"),
        (json!({ "document": "{" }), "document: no JSON: EOF"),
        (json!({ "document": { "swagger": "2.0" } }), "document#: `openapi` is not there"),
        (with("openapi", json!("3.2.0")), "document#/openapi: `3.2.0` cannot be read"),
        (with("servers", json!([{ "url": "/{v}" }])), "document#/servers/0: the path of `/{v}` is not known"),
        (paths(json!({})), "document#/paths: there must be at least one"),
        (paths(json!({ "x": {} })), "document#/paths/x: a path begins with `/`"),
        (paths(json!({ "/{a": {} })), "document#/paths/~1{a: `{a`: a `{` without a `}`"),
        (paths(json!({ "/{a}": {}, "/{b}": {} })), "document#/paths/~1{b}: the same paths match `/{a}`"),
        (json!({ "document": pets(), "base": "v1" }), "base: `v1` is no path"),
        (json!({ "document": pets(), "max_body": 0 }), "max_body: 0 bytes"),
        (json!({ "document": pets(), "request": "off" }), "nothing to check"),
    ] {
        let error = refused(&settings);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn documents_of_3_1() {
    let schema =
        json!({ "type": ["integer", "null"], "exclusiveMinimum": 3, "$ref": "#/components/schemas/Any" });
    let document = json!({
        "openapi": "3.1.0",
        "servers": [{ "url": "/{v}", "variables": { "v": { "default": "v1", "enum": ["v1", "v2"] } } }],
        "paths": { "/x": { "$ref": "#/components/pathItems/x" } },
        "components": {
            "pathItems": { "x": { "get": { "parameters": [
                { "name": "p", "in": "query", "required": true, "schema": schema },
            ] } } },
            "schemas": { "Any": { "maximum": 9 } },
        },
    });
    // As a text, too.
    let guard = load(&json!({ "document": document.to_string(), "response": "enforce" }));
    for (target, expected) in
        [("/v1/x?p=4", 200), ("/v2/x?p=", 200), ("/v2/x?p=3", 400), ("/v2/x?p=10", 400), ("/v3/x?p=4", 404)]
    {
        assert_eq!(status(&guard, &get(target)), expected, "{target}");
    }
    // It says nothing of responses.
    assert_eq!(answered(&guard, &get("/v1/x?p=4"), &response(500, "text/html", "a")), 500);
}
