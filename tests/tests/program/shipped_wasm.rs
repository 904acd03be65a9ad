//! The plugins that come with weir as components of WebAssembly, each through a running proxy.

use weir_tests::{Answer, RawClient, Weir};

use crate::shipped::ask;
use crate::wasm::start;

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
