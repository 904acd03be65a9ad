//! WebSockets through weir: a real client, and what only raw sockets can show.

use weir_tests::{RawClient, RawUpstream, process, tools, weir};

use crate::{certified, echo_server, proxy};

/// The key of RFC 6455, section 1.3, and what it is answered with.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[test]
fn python_client() {
    talks_by_python(&[], "");
}

/// Over HTTP/1.1 to a server of HTTP/2 (RFC 8441).
#[test]
fn python_client_to_http2() {
    talks_by_python(&["http2"], "protocol = \"http2\"");
}

/// To a server that speaks HTTP/2 but takes WebSockets over HTTP/1.1 only: TLS lets weir ask for that.
#[test]
fn python_client_to_http1_beside_http2() {
    let folder = weir::folder();
    certified(&folder);
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let server = ["beside", &path("localhost.pem"), &path("localhost.key")];
    talks_by_python(&server, "protocol = \"http2\"\ntls = { verify = false }");
}

fn talks_by_python(server: &[&str], more: &str) {
    let (_server, echo) = echo_server(server);
    let (weir, _) = proxy(echo, more);
    let port = weir.address("tls").port();
    let ca = weir.folder().join("ca.pem").to_string_lossy().into_owned();
    let plain = format!("ws://{}", weir.address("web"));
    for arguments in [vec![plain], vec![format!("wss://localhost:{port}"), ca]] {
        let mut command = tools::python();
        command.arg(weir::root().join("tests/python/client.py")).args(&arguments);
        let output = process::run("the Python client", &mut command, b"");
        assert_eq!((output.code, output.stdout.trim()), (Some(0), "ok"), "{arguments:?}\n{}", output.stderr);
    }
}

/// Over HTTP/2, with TLS and without, to servers of both versions.
#[test]
fn node_client_over_http2() {
    for (server, more) in [(&[][..], ""), (&["http2"][..], "protocol = \"http2\"")] {
        let (_server, echo) = echo_server(server);
        let (weir, _) = proxy(echo, more);
        let tls = format!("https://localhost:{}", weir.address("tls").port());
        for url in [weir.http("web"), tls] {
            let mut command = tools::node(&weir::root().join("examples/signalr/server"));
            command
                .arg(weir::root().join("tests/node/client.js"))
                .arg(&url)
                .env("NODE_EXTRA_CA_CERTS", weir.folder().join("ca.pem"));
            let output = process::run("the Node client", &mut command, b"");
            assert_eq!(
                (output.code, output.stdout.trim()),
                (Some(0), "ok"),
                "{url} {more}\n{}",
                output.stderr
            );
        }
    }
}

/// What a client offers and an upstream takes reaches the other side as it was written, in both directions, with
/// the bytes that follow at once.
#[test]
fn handshake_is_passed_on_byte_for_byte() {
    let upstream = RawUpstream::start(|_, served| {
        if served.head().is_some() {
            served.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Protocol: b.v2\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\
                 Set-Cookie: c=d; Path=/\r\n\r\nfirst from the upstream"
            ));
            served.take("first from the client, second".len());
            served.send(", second");
            served.rest();
        }
    });
    let (weir, _) = proxy(upstream.address(), "");
    let mut client = RawClient::connect(weir.address("web"));
    let offer = "permessage-deflate; client_max_window_bits, x-webkit-deflate-frame";
    client.send(format!(
        "GET /chat/%7Eroom?id=a%20b&token=x%2Fy+z HTTP/1.1\r\nHost: Example.com:81\r\nOrigin: https://a.example\r\n\
         Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: a.v1, b.v2\r\nSec-WebSocket-Extensions: {offer}\r\n\
         Cookie: a=\"1\"; b=2\r\n\r\nfirst from the client"
    ));
    let answer = client.answer("GET");
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
    assert_eq!(answer.header("sec-websocket-protocol"), Some("b.v2"));
    let extensions = answer.header("sec-websocket-extensions");
    assert_eq!(extensions, Some("permessage-deflate; client_no_context_takeover"));
    assert_eq!(answer.header("set-cookie"), Some("c=d; Path=/"));
    assert!(answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
    assert!(answer.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    client.wait_for("first from the upstream");
    client.send(", second");
    client.wait_for("first from the upstream, second");

    upstream.wait_for("first from the client, second");
    let seen = String::from_utf8_lossy(&upstream.received()[0].bytes).into_owned();
    assert!(seen.starts_with("GET /chat/~room?id=a%20b&token=x%2Fy+z HTTP/1.1\r\n"), "{seen}");
    for line in [
        "origin: https://a.example",
        "sec-websocket-version: 13",
        &format!("sec-websocket-key: {KEY}"),
        "sec-websocket-protocol: a.v1, b.v2",
        &format!("sec-websocket-extensions: {offer}"),
        "cookie: a=\"1\"; b=2",
    ] {
        assert!(seen.contains(&format!("\r\n{line}\r\n")), "{line}: {seen}");
    }
    assert!(seen.to_ascii_lowercase().contains("\r\nhost: example.com:81\r\n"), "{seen}");
    assert!(seen.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n"), "{seen}");
    assert!(seen.to_ascii_lowercase().contains("\r\nconnection: upgrade\r\n"), "{seen}");
}

/// A side that has said all it wants to say still hears the other.
#[test]
fn half_close_is_passed_on() {
    let upstream = RawUpstream::start(|_, served| {
        if served.head().is_some() {
            served.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
            ));
            let all = served.rest();
            served.send(format!("{} bytes, and then nothing", all.len()));
        }
    });
    let (weir, _) = proxy(upstream.address(), "");
    let mut client = RawClient::connect(weir.address("web"));
    assert_eq!(client.ask(&handshake("/")).status, 101);
    client.send([7; 100_000]).finish();
    assert_eq!(client.rest(), b"100000 bytes, and then nothing");
}

/// `websocket = false` on a route is a 403, and nothing reaches the upstream.
#[test]
fn route_that_refuses_upgrades() {
    let upstream = RawUpstream::polite();
    let more =
        "[[routes]]\nname = \"plain\"\npath_prefix = \"/plain\"\nupstream = \"app\"\nwebsocket = false";
    let (weir, _) = proxy(upstream.address(), more);
    let mut client = RawClient::connect(weir.address("web"));
    assert_eq!(client.ask(&handshake("/plain")).status, 403);
    assert_eq!(upstream.received(), []);
}

/// A handshake.
pub(crate) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}
