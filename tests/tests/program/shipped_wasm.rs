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

/// What `weir check` tells of a guest's settings that cannot be.
fn refused(guest: &str, settings: &str) -> String {
    let folder = weir::folder();
    let path = tools::guest(guest).display().to_string();
    let file = weir::write_config(&folder, &config(&path, settings, ""));
    let output = weir::run(&["check", file.to_str().expect("a plain name")]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    output.stderr
}
