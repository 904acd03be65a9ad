//! The plugins that come with weir as components of WebAssembly, each through a running proxy.

use std::net::TcpStream;

use tokio_tungstenite::tungstenite::{self, Message};
use weir_tests::{Answer, PATIENCE, RawClient, Weir, tools, weir};

use crate::shipped::ask;
use crate::wasm::{config, start};

/// What comes of a POST of these bytes.
fn post(weir: &Weir, content_type: &str, body: &[u8]) -> Answer {
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: shop.example\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut client = RawClient::connect(weir.address("web"));
    client.send([head.as_bytes(), body].concat());
    client.answer("POST")
}

#[test]
fn waf_lite() {
    let weir = start("waf_lite", "{}", "");
    for (target, status) in [
        ("/echo?name=O'Brien&q=select+your+seat", 200),
        ("/echo?id=1%27%20or%20%271%27=%271", 403),
        ("/echo?q=%3Cscript%3Ealert(1)%3C/script%3E", 403),
    ] {
        assert_eq!(ask(&weir, &format!("GET {target}")).status, status, "{target}");
    }
    let json = |text: &str| post(&weir, "application/json", text.as_bytes()).status;
    assert_eq!(json(r#"{"comment": "drop me a line; from the table of contents"}"#), 200);
    assert_eq!(json(r#"{"comment": "1 union select password from users"}"#), 403);
}

#[test]
fn image_guard() {
    let weir = start("image_guard", "{ types = [\"png\"], max_size = 4096 }", "");
    let png = [&b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0"[..], &[0; 64]].concat();
    assert_eq!(post(&weir, "image/png", &png).status, 200);
    assert_eq!(post(&weir, "image/png", b"GIF89a, it says that it is another").status, 415);
    assert_eq!(post(&weir, "image/gif", b"GIF89a\x01\0\x01\0\0\0\0").status, 415);
    assert_eq!(post(&weir, "image/png", &[&png[..], &[0; 8192]].concat()).status, 413);
    assert_eq!(post(&weir, "text/plain", b"no image").status, 200);
}

#[test]
fn html_rewrite() {
    let rules = "{ rules = [{ select = \"h1\", inner = \"changed <here>\", text = true }, \
                 { select = \"script\", remove = true }] }";
    let page = ask(&start("html_rewrite", rules, ""), "GET /").text();
    assert!(page.contains("<h1>changed &lt;here&gt;</h1>") && !page.contains("<script"), "{page}");
}

/// What comes back of a message to the demo, which echoes it: its text, or the code and reason with which weir ends it.
fn echoed(weir: &Weir, message: Message) -> String {
    let address = weir.address("web");
    let stream = TcpStream::connect(address).expect("weir listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let (mut client, _) = tungstenite::client(format!("ws://{address}/ws"), stream).expect("it opens");
    client.send(message).expect("it can be sent");
    match client.read().expect("an answer") {
        Message::Close(Some(frame)) => format!("{} {}", u16::from(frame.code), frame.reason),
        message => message.into_text().expect("text").to_string(),
    }
}

#[test]
fn ws_schema() {
    let schema =
        r##"{ "properties": { "in": { "$ref": "#" }, "text": { "maxLength": 5 } }, "required": ["type"] }"##;
    let settings = format!("{{ client = {{ type = \"/type\", schemas = {{ say = '{schema}' }} }} }}");
    let weir = start("ws_schema", &settings, "");
    let text = |text: &str| echoed(&weir, Message::text(text));
    let hello = r#"{"type": "say", "text": "hello"}"#;
    assert_eq!(text(hello), hello);
    assert_eq!(text(r#"{"type": "say", "text": "goodbye"}"#), "1008 invalid: /text maxLength");
    assert_eq!(text(r#"{"type": "shout"}"#), "1008 unknown type of message");
    assert_eq!(text("hello"), "1007 no JSON: expected value at line 1 column 1");
    assert_eq!(echoed(&weir, Message::binary("hello")), "1003 binary messages are not taken");
    // As deep as may be, with a schema that is as deep: the guest's stack has room for it.
    let nested =
        |depth: usize| format!("{}{hello}{}", r#"{"type": "say", "in": "#.repeat(depth), "}".repeat(depth));
    assert_eq!(text(&nested(63)), nested(63));
    assert!(text(&nested(64)).starts_with("1007 no JSON: more than 64"));
}

#[test]
fn ws_schema_tells_what_is_wrong_with_its_settings() {
    let stderr =
        refused("ws_schema", "{ client = { schema = { properties = { a = { type = \"text\" } } } } }");
    assert!(stderr.contains("client.schema: #/properties/a/type: must match"), "{stderr}");
    let stderr =
        refused("ws_schema", "{ upstream = { schema = { \"$ref\" = \"https://example.com/a.json\" } } }");
    assert!(
        stderr.contains("upstream.schema: `$ref` to `https://example.com/a.json`: only references"),
        "{stderr}"
    );
}

/// An API whose answers are those of the demo: JSON with the body that it got.
const API: &str = r##"{
    "openapi": "3.0.3",
    "paths": {
        "/echo": { "post": {
            "parameters": [{ "name": "n", "in": "query", "schema": { "type": "integer" } }],
            "requestBody": { "required": true, "content": {
                "application/json": { "schema": { "$ref": "#/components/schemas/Tree" } },
                "text/plain": {}
            } },
            "responses": { "200": { "description": "what came", "content": { "application/json": { "schema": {
                "required": ["method", "body"],
                "properties": { "body": { "type": "string", "pattern": "^[^!]*$" } }
            } } } } }
        } }
    },
    "components": { "schemas": { "Tree": {
        "properties": { "in": { "$ref": "#/components/schemas/Tree" }, "name": { "type": "string" } }
    } } }
}"##;

/// With its document as a text, and these settings beside it.
fn api(more: &str) -> Weir {
    start("openapi_validate", &format!("{{ document = '{}'{more} }}", API.replace('\n', " ")), "")
}

#[test]
fn openapi_validate() {
    let weir = api(", max_body = 4096");
    let json = |text: &str| post(&weir, "application/json", text.as_bytes());
    assert_eq!(json(r#"{"name": "a"}"#).status, 200);
    let answer = json(r#"{"in": {"name": 1}}"#);
    assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/problem+json")));
    assert!(answer.text().contains(r#""pointer":"/in/name""#), "{}", answer.text());
    assert_eq!(post(&weir, "text/plain", b"{").status, 200);
    assert_eq!(post(&weir, "text/html", b"{").status, 415);
    assert_eq!(json(&" ".repeat(4097)).status, 413);
    assert_eq!(json("").status, 400);
    assert_eq!(ask(&weir, "GET /other").status, 404);
    let answer = ask(&weir, "GET /echo");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(ask(&weir, "POST /echo?n=x").status, 400);
    // A schema as deep as the value: the guest's stack has room for it.
    let nested = |depth: usize| format!("{}1{}", r#"{"in": "#.repeat(depth), "}".repeat(depth));
    assert_eq!(json(&nested(64)).status, 200);
    assert_eq!(json(&nested(65)).status, 400);
}

#[test]
fn openapi_validate_reads_bodies_in_chunks() {
    let weir = api("");
    let chunked = |chunks: &str| {
        let head =
            "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ntransfer-encoding: chunked";
        let mut client = RawClient::connect(weir.address("web"));
        client.send(format!("{head}\r\n\r\n{chunks}0\r\n\r\n"));
        client.answer("POST")
    };
    let answer = chunked("8\r\n{\"name\":\r\n4\r\n\"a\"}\r\n");
    assert!(answer.status == 200 && answer.text().contains("name"), "{}", answer.text());
    assert_eq!(chunked("8\r\n{\"name\":\r\n2\r\n1}\r\n").status, 400);
    assert_eq!(chunked("").status, 400);
}

#[test]
fn openapi_validate_looks_at_responses() {
    // Only to who accepts JSON the demo answers with it.
    let answer = |weir: &Weir, accept: &str, body: &str| {
        let head = format!("POST /echo HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\ncontent-type: text/plain");
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        RawClient::connect(weir.address("web")).ask(&request)
    };
    let weir = api(", response = \"enforce\"");
    let valid = answer(&weir, "application/json", "hello");
    assert!(valid.status == 200 && valid.text().contains("hello"), "{}", valid.text());
    for (accept, body) in [("application/json", "hello!"), ("text/plain", "hello")] {
        let refused = answer(&weir, accept, body);
        assert_eq!(refused.status, 502);
        assert!(!refused.text().contains("hello"), "{}", refused.text());
    }
    let weir = api(", response = \"report\"");
    let reported = answer(&weir, "application/json", "hello!");
    assert!(reported.status == 200 && reported.text().contains("hello!"), "{}", reported.text());
}

#[test]
fn openapi_validate_tells_what_is_wrong_with_its_document() {
    let stderr = refused(
        "openapi_validate",
        "{ document = { openapi = \"3.1.0\", paths = { \"/a/{b}\" = { get = {} } } } }",
    );
    assert!(stderr.contains("document#/paths/~1a~1{b}/get: `{b}` of the path has no parameter"), "{stderr}");
}

/// What `weir check` tells of a guest's settings that cannot be.
fn refused(guest: &str, settings: &str) -> String {
    let folder = weir::folder();
    let path = tools::guest(guest).display().to_string();
    let file = weir::write_config(&folder, &config(&path, settings, ""));
    let output = weir::run(&["check", file.to_str().expect("a plain name")]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    output.stderr
}
