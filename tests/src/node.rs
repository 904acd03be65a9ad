//! Servers on Node.js.

use std::net::SocketAddr;

use crate::{Process, tools, weir};

/// A server on Node.js that prints `listening ADDRESS`, with the packages of the SignalR example's server.
pub fn node_server(name: &str, script: &str, arguments: &[&str]) -> (Process, SocketAddr) {
    let path = weir::root().join(script);
    let folder = weir::root().join("examples/signalr/server");
    let mut command = tools::node(&folder);
    command.arg(path).args(arguments);
    let process = Process::start(name, &mut command);
    let address = process.line("where it listens", |line| line.strip_prefix("listening ")?.parse().ok());
    (process, address)
}

/// A WebSocket echo server; `["http2"]` makes it one over HTTP/2.
pub fn echo_server(arguments: &[&str]) -> (Process, SocketAddr) {
    node_server("the echo server", "tests/autobahn/echo.js", arguments)
}
