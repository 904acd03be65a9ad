//! The SignalR example: two servers, the real client over `wss://`, and the configuration of the example itself.

use weir_tests::{Process, RawClient, Weir, tools, weir};

use crate::{certified, counting, node_server};

/// The configuration of the example with addresses and files of the test's own.
fn configuration(servers: [std::net::SocketAddr; 2]) -> String {
    let path = weir::root().join("examples/signalr/weir.toml");
    let mut config = std::fs::read_to_string(path).expect("the example has a configuration");
    let replacements = [
        (":443", "127.0.0.1:0".to_owned()),
        ("10.0.0.1:5000", servers[0].to_string()),
        ("10.0.0.2:5000", servers[1].to_string()),
        ("/etc/weir/fullchain.pem", "%DIR%/localhost.pem".to_owned()),
        ("/etc/weir/privkey.pem", "%DIR%/localhost.key".to_owned()),
    ];
    for (written, meant) in replacements {
        let quoted = format!("\"{written}\"");
        assert!(config.contains(&quoted), "the example no longer says {quoted}: {config}");
        config = config.replace(&quoted, &format!("\"{meant}\""));
    }
    config
}

#[test]
fn client_over_tls_survives_the_death_of_its_server() {
    survives("");
}

/// The same with a plugin that sees each message, which it tells.
#[test]
fn client_whose_messages_a_plugin_sees_survives_the_death_of_its_server() {
    let mut weir = survives(&counting());
    // Up: the handshake and what the client calls. Down: what these are answered with, and what the server calls.
    let told = "7 messages up, 14 down";
    weir.process().line(told, |line| line.contains(told).then_some(()));
}

/// Runs the client, while its server is killed, with more at the end of the configuration.
fn survives(more: &str) -> Weir {
    let (first, a) = node_server("server a", "examples/signalr/server/server.js", &["a"]);
    let (second, b) = node_server("server b", "examples/signalr/server/server.js", &["b"]);
    let mut servers = [("a", first), ("b", second)];
    let folder = weir::folder();
    certified(&folder);
    let weir = Weir::start_in(folder, &(configuration([a, b]) + more));
    let port = weir.address("chat").port();

    let mut command = tools::node(&weir::root().join("examples/signalr/client"));
    command
        .args(["client.js", &format!("https://localhost:{port}/chat")])
        .env("NODE_EXTRA_CA_CERTS", weir.folder().join("ca.pem"))
        .stdin(std::process::Stdio::piped());
    let mut client = Process::start("the SignalR client", &mut command);
    let word =
        |name: &str| client.line(name, |line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));

    let server = word("connected");
    assert!(server == "a" || server == "b", "{server}");
    assert_eq!(word("welcome").split(' ').next(), Some(server.as_str()));
    assert_eq!(word("said"), format!("{server} hello, all"));
    assert_eq!(word("broadcast"), "1");
    assert_eq!(word("echo"), "1048576 same");
    assert_eq!(word("stream"), "1,2,3,4,5");
    assert_eq!(word("failed"), "as asked");
    let headers: serde_json::Value = serde_json::from_str(&word("headers")).expect("headers as JSON");
    assert_eq!(headers["host"], format!("localhost:{port}"));
    assert_eq!(headers["x-real-ip"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "https");
    let cookie = headers["cookie"].as_str().expect("the client sends the sticky cookie with its handshake");
    assert!(cookie.contains("weir-sticky="), "{cookie}");
    client.line("done", |line| (line == "done").then_some(()));

    // Its server dies: the client negotiates again, by itself, with the other one.
    let other = if server == "a" { "b" } else { "a" };
    servers.iter_mut().find(|(name, _)| *name == server).expect("one of the two").1.kill();
    client.line("that it reconnects", |line| (line == "reconnecting").then_some(()));
    let reconnected = client.line("that it has", |line| line.strip_prefix("reconnected ").map(str::to_owned));
    assert_eq!(reconnected, other);

    client.close_stdin();
    assert!(client.wait().success());
    weir
}

/// With the plugin that looks into the protocol: what is on its list is as without it, what is not fails at the client.
#[test]
fn client_may_call_what_is_on_the_list() {
    let (_first, a) = node_server("server a", "examples/signalr/server/server.js", &["a"]);
    let (_second, b) = node_server("server b", "examples/signalr/server/server.js", &["b"]);
    let folder = weir::folder();
    certified(&folder);
    let plugin = weir::root().join("plugins/signalr-inspect");
    let config = configuration([a, b])
        .replace("upstream = \"servers\"", "upstream = \"servers\"\nplugins = [\"signalr-inspect\"]");
    let config = format!(
        "{config}\n[plugins.signalr-inspect]\npath = \"{}\"\n[plugins.signalr-inspect.settings]\n\
         to_upstream = {{ methods = [\"ServerName\", \"Headers\", \"Broadcast\", \"Echo\", \"Counter\"] }}\n\
         to_client = {{ methods = [\"Said\"] }}\n",
        plugin.display()
    );
    let weir = Weir::start_in(folder, &config);
    let port = weir.address("chat").port();

    let mut command = tools::node(&weir::root().join("examples/signalr/client"));
    command
        .args(["client.js", &format!("https://localhost:{port}/chat"), "100000"])
        .env("NODE_EXTRA_CA_CERTS", weir.folder().join("ca.pem"))
        .stdin(std::process::Stdio::piped());
    let mut client = Process::start("the SignalR client", &mut command);
    let word =
        |name: &str| client.line(name, |line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    let server = word("connected");
    assert_eq!(word("said"), format!("{server} hello, all"));
    assert_eq!(word("echo"), "100000 same");
    assert_eq!(word("stream"), "1,2,3,4,5");
    assert_eq!(word("failed"), "This method may not be called.");
    client.line("done", |line| (line == "done").then_some(()));
    let lines = client.lines();
    assert!(!lines.iter().any(|line| line.starts_with("welcome")), "the hub may not call that: {lines:?}");
    client.close_stdin();
    assert!(client.wait().success());
}

#[test]
fn cookie_sticks_to_a_server() {
    let (_first, a) = node_server("server a", "examples/signalr/server/server.js", &["a"]);
    let (_second, b) = node_server("server b", "examples/signalr/server/server.js", &["b"]);
    let folder = weir::folder();
    let authority = certified(&folder);
    let weir = Weir::start_in(folder, &configuration([a, b]));
    let config = authority.client_config(&["http/1.1"]);

    // A connection token is only good on the server that gave it: each handshake must reach that one.
    for _ in 0..20 {
        let connect = || RawClient::connect_tls(weir.address("chat"), config.clone(), "localhost");
        let answer = connect().expect("a handshake").ask(
            "POST /chat/negotiate?negotiateVersion=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.header("set-cookie").expect("a sticky cookie");
        for attribute in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        let cookie = cookie.split(';').next().unwrap_or_default();
        let negotiated: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let token = negotiated["connectionToken"].as_str().expect("a token");
        let answer = connect().expect("a handshake").ask(&format!(
            "GET /chat?id={token} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("set-cookie"), None, "the cookie is still good");
    }
}
