//! Real clients and servers with weir between them.

mod answers;
mod autobahn;
mod browser;
mod curl;
mod grpc;
mod http2;
mod layer4;
mod messages;
mod proxy_protocol;
mod signalr;
mod socketio;
mod streams;
mod tls;
mod uploads;
mod websocket;

use std::net::SocketAddr;

use tempfile::TempDir;
use weir_tests::node::{echo_server, node_server};
use weir_tests::{Authority, Weir, weir};

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

/// What most configurations here begin with. Where the machine is busy, small frames wait of all WebSockets of a client.
const HEAD: &str = "workers = 2\ndrain = \"5s\"\nlimits.http2.connection_window = \"8MiB\"\n";

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

/// Has the plugin `count.lua` see all messages of the last route.
fn counting() -> String {
    let script = weir::root().join("tests/lua/count.lua");
    format!(
        "\n[routes.websocket]\nmax_message = \"4MiB\"\nmax_frame = \"4MiB\"\n\
         [[routes.plugins]]\nname = \"count\"\n[plugins.count]\npath = \"{}\"\n",
        script.display()
    )
}
