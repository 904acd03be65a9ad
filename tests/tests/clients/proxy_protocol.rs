//! The PROXY protocol in front of plain and TLS connections.

use weir_tests::{RawClient, RawUpstream, Weir, process, tools, weir};

use crate::{HEAD, certified};

/// A listener that believes 127.0.0.1, one with TLS, and one that believes only somebody else.
fn start(upstream: &RawUpstream) -> (Weir, weir_tests::Authority) {
    let folder = weir::folder();
    let authority = certified(&folder);
    let config = format!(
        "{HEAD}
        [[listeners]]
        name = \"believing\"
        address = \"127.0.0.1:0\"
        proxy_protocol = {{ trusted = \"127.0.0.0/8\" }}
        [[listeners]]
        name = \"tls\"
        address = \"127.0.0.1:0\"
        proxy_protocol = {{ trusted = \"127.0.0.1\" }}
        tls = {{ cert = \"%DIR%/localhost.pem\", key = \"%DIR%/localhost.key\" }}
        [[listeners]]
        name = \"wary\"
        address = \"127.0.0.1:0\"
        proxy_protocol = {{ trusted = \"192.0.2.0/24\" }}
        [[routes]]
        name = \"all\"
        upstream = \"app\"
        [upstreams.app]
        endpoints = [\"{}\"]
        ",
        upstream.address()
    );
    (Weir::start_in(folder, &config), authority)
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A header of version 2 with this command and family, and these addresses.
fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).expect("few bytes").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x20 | command, family], &length, addresses].concat()
}

fn v4(client: [u8; 4]) -> Vec<u8> {
    [&client[..], &[198, 51, 100, 1], &4711u16.to_be_bytes(), &80u16.to_be_bytes()].concat()
}

#[test]
fn tells_upstreams_who_the_client_is() {
    let upstream = RawUpstream::polite();
    let (weir, _) = start(&upstream);
    let v6 = [[0x20, 0x01, 0x0d, 0xb8].as_slice(), &[0; 11], &[7], &[0; 16], &[0x12, 0x67, 0, 80]].concat();
    let with_options = [&v4([192, 0, 2, 10])[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    let cases = [
        (V1.to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 80\r\n".to_vec(), "2001:db8::9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(1, 0x11, &v4([192, 0, 2, 8])), "192.0.2.8"),
        (v2(1, 0x21, &v6), "2001:db8::7"),
        (v2(1, 0x11, &with_options), "192.0.2.10"),
        (v2(0, 0, &[]), "127.0.0.1"),
    ];
    for (n, (header, client)) in cases.into_iter().enumerate() {
        let mut connection = RawClient::connect(weir.address("believing"));
        // The header and the request in one piece: no byte of the request may be lost.
        let get = format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = connection.send([&header, get.as_bytes()].concat()).answer("GET");
        assert_eq!(answer.status, 200, "{}", header.escape_ascii());
        let request = upstream.head_of(&format!("/{n}"));
        for field in ["x-real-ip", "x-forwarded-for"] {
            let line = format!("\r\n{field}: {client}\r\n");
            assert!(request.contains(&line), "{}: {request}", header.escape_ascii());
        }
    }
}

#[test]
fn comes_before_tls() {
    let upstream = RawUpstream::polite();
    let (weir, authority) = start(&upstream);
    let config = authority.client_config(&["http/1.1"]);
    let connected = RawClient::connect_tls_behind(weir.address("tls"), V1, config, "localhost");
    assert_eq!(connected.expect("a handshake").ask(GET).status, 200);
    let seen = String::from_utf8_lossy(&upstream.received()[0].bytes).into_owned();
    assert!(
        seen.contains("\r\nx-real-ip: 192.0.2.7\r\n") && seen.contains("x-forwarded-proto: https"),
        "{seen}"
    );
}

#[test]
fn curl_sends_it_too() {
    let upstream = RawUpstream::polite();
    let (weir, _) = start(&upstream);
    let mut command = tools::program("curl");
    command.args(["--silent", "--haproxy-protocol", &weir.http("believing")]);
    assert_eq!(process::run("curl", &mut command, b"").stdout, "ok");
}

/// A header that is wrong or missing closes the connection, and nothing is answered: whoever sends it is no HTTP
/// client.
#[test]
fn wrong_headers_close_the_connection() {
    let upstream = RawUpstream::polite();
    let (weir, _) = start(&upstream);
    for header in [
        b"".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.777 198.51.100.1 4711 80\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 99999\r\n".to_vec(),
        b"PROXY TCP6 192.0.2.7 198.51.100.1 4711 80\r\n".to_vec(),
        b"proxy TCP4 192.0.2.7 198.51.100.1 4711 80\r\n".to_vec(),
        [b"PROXY ".as_slice(), &[b'x'; 200], b"\r\n"].concat(),
        v2(1, 0x11, &[192, 0, 2, 7]),
        v2(7, 0x11, &v4([192, 0, 2, 7])),
    ] {
        let mut connection = RawClient::connect(weir.address("believing"));
        connection.send([&header, GET.as_bytes()].concat());
        let rest = connection.rest();
        assert!(rest.is_empty(), "{}: {:?}", header.escape_ascii(), String::from_utf8_lossy(&rest));
    }
    assert_eq!(upstream.received(), []);
}

/// From a sender that is not trusted it is not looked for: such a header is a bad request.
#[test]
fn senders_that_are_not_trusted_are_not_believed() {
    let upstream = RawUpstream::polite();
    let (weir, _) = start(&upstream);
    let mut client = RawClient::connect(weir.address("wary"));
    assert_eq!(client.send([V1, GET.as_bytes()].concat()).answer("GET").status, 400);
    assert_eq!(upstream.received(), []);
    assert_eq!(RawClient::connect(weir.address("wary")).ask(GET).status, 200);
}
