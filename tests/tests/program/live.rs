//! What is under way while the configuration changes: listeners that come, move and go, and WebSockets.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;
use weir_tests::{RawClient, RawUpstream, Weir};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A listener a name and port, and the answer of each.
fn listening(listeners: &[(&str, u16)]) -> String {
    let each = listeners.iter().map(|(name, port)| {
        format!(
            "[[listeners]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\n\
             [[routes]]\nname = \"{name}\"\nlisteners = \"{name}\"\nrespond = \"{name}\"\n"
        )
    });
    format!("workers = 2\nreload = {{ watch = false }}\n{}", each.collect::<String>())
}

fn save(weir: &Weir, config: &str) {
    fs::write(weir.folder().join("weir.toml"), config).expect("a temporary file can be written");
}

/// Saves a configuration and has it read: what came of it.
pub(crate) fn change(weir: &Weir, config: &str) -> Value {
    save(weir, config);
    let change = weir.ask_json(&["reload"]);
    assert_eq!(change["outcome"], "published", "{change:#}");
    change
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    socket.local_addr().expect("it has an address").port()
}

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// What is answered there, on a connection of its own.
fn get(port: u16) -> String {
    RawClient::connect(at(port)).ask(GET).text()
}

fn until_closed(port: u16) {
    while TcpStream::connect(at(port)).is_ok() {}
}

#[test]
fn listeners_come_move_and_go_and_their_connections_end_after_a_response() {
    let (here, there, more) = (free_port(), free_port(), free_port());
    let weir = Weir::start(&listening(&[("web", here)]));
    let mut kept = RawClient::connect(at(here));
    assert_eq!(kept.ask(GET).text(), "web");
    let told = change(&weir, &listening(&[("web", here), ("more", more)]));
    assert_eq!(told["changes"][0], format!("listener more: added (127.0.0.1:{more})"), "{told:#}");
    assert_eq!((get(more), get(here)), ("more".to_owned(), "web".to_owned()));
    let mut leaving = RawClient::connect(at(more));
    assert_eq!(leaving.ask(GET).header("connection"), None);
    // To another port and back, while the other one goes.
    for (from, to) in [(here, there), (there, here)] {
        change(&weir, &listening(&[("web", to)]));
        until_closed(from);
        until_closed(more);
        assert_eq!(get(to), "web");
    }
    for (client, text) in [(&mut kept, "web"), (&mut leaving, "more")] {
        let last = client.ask(GET);
        assert_eq!((last.header("connection"), last.text().as_str()), (Some("close"), text));
        assert!(client.rest().is_empty());
    }
    let status = weir.ask_json(&["status"]);
    assert_eq!(status["listeners"].as_array().map(Vec::len), Some(1), "{status:#}");
    assert_eq!(status["listeners"][0]["address"], format!("127.0.0.1:{here}"));
}

#[test]
fn an_idle_connection_whose_listener_has_moved_ends_with_weir() {
    let (here, there) = (free_port(), free_port());
    let mut weir = Weir::start(&format!("drain = \"10m\"\n{}", listening(&[("web", here)])));
    let mut idle = RawClient::connect(at(here));
    assert_eq!(idle.ask(GET).text(), "web");
    change(&weir, &format!("drain = \"10m\"\n{}", listening(&[("web", there)])));
    until_closed(here);
    assert_eq!(weir.terminate().code(), Some(0), "nothing was cut");
    assert!(idle.rest().is_empty());
}

#[test]
fn a_listener_that_moved_before_it_went_serves_its_connections_to_their_end() {
    let (here, there, other) = (free_port(), free_port(), free_port());
    let weir = Weir::start(&listening(&[("web", here), ("other", other)]));
    let mut first = RawClient::connect(at(here));
    assert_eq!(first.ask(GET).text(), "web");
    change(&weir, &listening(&[("web", there), ("other", other)]));
    let mut second = RawClient::connect(at(there));
    assert_eq!(second.ask(GET).text(), "web");
    change(&weir, &listening(&[("other", other)]));
    for client in [&mut first, &mut second] {
        let last = client.ask(GET);
        assert_eq!((last.header("connection"), last.text().as_str()), (Some("close"), "web"));
    }
}

#[test]
fn an_address_that_is_taken_refuses_the_whole_change() {
    let (here, other) = (free_port(), free_port());
    let weir = Weir::start(&listening(&[("web", here)]));
    let taken = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = taken.local_addr().expect("it has an address").port();
    save(&weir, &listening(&[("web", other), ("more", port)]));
    for arguments in [&["reload", "--dry-run"][..], &["reload"]] {
        let told = weir.ask(arguments);
        assert_eq!(told.code, Some(5), "{}", told.stdout);
        for part in [format!("127.0.0.1:{port}"), "in use".to_owned(), "weir.toml:".to_owned()] {
            assert!(told.stdout.contains(&part), "{part}: {}", told.stdout);
        }
    }
    assert_eq!(get(here), "web");
    until_closed(other);
}

/// A route to WebSockets; `more` belongs to it, `reload` to how it is read again.
fn relaying(upstream: SocketAddr, more: &str, reload: &str) -> String {
    format!(
        "workers = 2\nreload = {{ watch = false, spread = \"0s\", grace = \"0s\", {reload} }}\n\
         [[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:0\"\n\
         [[routes]]\nname = \"chat\"\nupstream = \"app\"\n{more}\n\
         [upstreams.app]\nendpoints = [\"{upstream}\"]\n"
    )
}

/// An upstream that opens WebSockets and sends back what comes.
pub(crate) fn echo() -> RawUpstream {
    RawUpstream::start(|_, served| {
        if served.head().is_some() {
            served.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            loop {
                let byte = served.take(1);
                if byte.is_empty() {
                    return;
                }
                served.send(byte);
            }
        }
    })
}

fn websocket(weir: &Weir) -> RawClient {
    handshake(weir, "/")
}

/// A WebSocket on the listener `web`.
pub(crate) fn handshake(weir: &Weir, path: &str) -> RawClient {
    let mut client = RawClient::connect(weir.address("web"));
    let answer = client.ask(&format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ));
    assert_eq!(answer.status, 101);
    client
}

fn is_open(client: &mut RawClient) -> bool {
    // A masked ping of the client.
    let ping = b"\x89\x84\0\0\0\0ping";
    client.send(ping);
    client.take(ping.len()) == ping
}

/// Whether the client is told so and the connection ends.
pub(crate) fn is_told(client: &mut RawClient, code: u16) -> bool {
    let frame = client.take(4);
    client.send([&b"\x88\x82\0\0\0\0"[..], &code.to_be_bytes()].concat());
    frame[..2] == [0x88, 2] && frame[2..] == code.to_be_bytes()
}

#[test]
fn websockets_are_pinned_to_what_opened_them() {
    let (one, two) = (echo(), echo());
    let weir = Weir::start(&relaying(one.address(), "", ""));
    let mut first = websocket(&weir);
    change(&weir, &relaying(two.address(), "", ""));
    let mut second = websocket(&weir);
    // Who may not be disconnected is not by that it may be from now on, either.
    change(&weir, &relaying(two.address(), "on_reload = \"close\"", ""));
    assert!(is_open(&mut second));
    // The first had another upstream.
    assert!(is_told(&mut first, 1012));
    let held = serde_json::json!([{ "generation": 2, "relays": { "chat": 1 } }]);
    weir.wait_for_status("the end of the first", |status| status["relays"] == 1 && status["held"] == held);
}

#[test]
fn websockets_of_a_route_that_is_gone_or_of_too_many_generations_are_told_to_come_again() {
    let upstream = echo();
    let of = |name: &str, reload: &str| {
        relaying(upstream.address(), "", reload).replace("\"chat\"", &format!("\"{name}\""))
    };
    let weir = Weir::start(&of("chat", ""));
    let mut client = websocket(&weir);
    change(&weir, &of("talk", ""));
    assert!(is_told(&mut client, 1012));
    let mut clients: Vec<_> = (1..4)
        .map(|n| {
            let client = websocket(&weir);
            change(&weir, &of("talk", &format!("generations = 2, keep = {n}")));
            client
        })
        .collect();
    assert!(is_told(&mut clients[0], 1012));
    assert!(clients[1..].iter_mut().all(is_open));
}
