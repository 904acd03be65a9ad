//! HTTP/2 requests on a raw connection that would make ambiguous HTTP/1.1 requests if they were passed on as they
//! are. Refused is: answered with 400, or the stream or connection closed with an error, and nothing sent upstream.

use std::io::{Read, Write};
use std::net::TcpStream;

use weir_tests::{PATIENCE, RawUpstream, Weir};

use crate::case::{caught, configuration};

/// A request of HTTP/2, field by field.
pub(crate) struct Http2Case {
    /// Unique.
    pub(crate) name: &'static str,
    /// The section of RFC 9113 that rules it.
    rule: &'static str,
    fields: Vec<(&'static [u8], &'static [u8])>,
    body: Option<&'static [u8]>,
    /// What the upstream received; `None`: refused.
    upstream: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Served,
    Refused,
}

type Field = (&'static [u8], &'static [u8]);

const METHOD: Field = (b":method", b"GET");
const SCHEME: Field = (b":scheme", b"http");
const PATH: Field = (b":path", b"/");
const AUTHORITY: Field = (b":authority", b"a");
const USUAL: [Field; 4] = [METHOD, SCHEME, PATH, AUTHORITY];
const POST: [Field; 4] = [(b":method", b"POST"), SCHEME, PATH, AUTHORITY];
const CONNECT: Field = (b":method", b"CONNECT");
const PROTOCOL: Field = (b":protocol", b"websocket");
const VERSION: Field = (b"sec-websocket-version", b"13");
/// RFC 8441, section 4, changes what section 8.5 says.
const EXTENDED: &str = "8.5, and RFC 8441, section 4";

pub(crate) fn cases() -> Vec<Http2Case> {
    let refused = |name, rule, fields: &[Field]| Http2Case {
        name,
        rule,
        fields: fields.to_vec(),
        body: None,
        upstream: None,
    };
    let with =
        |name, rule, name_and_value: Field| refused(name, rule, &[&USUAL[..], &[name_and_value]].concat());
    let body = |name, fields: &[Field], body, upstream| Http2Case {
        name,
        rule: "8.1.1",
        fields: [&POST[..], fields].concat(),
        body: Some(body),
        upstream,
    };
    vec![
        with("h2: CRLF in a value", "8.2.1", (b"x", b"y\r\nhost: b")),
        with("h2: LF in a value", "8.2.1", (b"x", b"y\nz")),
        with("h2: CR in a value", "8.2.1", (b"x", b"y\rz")),
        with("h2: NUL in a value", "8.2.1", (b"x", b"y\0z")),
        with("h2: CRLF in a name", "8.2.1", (b"x: y\r\nz", b"1")),
        with("h2: a colon in a name", "8.2.1", (b"x:y", b"1")),
        with("h2: a space in a name", "8.2.1", (b"transfer-encoding ", b"chunked")),
        with("h2: capital letters in a name", "8.2.1", (b"X", b"y")),
        with("h2: an empty name", "8.2.1", (b"", b"y")),
        with("h2: connection", "8.2.2", (b"connection", b"close")),
        with("h2: keep-alive", "8.2.2", (b"keep-alive", b"timeout=5")),
        with("h2: proxy-connection", "8.2.2", (b"proxy-connection", b"close")),
        with("h2: upgrade", "8.2.2", (b"upgrade", b"websocket")),
        with("h2: te that is not trailers", "8.2.2", (b"te", b"gzip")),
        with("h2: transfer-encoding", "8.2.2", (b"transfer-encoding", b"chunked")),
        with("h2: a host that contradicts the authority", "8.3.1", (b"host", b"b")),
        with("h2: a pseudo-field behind a field", "8.3", (b":path", b"/b")),
        with("h2: an unknown pseudo-field", "8.3", (b":x", b"y")),
        with("h2: a pseudo-field of responses", "8.3", (b":status", b"200")),
        refused("h2: no method", "8.3.1", &[SCHEME, PATH, AUTHORITY]),
        refused("h2: no path", "8.3.1", &[METHOD, SCHEME, AUTHORITY]),
        refused("h2: no scheme", "8.3.1", &[METHOD, PATH, AUTHORITY]),
        refused("h2: neither authority nor host", "8.3.1", &[METHOD, SCHEME, PATH]),
        refused("h2: an empty path", "8.3.1", &[METHOD, SCHEME, (b":path", b""), AUTHORITY]),
        refused("h2: a path without a slash", "8.3.1", &[METHOD, SCHEME, (b":path", b"b"), AUTHORITY]),
        refused("h2: an asterisk with GET", "8.3.1", &[METHOD, SCHEME, (b":path", b"*"), AUTHORITY]),
        refused(
            "h2: a request line in the path",
            "8.3.1",
            &[METHOD, SCHEME, (b":path", b"/ HTTP/1.1\r\nhost: b\r\n\r\nGET /b"), AUTHORITY],
        ),
        refused("h2: a space in the path", "8.3.1", &[METHOD, SCHEME, (b":path", b"/a b"), AUTHORITY]),
        // hyper takes it off before anybody can see it.
        Http2Case {
            upstream: Some("GET /a HTTP/1.1\r\nhost: a\r\n\r\n"),
            ..refused(
                "h2: a fragment in the path is dropped",
                "8.3.1",
                &[METHOD, SCHEME, (b":path", b"/a#b"), AUTHORITY],
            )
        },
        refused(
            "h2: a request line in the method",
            "8.3.1",
            &[(b":method", b"GET / HTTP/1.1\r\nhost: b\r\n\r\nGET"), SCHEME, PATH, AUTHORITY],
        ),
        refused("h2: a space in the method", "8.3.1", &[(b":method", b"GET /"), SCHEME, PATH, AUTHORITY]),
        refused("h2: CRLF in the authority", "8.3.1", &[METHOD, SCHEME, PATH, (b":authority", b"a\r\nx: y")]),
        refused("h2: a path in the authority", "8.3.1", &[METHOD, SCHEME, PATH, (b":authority", b"a/b")]),
        refused(
            "h2: user information in the authority",
            "8.3.1",
            &[METHOD, SCHEME, PATH, (b":authority", b"u@a")],
        ),
        refused("h2: two authorities", "8.3.1", &[METHOD, SCHEME, PATH, AUTHORITY, (b":authority", b"b")]),
        refused("h2: two paths", "8.3.1", &[METHOD, SCHEME, PATH, PATH, AUTHORITY]),
        refused("h2: two hosts", "8.3.1", &[METHOD, SCHEME, PATH, (b"host", b"a"), (b"host", b"b")]),
        refused("h2: another scheme", "8.3.1", &[METHOD, (b":scheme", b"ftp"), PATH, AUTHORITY]),
        refused("h2: CONNECT", "8.5", &[(b":method", b"CONNECT"), (b":authority", b"a:443")]),
        with("h2: a protocol, and no CONNECT", EXTENDED, PROTOCOL),
        refused("h2: a WebSocket without a scheme", EXTENDED, &[CONNECT, PROTOCOL, PATH, AUTHORITY, VERSION]),
        refused("h2: a WebSocket without a path", EXTENDED, &[CONNECT, PROTOCOL, SCHEME, AUTHORITY, VERSION]),
        refused(
            "h2: a WebSocket without an authority",
            EXTENDED,
            &[CONNECT, PROTOCOL, SCHEME, PATH, VERSION],
        ),
        refused(
            "h2: a WebSocket and no path but *",
            EXTENDED,
            &[CONNECT, PROTOCOL, SCHEME, (b":path", b"*"), AUTHORITY, VERSION],
        ),
        refused(
            "h2: a WebSocket for another host",
            EXTENDED,
            &[CONNECT, PROTOCOL, SCHEME, PATH, AUTHORITY, VERSION, (b"host", b"b")],
        ),
        refused(
            "h2: two protocols",
            EXTENDED,
            &[CONNECT, PROTOCOL, PROTOCOL, SCHEME, PATH, AUTHORITY, VERSION],
        ),
        refused(
            "h2: a WebSocket with an upgrade",
            EXTENDED,
            &[CONNECT, PROTOCOL, SCHEME, PATH, AUTHORITY, VERSION, (b"upgrade", b"websocket")],
        ),
        refused(
            "h2: a WebSocket with a length",
            EXTENDED,
            &[CONNECT, PROTOCOL, SCHEME, PATH, AUTHORITY, VERSION, (b"content-length", b"5")],
        ),
        body("h2: a body longer than its length", &[(b"content-length", b"4")], b"hello", None),
        body("h2: two lengths", &[(b"content-length", b"5"), (b"content-length", b"4")], b"hello", None),
        body("h2: a length that is no number", &[(b"content-length", b"+5")], b"hello", None),
        body("h2: a list of lengths", &[(b"content-length", b"5, 5")], b"hello", None),
        Http2Case {
            upstream: Some("GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
            ..refused("h2: an ordinary request", "8.3.1", &USUAL)
        },
        Http2Case {
            upstream: Some("GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
            ..with("h2: a host that is the authority", "8.3.1", (b"host", b"a"))
        },
        Http2Case {
            upstream: Some("GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
            ..refused("h2: a host and no authority", "8.3.1", &[METHOD, SCHEME, PATH, (b"host", b"a")])
        },
        body(
            "h2: a body with its length",
            &[(b"content-length", b"5")],
            b"hello",
            Some("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"),
        ),
        body(
            "h2: a body without a length",
            &[],
            b"hello",
            Some("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        ),
    ]
}

/// Runs all cases, each on a listener and with an upstream of its own, and shows every one that fails.
pub(crate) fn check(cases: Vec<Http2Case>) {
    let upstreams: Vec<RawUpstream> = cases.iter().map(|_| RawUpstream::polite()).collect();
    let mut weir = Weir::start(&configuration(&upstreams));
    let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(n, case)| {
                let address = weir.address(&format!("c{n}"));
                scope.spawn(move || {
                    caught(|| converse(case, TcpStream::connect(address).expect("weir listens")))
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().expect("panics are caught")).collect()
    });
    weir.terminate();
    let mut failures = Vec::new();
    for ((case, upstream), outcome) in cases.iter().zip(&upstreams).zip(outcomes) {
        let outcome = outcome.and_then(|()| caught(|| compare(case, upstream)));
        if let Err(why) = outcome {
            failures.push(format!("{} (RFC 9113, section {})\n    {why}", case.name, case.rule));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases fail:\n\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n\n")
    );
}

fn compare(case: &Http2Case, upstream: &RawUpstream) -> Result<(), String> {
    let received = String::from_utf8_lossy(&upstream.ended().concat()).into_owned();
    let right = match case.upstream {
        Some(expected) => received == expected,
        // A body that turns out wrong while it comes may have begun: then it must never have ended.
        None if case.body.is_some() => !received.contains("hello") && !received.contains("\r\n0\r\n"),
        None => received.is_empty(),
    };
    if right { Ok(()) } else { Err(format!("the upstream received {received:?}, not {:?}", case.upstream)) }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("few bytes").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

fn converse(case: &Http2Case, mut socket: TcpStream) -> Result<(), String> {
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let mut block = Vec::new();
    for (name, value) in &case.fields {
        // HPACK, RFC 7541, section 6.2.2: a literal with a new name, not indexed, no Huffman coding.
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|&n| n < 127).expect("a short text"));
            block.extend_from_slice(text);
        }
    }
    let end = if case.body.is_some() { 4 } else { 5 };
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    request.extend(frame(4, 0, 0, &[]));
    request.extend(frame(1, end, 1, &block));
    if let Some(body) = case.body {
        request.extend(frame(0, 1, 1, body));
    }
    let _ = socket.write_all(&request);
    let expected = if case.upstream.is_some() { Outcome::Served } else { Outcome::Refused };
    match outcome(&mut socket) {
        Ok(got) if got == expected => Ok(()),
        other => Err(format!("{other:?}, not {expected:?}")),
    }
}

/// Reads frames until it is clear what became of stream 1.
fn outcome(socket: &mut TcpStream) -> Result<Outcome, String> {
    loop {
        let mut head = [0; 9];
        if let Err(e) = socket.read_exact(&mut head) {
            return match e.kind() {
                std::io::ErrorKind::WouldBlock => Err("nothing comes".into()),
                _ => Ok(Outcome::Refused),
            };
        }
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        socket.read_exact(&mut payload).map_err(|e| format!("a frame is cut: {e}"))?;
        match (head[3], payload.first()) {
            // The static table of HPACK has 200 as 8 and 400 as 12; others are literals after index 8.
            (1, Some(0x88)) => return Ok(Outcome::Served),
            (1, Some(0x8c)) => return Ok(Outcome::Refused),
            (1, _) => return other_status(&payload),
            (3, _) => return Ok(Outcome::Refused),
            (7, _) if payload.get(4..8) != Some(&[0; 4]) => return Ok(Outcome::Refused),
            _ => {}
        }
    }
}

/// A status that is not in the static table, Huffman-coded or not: only 405 is expected here.
fn other_status(payload: &[u8]) -> Result<Outcome, String> {
    const PLAIN: &[u8] = b"\x03405";
    const HUFFMAN: &[u8] = &[0x83, 0x68, 0x0d, 0xff];
    if payload[1..].starts_with(PLAIN) || payload[1..].starts_with(HUFFMAN) {
        return Ok(Outcome::Refused);
    }
    Err(format!("answered with {payload:02x?}"))
}
