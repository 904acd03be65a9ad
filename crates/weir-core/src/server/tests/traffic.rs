//! Layer 4 routes.

use rustls::pki_types::ServerName;

use super::*;

/// The first bytes of a TLS client that asks for this server.
pub(super) fn hello(name: &str) -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(crate::tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn by_name(any: bool) -> Spec {
    let mut spec = Spec {
        listeners: vec![listener("main", loopback())],
        tcp_routes: vec![route("one", &["one.test"]), route("two", &["two.test"])],
        upstreams: vec![upstream("one", &[greeter("1")]), upstream("two", &[greeter("2")])],
        ..Spec::default()
    };
    if any {
        spec.tcp_routes.push(route("any", &[]));
        spec.upstreams.push(upstream("any", &[greeter("any")]));
    }
    spec
}

#[test]
fn tls_passes_through_by_its_server_name() {
    let server = Running::new(&by_name(true), 2);
    for (name, greeting, route) in
        [("one.test", "1", "one"), ("two.test", "2", "two"), ("else.test", "any", "any")]
    {
        let hello = hello(name);
        let (half, rest) = hello.split_at(hello.len() / 2);
        let mut client = server.connect();
        client.set_nodelay(true).unwrap();
        client.write_all(half).unwrap();
        client.write_all(rest).unwrap();
        expect(&mut client, greeting);
        let mut echo = vec![0; hello.len()];
        client.read_exact(&mut echo).unwrap();
        assert_eq!(echo, hello, "the upstream gets the very bytes");
        drop(client);
        let seen = server.seen();
        assert_eq!((seen.route.as_str(), seen.attempts, seen.reason), (route, 1, None));
        assert_eq!(seen.bytes, (hello.len() as u64, (hello.len() + greeting.len()) as u64));
    }
    let mut client = server.connect();
    client.write_all(b"not TLS").unwrap();
    expect(&mut client, "anynot TLS");
}

#[test]
fn what_no_route_takes_is_closed() {
    let server = Running::new(&by_name(false), 1);
    for bytes in [hello("else.test"), b"not TLS".to_vec()] {
        let mut client = server.connect();
        client.write_all(&bytes).unwrap();
        assert!(is_closed(&mut client));
        assert_eq!(server.seen().reason, Some(Kind::NoRoute));
    }
    drop(server.connect());
    assert_eq!(server.seen().reason, Some(Kind::ClientGone));
}

#[test]
fn a_hello_that_does_not_come_in_time_ends_the_connection() {
    let mut spec = by_name(true);
    spec.listeners[0].handshake_timeout = Duration::from_millis(30);
    let server = Running::new(&spec, 1);
    let mut client = server.connect();
    client.write_all(&hello("one.test")[..20]).unwrap();
    assert!(is_closed(&mut client));
    assert_eq!(server.seen().reason, Some(Kind::RequestTimeout));
}

#[test]
fn another_endpoint_is_tried_when_one_refuses() {
    let refusing = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    refusing.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let refused = refusing.local_addr().unwrap().as_socket().unwrap();
    let mut spec = greeting(|_| ());
    spec.upstreams = vec![upstream("hello", &[refused, greeter("hello")])];
    let server = Running::new(&spec, 1);
    for _ in 0..4 {
        expect(&mut server.connect(), "hello");
    }
    let attempts: u32 = (0..4).map(|_| server.seen().attempts).sum();
    assert_eq!(attempts, 5, "one of them met the endpoint that refuses, which is skipped from then on");
    spec.upstreams = vec![upstream("hello", &[refused])];
    let server = Running::new(&spec, 1);
    assert!(is_closed(&mut server.connect()));
    assert_eq!(server.seen().reason, Some(Kind::Connect));
}

#[test]
fn half_of_a_connection_may_close() {
    let server = Running::new(&greeting(|_| ()), 1);
    let mut client = server.connect();
    client.write_all(b"bye").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut all = String::new();
    client.read_to_string(&mut all).unwrap();
    assert_eq!(all, "hellobye");
    assert_eq!(server.seen().reason, None);
}
