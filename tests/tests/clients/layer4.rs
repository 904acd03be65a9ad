//! Layer 4: bytes by listener and by the server name of a TLS client, with another weir behind.

use std::io::Read;

use weir_tests::{Authority, RawClient, RawUpstream, Weir, weir};

use crate::HEAD;

/// Two TLS servers, each with a name of its own, on one weir.
fn servers() -> (Weir, Authority) {
    let folder = weir::folder();
    let authority = Authority::new(folder.path(), "ca");
    authority.issue("one", &["one.test"]);
    authority.issue("two", &["two.test", "deep.two.test"]);
    let server = |name: &str| {
        format!(
            "[[listeners]]
            name = \"{name}\"
            address = \"127.0.0.1:0\"
            tls = {{ cert = \"%DIR%/{name}.pem\", key = \"%DIR%/{name}.key\" }}
            [[routes]]
            name = \"{name}\"
            listeners = \"{name}\"
            respond = \"{name}\"
            "
        )
    };
    (Weir::start_in(folder, &format!("{HEAD}{}{}", server("one"), server("two"))), authority)
}

/// TLS goes through as it is: the client sees the certificate of the server that it asked for, and no other.
#[test]
fn passes_tls_on_by_server_name() {
    let (behind, authority) = servers();
    let config = format!(
        "{HEAD}
        [[listeners]]
        name = \"front\"
        address = \"127.0.0.1:0\"
        protocol = \"tcp\"
        [[tcp_routes]]
        name = \"to-one\"
        listener = \"front\"
        sni = \"one.test\"
        upstream = \"one\"
        [[tcp_routes]]
        name = \"to-two\"
        listener = \"front\"
        sni = [\"two.test\", \"*.two.test\"]
        upstream = \"two\"
        [upstreams.one]
        endpoints = [\"{}\"]
        [upstreams.two]
        endpoints = [\"{}\"]
        ",
        behind.address("one"),
        behind.address("two")
    );
    let mut front = Weir::start(&config);
    let client = authority.client_config(&["http/1.1"]);
    for (name, answer, route) in
        [("one.test", "one", "to-one"), ("two.test", "two", "to-two"), ("deep.two.test", "two", "to-two")]
    {
        let connected = RawClient::connect_tls(front.address("front"), client.clone(), name);
        let mut connected = connected.expect("a handshake with the server behind");
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        assert_eq!(connected.ask(&request).text(), answer);
        drop(connected);
        let record = front.process().line("a record", |line| {
            let record: serde_json::Value = serde_json::from_str(line).ok()?;
            (record["route"] == route).then_some(record)
        });
        assert_eq!(record["upstream"], answer, "{record}");
    }
    // Nobody takes this name: closed, without a byte.
    assert!(RawClient::connect_tls(front.address("front"), client, "three.test").is_err());
}

#[test]
fn carries_bytes_both_ways() {
    let upstream = RawUpstream::start(|_, served| {
        served.send("hello first\n");
        let all = served.rest();
        served.send(format!("{} bytes\n", all.len()));
    });
    let config = format!(
        "{HEAD}
        [[listeners]]
        name = \"front\"
        address = \"127.0.0.1:0\"
        protocol = \"tcp\"
        [[tcp_routes]]
        listener = \"front\"
        upstream = \"app\"
        [upstreams.app]
        endpoints = [\"{}\"]
        ",
        upstream.address()
    );
    let weir = Weir::start(&config);
    let mut client = RawClient::connect(weir.address("front"));
    // What is no TLS is told by its first byte.
    client.send("x");
    assert_eq!(client.take_until("\n"), "hello first\n");
    client.send(vec![b'y'; 1_000_000]).finish();
    assert_eq!(client.rest(), b"1000001 bytes\n");
    let mut rest = Vec::new();
    let mut socket = client.socket();
    assert_eq!(socket.read_to_end(&mut rest).expect("closed in order"), 0);
}
