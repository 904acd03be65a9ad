//! Status lines, header fields and informational responses of upstreams.

use crate::response_case::{End, GET, ResponseCase, invalid, passed};

const LINE: &str = "RFC 9112, section 4";
const FIELD: &str = "RFC 9112, section 5.1";
const VALUE: &str = "RFC 9110, section 5.5";
const INFORMATIONAL: &str = "RFC 9110, section 15.2";

macro_rules! ok {
    ($fields:literal) => {
        concat!("HTTP/1.1 200 OK\r\n", $fields, "Content-Length: 5\r\n\r\nhello").as_bytes()
    };
}

pub(crate) fn cases() -> Vec<ResponseCase> {
    let mut all = lines();
    all.extend(fields());
    all.extend(informational());
    all
}

fn lines() -> Vec<ResponseCase> {
    vec![
        invalid("status: no status line", LINE, b"hello\r\n\r\n"),
        invalid("status: another protocol", LINE, b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
        invalid("status: no number", LINE, b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
        invalid("status: two digits", LINE, b"HTTP/1.1 99 Low\r\nContent-Length: 0\r\n\r\n"),
        invalid("status: four digits", LINE, b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        invalid(
            "status: below 100",
            "RFC 9110, section 15",
            b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
        ),
        invalid(
            "status: over 599",
            "RFC 9110, section 15",
            b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
        ),
        invalid("status: HTTP/2.0", LINE, b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        invalid("status: two spaces", LINE, b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
        invalid("status: ends in LF", "RFC 9112, section 2.2", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
        invalid("status: an empty line before it", LINE, b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        invalid("status: NUL in the reason", LINE, b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n"),
        invalid("status: nothing at all", "RFC 9110, section 15.6.3", b"").end(End::Close),
        invalid("status: reset instead", "RFC 9110, section 15.6.3", b"").end(End::Reset),
        invalid("status: the head is cut", "RFC 9112, section 8", b"HTTP/1.1 200 OK\r\nContent-Le")
            .end(End::Close),
        passed("status: no reason", LINE, b"HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
        passed(
            "status: an unknown one",
            "RFC 9110, section 15",
            b"HTTP/1.1 299 Odd\r\nContent-Length: 5\r\n\r\nhello",
            299,
            "hello",
        ),
    ]
}

fn fields() -> Vec<ResponseCase> {
    let long =
        [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'a'; 300_000], b"\r\nContent-Length: 0\r\n\r\n"].concat();
    let many = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(5000), b"\r\n".to_vec()].concat();
    vec![
        invalid("response field: ends in LF", "RFC 9112, section 2.2", b"HTTP/1.1 200 OK\r\nX: y\nContent-Length: 0\r\n\r\n"),
        invalid("response field: the head ends in LF LF", "RFC 9112, section 2.2", b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\n"),
        invalid("response field: CR in a value", VALUE, ok!("X: y\rz\r\n")),
        invalid("response field: NUL in a value", VALUE, ok!("X: y\0z\r\n")),
        invalid("response field: a control character in a value", VALUE, ok!("X: y\x08z\r\n")),
        invalid("response field: a space before the colon", FIELD, ok!("X : y\r\n")),
        invalid("response field: no name", FIELD, ok!(": y\r\n")),
        invalid("response field: no colon", FIELD, ok!("X\r\n")),
        invalid("response field: a name that is no token", FIELD, ok!("X(1): y\r\n")),
        invalid("response field: folded", "RFC 9112, section 5.2", ok!("X: y\r\n z\r\n")),
        invalid("response field: a space before the first one", "RFC 9112, section 2.2", ok!(" X: y\r\n")),
        invalid("response field: too long", "RFC 9112, section 3", &long),
        invalid("response field: too many", "RFC 9112, section 3", &many),
        passed("response field: a tab within a value", VALUE, ok!("X: y\tz\r\n"), 200, "hello").fields(&["x: y\tz"]),
        passed(
            "response field: hop by hop",
            "RFC 9110, section 7.6.1",
            ok!("Connection: keep-alive, x-one\r\nX-One: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: a\r\nX-Two: 2\r\n"),
            200,
            "hello",
        )
        .fields(&["!connection", "!x-one", "!keep-alive", "!proxy-connection", "x-two: 2"]),
        passed(
            "response field: a connection that names the length does not unframe the body",
            "RFC 9110, section 7.6.1",
            ok!("Connection: content-length\r\n"),
            200,
            "hello",
        )
        .fields(&["content-length: 5"]),
        passed("response field: an offer to upgrade", "RFC 9110, section 7.8", ok!("Connection: upgrade\r\nUpgrade: h2c\r\n"), 200, "hello")
            .fields(&["!upgrade", "!connection"]),
        passed("response field: close is the upstream's own", "RFC 9112, section 9.6", ok!("Connection: close\r\n"), 200, "hello")
            .fields(&["!connection"])
            .spent(),
    ]
}

fn informational() -> Vec<ResponseCase> {
    macro_rules! then_ok {
        ($before:literal) => {
            concat!($before, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").as_bytes()
        };
    }
    let flood = [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000),
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
    ]
    .concat();
    vec![
        passed(
            "informational: 100 that was not asked for",
            INFORMATIONAL,
            then_ok!("HTTP/1.1 100 Continue\r\n\r\n"),
            200,
            "hello",
        ),
        passed(
            "informational: early hints to HTTP/1.1",
            "RFC 8297, section 2",
            then_ok!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
            200,
            "hello",
        )
        .informational(&[103]),
        passed(
            "informational: none to HTTP/1.0",
            INFORMATIONAL,
            then_ok!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
            200,
            "hello",
        )
        .to("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        .closed(),
        invalid("informational: a flood", INFORMATIONAL, &flood).informational(&[103; 32]),
        invalid("informational: and nothing more", INFORMATIONAL, b"HTTP/1.1 103 Early Hints\r\n\r\n")
            .informational(&[103])
            .end(End::Close),
        invalid(
            "informational: 101 that was not asked for",
            "RFC 9110, section 7.8",
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        .to(GET),
    ]
}
