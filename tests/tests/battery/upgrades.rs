//! Answers of upstreams to a WebSocket handshake. Only a valid 101 makes a tunnel (RFC 6455, section 4.2.2).

use crate::response_case::{ResponseCase, invalid, passed};

const RULE: &str = "RFC 6455, section 4.2.2";
const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

macro_rules! switching {
    ($fields:literal) => {
        concat!("HTTP/1.1 101 Switching Protocols\r\n", $fields, "\r\n").as_bytes()
    };
}

pub(crate) fn cases() -> Vec<ResponseCase> {
    let mut all = vec![
        invalid(
            "101: the accept is another key's",
            RULE,
            switching!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n"),
        ),
        invalid("101: no accept", RULE, switching!("Upgrade: websocket\r\nConnection: Upgrade\r\n")),
        invalid(
            "101: no upgrade",
            RULE,
            switching!("Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        ),
        invalid(
            "101: another upgrade",
            RULE,
            switching!("Upgrade: foo\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        ),
        invalid(
            "101: no connection",
            RULE,
            switching!("Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        ),
        invalid(
            "101: the connection does not name the upgrade",
            RULE,
            switching!("Upgrade: websocket\r\nConnection: close\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        ),
        invalid(
            "101: two accepts",
            RULE,
            switching!(
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                 Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n"
            ),
        ),
        passed("not 101: an ordinary answer", RULE, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
        passed("not 101: a refusal", RULE, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nhello", 403, "hello"),
        passed("not 101: a redirect", RULE, b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", 302, "")
            .fields(&["location: /b"]),
        passed(
            "not 101: a 200 with the fields of a 101",
            RULE,
            b"HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nContent-Length: 5\r\n\r\nhello",
            200,
            "hello",
        )
        .fields(&["!upgrade"]),
        passed("not 101: a version that is asked for", "RFC 6455, section 4.4", b"HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13, 8\r\nContent-Length: 0\r\n\r\n", 426, "")
            .fields(&["sec-websocket-version: 13, 8"]),
    ];
    for case in &mut all {
        case.request = ASK;
        // A connection that carried an upgrade is never put back.
        case.connections = 2;
    }
    all
}
