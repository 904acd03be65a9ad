//! What comes of requests and responses, by the document of the test.

mod documents;
mod parameters;

use serde_json::{Value, json};
use weir_guest::testing;

use super::*;

fn load(settings: &Value) -> Guard {
    testing::load(&settings.to_string()).expect("settings").0
}

/// A document of OpenAPI 3.0 with these paths, and two schemas.
fn document(paths: Value) -> Value {
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Pets", "version": "1" },
        "servers": [{ "url": "https://api.example.com/v1/" }],
        "paths": paths,
        "components": { "schemas": {
            "Pet": {
                "type": "object",
                "required": ["id", "name", "secret"],
                "properties": {
                    "id": { "type": "integer", "readOnly": true },
                    "secret": { "type": "string", "writeOnly": true },
                    "name": { "type": "string", "minLength": 1 },
                    "nick": { "type": "string", "nullable": true },
                    "owner": { "nullable": true, "allOf": [{ "$ref": "#/components/schemas/Owner" }] },
                    "weight": { "type": "number", "minimum": 0, "exclusiveMinimum": true }
                },
                "additionalProperties": false
            },
            "Owner": { "type": "object", "required": ["name"], "properties": { "name": { "type": "string" } } }
        } }
    })
}

fn pets() -> Value {
    let json_of = |schema: Value| json!({ "application/json": { "schema": schema } });
    let pet = json!({ "$ref": "#/components/schemas/Pet" });
    document(json!({
        "/pets": {
            "get": {
                "operationId": "list",
                "parameters": [{ "name": "limit", "in": "query", "schema": { "type": "integer", "maximum": 9 } }],
                "responses": { "200": {
                    "description": "all",
                    "headers": { "x-next": { "required": true, "schema": { "type": "integer" } } },
                    "content": json_of(json!({ "type": "array", "items": pet }))
                } }
            },
            "post": {
                "requestBody": { "required": true, "content": {
                    "application/json": { "schema": pet },
                    "text/*": {}
                } },
                "responses": {
                    "201": { "description": "made" },
                    "4XX": { "description": "refused", "content": json_of(json!({ "type": "object" })) },
                    "default": { "description": "other", "content": json_of(json!({ "type": "string", "nullable": true })) }
                }
            }
        },
        "/pets/{id}": {
            "parameters": [{ "name": "id", "in": "path", "required": true, "schema": { "type": "integer" } }],
            "get": { "responses": {} }
        },
        "/pets/mine": { "get": { "operationId": "mine", "responses": {} } }
    }))
}

fn guard(more: Value) -> Guard {
    let mut settings = json!({ "document": pets() });
    for (name, value) in more.as_object().expect("settings") {
        settings[name] = value.clone();
    }
    load(&settings)
}

/// What a request gets, with its body in two pieces: none where it goes on, as it was sent.
fn sent(guard: &Guard, req: &Request) -> Option<Reply> {
    let mut x = Exchange::default();
    if let Verdict::Respond(reply) = guard.on_request(&mut x, req).expect("on_request") {
        return Some(reply);
    }
    let body = req.body().read(None).expect("a body");
    if body.is_empty() || req.body().is_passed() {
        return None;
    }
    let (one, other) = body.split_at(body.len() / 2);
    let mut passed = Vec::new();
    for (data, last) in [(one, false), (other, false), (&[][..], true)] {
        match guard.on_request_body(&mut x, data, last).expect("on_request_body") {
            Piece::Pass => passed.extend_from_slice(data),
            Piece::Replace(bytes) => passed.extend_from_slice(&bytes),
            Piece::Respond(reply) => return Some(reply),
        }
    }
    assert_eq!(passed, body);
    None
}

fn status(guard: &Guard, req: &Request) -> u16 {
    sent(guard, req).map_or(200, |reply| reply.status)
}

/// What is wrong with a request that gets 400: `in name pointer keyword`, each.
fn wrong(guard: &Guard, req: &Request) -> Vec<String> {
    let Some(reply) = sent(guard, req) else { return Vec::new() };
    assert_eq!(reply.status, 400);
    let body: Value = serde_json::from_slice(&reply.body).expect("JSON");
    let errors = body["errors"].as_array().expect("errors");
    let parts = ["in", "name", "pointer", "keyword"];
    let text = |error: &Value| parts.map(|part| error[part].as_str().unwrap_or_default()).join(" ");
    errors.iter().map(text).collect()
}

fn get(target: &str) -> Request {
    Request::new("GET", target)
}

fn post(content_type: &str, body: &str) -> Request {
    Request::new("POST", "/v1/pets").with_header("content-type", content_type).with_body(body)
}

#[test]
fn paths_and_methods() {
    let guard = guard(json!({}));
    for (method, target, expected) in [
        ("GET", "/v1/pets", 200),
        ("HEAD", "/v1/pets", 200),
        ("GET", "/pets", 404),
        ("GET", "/v1/pets/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/pets/12", 200),
        ("GET", "/v1/pets/x", 400),
        ("GET", "/v1/pets/mine", 200),
        ("GET", "/v1/pets/%6dine", 200),
        ("GET", "/v1/pets/1/2", 404),
        ("DELETE", "/v1/pets", 405),
        ("DELETE", "/v1/pets/mine", 405),
    ] {
        assert_eq!(status(&guard, &Request::new(method, target)), expected, "{method} {target}");
    }
    let reply = sent(&guard, &Request::new("DELETE", "/v1/pets")).expect("an answer");
    let field = |name: &str| {
        reply.headers.iter().find(|field| field.name == name).map(|field| field.value.as_slice())
    };
    assert_eq!(field("allow"), Some(&b"GET, POST, HEAD"[..]));
    assert_eq!(field("content-type"), Some(&b"application/problem+json"[..]));
}

#[test]
fn unknown_paths_may_pass_and_the_base_may_be_another() {
    let guard = guard(json!({ "unknown": "pass", "base": "" }));
    assert_eq!(status(&guard, &get("/v1/pets")), 200);
    assert_eq!(status(&guard, &get("/pets?limit=10")), 400);
}

#[test]
fn bodies_of_requests() {
    let guard = guard(json!({ "max_body": 100 }));
    for (content_type, body, expected) in [
        ("application/json", r#"{"name": "Rex", "secret": "s", "nick": null, "owner": null}"#, &[][..]),
        ("application/json; charset=utf-8", r#"{"name": "Rex", "secret": "", "weight": 1}"#, &[]),
        (
            "application/json",
            r#"{"name": "", "secret": "", "weight": 0}"#,
            &["body  /name minLength", "body  /weight exclusiveMinimum"],
        ),
        ("application/json", r#"{"name": "Rex"}"#, &["body   required"]),
        ("application/json", r#"{"name": "Rex", "secret": "", "owner": {}}"#, &["body  /owner anyOf"]),
        ("application/json", r#"{"name": "Rex", "secret": "", "age": 1}"#, &["body   additionalProperties"]),
        ("application/json", "{", &["body   json"]),
        ("application/json", "", &["body   required"]),
        ("text/plain", "what it is", &[]),
    ] {
        let mut found = wrong(&guard, &post(content_type, body));
        found.sort();
        assert_eq!(found, expected, "{body}");
    }
    assert_eq!(status(&guard, &post("application/xml", "<a/>")), 415);
    assert_eq!(status(&guard, &Request::new("POST", "/v1/pets").with_body("{}")), 415);
    assert_eq!(status(&guard, &post("application/json", &" ".repeat(101))), 413);
    // Of a type that is not looked at, the size does not matter.
    assert_eq!(status(&guard, &post("text/plain", &" ".repeat(101))), 200);
    assert_eq!(wrong(&guard, &Request::new("POST", "/v1/pets")), ["body   required"]);
}

#[test]
fn a_body_that_does_not_say_how_long_it_is_is_bounded() {
    let guard = guard(json!({ "max_body": 100 }));
    let req = post("application/json", "");
    let mut x = Exchange::default();
    let at = guard.0.api.find("/v1/pets").expect("a path").0;
    x.asked = Some((at, "POST".to_owned()));
    let body = guard.operation(&x).and_then(|operation| operation.body.as_ref()).expect("a body");
    let Typed::Json(schema) = check::typed(&body.content, &req.headers()) else { panic!("JSON") };
    x.request = Some(Reading { schema: Some(schema), required: true, data: Vec::new() });
    let piece = |x: &mut Exchange| guard.on_request_body(x, &[b' '; 60], false).expect("on_request_body");
    assert_eq!(piece(&mut x), Piece::hold());
    let Piece::Respond(reply) = piece(&mut x) else { panic!("an answer") };
    assert_eq!(reply.status, 413);
}

#[test]
fn reports_pass_and_are_counted_and_logged() {
    let guard = guard(json!({ "request": "report" }));
    assert_eq!(status(&guard, &get("/other")), 200);
    assert_eq!(status(&guard, &get("/v1/pets?limit=10")), 200);
    assert_eq!(status(&guard, &get("/v1/pets?limit=1")), 200);
    assert_eq!(status(&guard, &post("application/json", r#"{"name": "a secret", "secret": 1}"#)), 200);
    let log: Vec<String> = testing::log().into_iter().map(|(_, line)| line).collect();
    assert_eq!(
        log,
        [
            "request would be refused: the API has no such path",
            "request would be refused: list: query limit maximum",
            "request would be refused: POST /pets: body /secret type",
        ]
    );
    let metrics = testing::metrics();
    let count = |operation: &str, outcome: &str| {
        metrics.get(&format!("requests{{operation=\"{operation}\",outcome=\"{outcome}\"}}")).copied()
    };
    assert_eq!(count("list", "valid"), Some(1.0));
    assert_eq!(count("list", "invalid"), Some(1.0));
    assert_eq!(count("", "unknown"), Some(1.0));
}

/// What becomes of a response to a request: the status that the client sees.
fn answered(guard: &Guard, req: &Request, res: &Response) -> u16 {
    let mut x = Exchange::default();
    guard.on_request(&mut x, req).expect("on_request");
    if let Verdict::Respond(reply) = guard.on_response(&mut x, res, req).expect("on_response") {
        assert!(!String::from_utf8_lossy(&reply.body).contains("errors"));
        return reply.status;
    }
    let body = res.body().read(None).expect("a body");
    if !body.is_empty() && !res.body().is_passed() {
        for (data, last) in [(&body[..], false), (&[][..], true)] {
            assert_eq!(guard.on_response_body(&mut x, data, last).expect("on_response_body"), Piece::Pass);
        }
    }
    res.status()
}

fn response(status: u16, content_type: &str, body: &str) -> Response {
    Response::new(status).with_header("content-type", content_type).with_body(body)
}

/// Responses to `GET /pets` and `POST /pets`, what is logged of each, and whether it is valid.
fn responses() -> Vec<(&'static str, Response, &'static str)> {
    let list = |body: &str| response(200, "application/json", body).with_header("x-next", "1");
    let post = |status: u16, body: &str| response(status, "application/json", body);
    vec![
        ("GET", list(r#"[{"id": 1, "name": "Rex"}]"#), ""),
        ("GET", list(r#"[{"id": 1, "name": "Rex", "nick": null}]"#), ""),
        ("GET", list(r#"[{"name": "Rex"}]"#), "body /0 required"),
        ("GET", list("<html>"), "body json"),
        ("GET", response(200, "application/json", "[]"), "header x-next required"),
        ("GET", response(200, "text/html", "a").with_header("x-next", "1"), "body content"),
        ("GET", response(500, "text/html", "a"), "the status 500 is not described"),
        ("GET", Response::new(304), ""),
        ("POST", response(201, "text/html", "a"), ""),
        ("POST", post(404, "{}"), ""),
        ("POST", post(404, "[]"), "body type"),
        ("POST", post(500, "null"), ""),
        ("POST", post(500, "1"), "body type"),
    ]
}

#[test]
fn responses_are_enforced() {
    let guard = guard(json!({ "request": "off", "response": "enforce" }));
    for (method, res, why) in responses() {
        let expected = if why.is_empty() { res.status() } else { 502 };
        assert_eq!(answered(&guard, &Request::new(method, "/v1/pets"), &res), expected, "{why}");
        let line = testing::log().last().map(|(_, line)| line.clone()).unwrap_or_default();
        assert!(line.contains(why), "{line}");
    }
    let long = response(200, "application/json", &" ".repeat(2 << 20)).with_header("x-next", "1");
    assert_eq!(answered(&guard, &get("/v1/pets"), &long), 502);
}

#[test]
fn responses_are_reported() {
    let guard = guard(json!({ "response": "report" }));
    for (method, res, why) in responses() {
        let before = testing::log().len();
        let req = Request::new(method, "/v1/pets").with_header("content-type", "text/plain").with_body("a");
        assert_eq!(answered(&guard, &req, &res), res.status());
        let told: Vec<String> = testing::log().into_iter().skip(before).map(|(_, line)| line).collect();
        assert_eq!(told.len(), usize::from(!why.is_empty()), "{told:?}");
        assert!(told.iter().all(|line| line.contains(why)), "{told:?}");
    }
}

#[test]
fn only_hooks_that_are_needed_are_wanted() {
    let wants =
        |request: &str, response: &str| guard(json!({ "request": request, "response": response })).wants();
    assert_eq!(wants("enforce", "off"), Hooks::REQUEST | Hooks::REQUEST_BODY);
    assert_eq!(wants("off", "enforce"), Hooks::REQUEST | Hooks::RESPONSE);
    assert_eq!(wants("off", "report"), Hooks::REQUEST | Hooks::RESPONSE | Hooks::RESPONSE_BODY);
}
