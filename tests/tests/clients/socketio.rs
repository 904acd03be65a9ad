//! socket.io, whose messages a plugin sees: from long polling to a WebSocket, with compression.

use weir_tests::node::node_server;
use weir_tests::{process, tools, weir};

use crate::{counting, proxy};

#[test]
fn client_over_tls() {
    let (_server, address) = node_server("the socket.io server", "tests/socketio/server.js", &[]);
    let (mut weir, _) = proxy(address, &counting());
    let mut command = tools::node(&weir::root().join("tests/socketio"));
    command
        .args(["client.js", &format!("https://localhost:{}", weir.address("tls").port())])
        .env("NODE_EXTRA_CA_CERTS", weir.folder().join("ca.pem"));
    let output = process::run("the socket.io client", &mut command, b"");
    assert_eq!((output.code, output.stdout.trim()), (Some(0), "ok"), "{}", output.stderr);
    let (up, down) = weir.process().line("what passed", |line| {
        let (up, down) = line.split_once(" messages up, ")?;
        let up = up.rsplit(' ').next()?.parse::<u32>().ok()?;
        let down = down.split(' ').next()?.parse::<u32>().ok()?;
        Some((up, down))
    });
    // 104 acknowledged or not, one of them with an attachment; some may have gone by long polling.
    assert!(up > 100 && down > 100, "{up} up, {down} down");
}
