//! WebSockets whose frames are read: real clients, with and without compression, and plugins that change what passes.

use std::net::SocketAddr;

use weir_tests::node::echo_server;
use weir_tests::{Authority, RawClient, RawUpstream, Weir, process, tools, weir};

use crate::proxy;
use crate::websocket::handshake;

/// Compression as a route has it, and whether clients that offer it get it.
const DEFLATE: [(&str, &str); 4] = [
    ("true", "compressed"),
    ("{ takeover = true }", "compressed"),
    ("false", "plain"),
    // The upstream is opened with the first message.
    (LATE, "compressed"),
];
pub(crate) const LATE: &str = "true\nconnect = \"first-message\"";

/// What plugins may watch.
const WATCH: [&str; 2] = ["frames", "messages"];

/// A proxy with the plugin `edit.lua` on all that passes, but for what other routes take. `protocol` is of the upstream.
pub(crate) fn editing(
    upstream: SocketAddr,
    (watch, deflate): (&str, &str),
    protocol: &str,
    routes: &str,
) -> (Weir, Authority) {
    let script = weir::root().join("tests/lua/edit.lua");
    let more = format!(
        "{protocol}\n[routes.websocket]\nmax_message = \"4MiB\"\nmax_frame = \"4MiB\"\ndeflate = {deflate}\n\
         [[routes.plugins]]\nname = \"edit\"\nsettings = {{ watch = \"{watch}\" }}\n\
         [plugins.edit]\npath = \"{}\"\n\
         [plugins.edit.limits]\ncpu = \"5s\"\nstall = \"5s\"\n{routes}",
        script.display()
    );
    proxy(upstream, &more)
}

/// Runs a client on each way to a server of HTTP/1.1, and one to a server of HTTP/2.
fn on_each_way(run: impl Fn(&mut Weir, &str, &str)) {
    let (_server, echo) = echo_server(&[]);
    for watch in WATCH {
        for (deflate, compression) in DEFLATE {
            run(&mut editing(echo, (watch, deflate), "", "").0, watch, compression);
        }
    }
    let (_server, echo) = echo_server(&["http2"]);
    let (mut weir, _) = editing(echo, ("messages", "true"), "protocol = \"http2\"", "");
    run(&mut weir, "messages", "compressed");
}

#[test]
fn python_client() {
    on_each_way(|weir, watch, compression| {
        let tls = format!("wss://localhost:{}", weir.address("tls").port());
        let ca = weir.folder().join("ca.pem").to_string_lossy().into_owned();
        for (url, ca) in [(format!("ws://{}", weir.address("web")), None), (tls, Some(ca))] {
            let mut command = tools::python();
            command.arg(weir::root().join("tests/python/messages.py"));
            command.args([&url, watch, compression]).args(ca);
            let output = process::run("the Python client", &mut command, b"");
            let told = (output.code, output.stdout.trim());
            assert_eq!(told, (Some(0), "ok"), "{url} {watch} {compression}\n{}", output.stderr);
        }
    });
}

/// Over HTTP/1.1 and HTTP/2.
#[test]
fn node_client() {
    on_each_way(|weir, watch, compression| {
        let (web, tls) = (weir.address("web"), weir.address("tls").port());
        let urls = [
            format!("ws://{web}"),
            format!("wss://localhost:{tls}"),
            format!("http://{web}"),
            format!("https://localhost:{tls}"),
        ];
        for url in urls {
            let mut command = tools::node(&weir::root().join("examples/signalr/server"));
            command
                .arg(weir::root().join("tests/node/messages.js"))
                .args([&url, compression])
                .env("NODE_EXTRA_CA_CERTS", weir.folder().join("ca.pem"));
            let output = process::run("the Node client", &mut command, b"");
            let told = (output.code, output.stdout.trim());
            assert_eq!(told, (Some(0), "ok"), "{url} {watch} {compression}\n{}", output.stderr);
        }
        let mut from = 0;
        for told in [
            "closed with 4001 by plugin: as the plugin says",
            "closed with 4002 by upstream: as asked",
            "closed with 4003 by client: bye",
            "closed with 1009 by weir: ",
        ] {
            weir.process().line_from(&mut from, told, |line| line.contains(told).then_some(()));
        }
    });
}

/// A side that broke a rule is told so after all that the other one has said to what came before.
#[test]
fn what_came_before_a_broken_rule_is_answered() {
    let upstream = RawUpstream::start(|_, served| {
        if served.head().is_some() {
            served.send(SWITCH);
            // A ping of the plugin's.
            assert_eq!(served.take(6)[..2], *b"\x89\x80");
            // A masked text of one byte, then the close frame of weir, which wants no answer yet.
            let text = served.take(7);
            assert_eq!(&text[..2], b"\x81\x81");
            assert_eq!(served.take(8)[..2], *b"\x88\x82");
            served.send(b"\x81\x06answer\x88\x02\x03\xe9");
            served.rest();
        }
    });
    let (weir, _) = editing(upstream.address(), ("messages", "true"), "", "");
    let mut client = RawClient::connect(weir.address("web"));
    assert_eq!(client.ask(&handshake("/")).status, 101);
    // A text, and a frame of an opcode that there is not.
    client.send(b"\x81\x81\0\0\0\0a\x83\x80\0\0\0\0");
    assert_eq!(client.take(8), b"\x81\x06answer");
    let close = client.take(4);
    assert_eq!((close[0], &close[2..4]), (0x88, &1002u16.to_be_bytes()[..]));
}

/// A side that closes is answered by weir when the other one is silent for `close_timeout`.
#[test]
fn a_close_that_the_upstream_ignores_is_answered() {
    let upstream = RawUpstream::start(|_, served| {
        if served.head().is_some() {
            served.send(SWITCH);
            served.rest();
        }
    });
    let settings = "[routes.websocket]\nclose_timeout = \"50ms\"\n";
    let (weir, _) = proxy(upstream.address(), settings);
    let mut client = RawClient::connect(weir.address("web"));
    assert_eq!(client.ask(&handshake("/")).status, 101);
    client.send(b"\x88\x82\0\0\0\0\x0f\xa3");
    assert_eq!(client.rest(), b"\x88\x02\x0f\xa3");
}

/// The answer of [`RawUpstream`]s to the handshake.
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
