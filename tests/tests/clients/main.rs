//! Real clients and servers with weir between them.

mod answers;
mod autobahn;
mod curl;
mod grpc;
mod http2;
mod layer4;
mod proxy_protocol;
mod signalr;
mod streams;
mod tls;
mod uploads;
mod websocket;

use std::net::SocketAddr;

use tempfile::TempDir;
use weir_tests::{Authority, Process, Weir, tools, weir};

/// A proxy in front of one upstream: plain on `web`, TLS for `localhost` on `tls`.
fn proxy(upstream: SocketAddr, more: &str) -> (Weir, Authority) {
    let folder = weir::folder();
    let authority = certified(&folder);
    let config = format!(
        "{HEAD}{LISTENERS}
         [[routes]]
         name = \"all\"
         upstream = \"app\"
         [upstreams.app]
         endpoints = [\"{upstream}\"]
         {more}"
    );
    (Weir::start_in(folder, &config), authority)
}

/// What most configurations here begin with.
const HEAD: &str = "workers = 2\ndrain = \"5s\"\n";

/// A plain listener and one with TLS.
const LISTENERS: &str = r#"
    [[listeners]]
    name = "web"
    address = "127.0.0.1:0"
    [[listeners]]
    name = "tls"
    address = "127.0.0.1:0"
    tls = { cert = "%DIR%/localhost.pem", key = "%DIR%/localhost.key" }
"#;

/// An authority in the folder (`ca.pem`) and its certificate for `localhost`.
fn certified(folder: &TempDir) -> Authority {
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("localhost", &["localhost", "127.0.0.1"]);
    authority
}

/// A server on Node.js that prints `listening ADDRESS`.
fn node_server(name: &str, script: &str, arguments: &[&str]) -> (Process, SocketAddr) {
    let path = weir::root().join(script);
    let folder = weir::root().join("examples/signalr/server");
    let mut command = tools::node(&folder);
    command.arg(path).args(arguments);
    let process = Process::start(name, &mut command);
    let address = process.line("where it listens", |line| line.strip_prefix("listening ")?.parse().ok());
    (process, address)
}

/// A WebSocket echo server; `["http2"]` makes it one over HTTP/2.
fn echo_server(arguments: &[&str]) -> (Process, SocketAddr) {
    node_server("the echo server", "tests/autobahn/echo.js", arguments)
}
