//! Request lines and header fields.

use crate::case::{Case, answered, forwarded, refused};

const LINE: &str = "RFC 9112, section 3";
const FIELD: &str = "RFC 9112, section 5.1";
const VALUE: &str = "RFC 9110, section 5.5";
const SEEN: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    let mut all = lines();
    all.extend(fields());
    all.extend(sizes());
    all.extend(pipelines());
    all
}

fn lines() -> Vec<Case> {
    vec![
        refused("line: ends in LF", "RFC 9112, section 2.2", b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
        refused("line: ends in CR", "RFC 9112, section 2.2", b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
        refused("line: two spaces before the target", LINE, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("line: two spaces behind the target", LINE, b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("line: a tab before the target", LINE, b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("line: a space in the target", LINE, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("line: a space before the method", LINE, b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("line: a space behind the version", LINE, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        refused("line: no target", LINE, b"GET HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("line: no version (HTTP/0.9)", LINE, b"GET /\r\n\r\n"),
        refused("line: a version in small letters", LINE, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
        refused("line: a version without a minor number", LINE, b"GET / HTTP/1\r\nHost: a\r\n\r\n"),
        refused("line: a version with two digits", LINE, b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
        refused("line: another protocol", LINE, b"GET / FTP/1.1\r\nHost: a\r\n\r\n"),
        answered("line: HTTP/1.2", "RFC 9110, section 15.6.6", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        answered("line: HTTP/2.0", "RFC 9110, section 15.6.6", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        answered("line: HTTP/0.9", "RFC 9110, section 15.6.6", b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        refused(
            "line: a method that is no token",
            "RFC 9110, section 9.1",
            b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        refused("line: a control character in the target", LINE, b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("line: NUL in the target", LINE, b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("line: empty lines without end", "RFC 9112, section 2.2", &[b'\n'; 5000]),
        refused(
            "line: a TLS client on a plain port",
            LINE,
            b"\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03\r\n\r\n",
        ),
        forwarded(
            "line: an empty line before it is ignored",
            "RFC 9112, section 2.2",
            b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            SEEN,
        ),
        forwarded(
            "line: methods are case-sensitive and passed on",
            "RFC 9110, section 9.1",
            b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
            "get / HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        forwarded(
            "line: an unknown method is passed on",
            "RFC 9110, section 9.1",
            b"PURGE / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PURGE / HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
    ]
}

fn fields() -> Vec<Case> {
    vec![
        refused("field: ends in LF", "RFC 9112, section 2.2", b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        refused("field: the head ends in LF LF", "RFC 9112, section 2.2", b"GET / HTTP/1.1\r\nHost: a\n\n"),
        refused(
            "field: the head ends in CR LF LF",
            "RFC 9112, section 2.2",
            b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        ),
        refused("field: CR in a value", VALUE, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n"),
        refused("field: CR CR LF", VALUE, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n"),
        refused("field: NUL in a value", VALUE, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n"),
        refused(
            "field: a control character in a value",
            VALUE,
            b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x08z\r\n\r\n",
        ),
        refused("field: DEL in a value", VALUE, b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x7fz\r\n\r\n"),
        refused("field: a space before the colon", FIELD, b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n"),
        refused("field: a tab before the colon", FIELD, b"GET / HTTP/1.1\r\nHost: a\r\nX\t: y\r\n\r\n"),
        refused("field: no name", FIELD, b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n"),
        refused("field: no colon", FIELD, b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        refused("field: a name that is no token", FIELD, b"GET / HTTP/1.1\r\nHost: a\r\nX(1): y\r\n\r\n"),
        refused(
            "field: a name that is not ASCII",
            FIELD,
            b"GET / HTTP/1.1\r\nHost: a\r\n\xc3\xa9: y\r\n\r\n",
        ),
        refused("field: NUL in a name", FIELD, b"GET / HTTP/1.1\r\nHost: a\r\nX\0Y: y\r\n\r\n"),
        refused(
            "field: folded with a space",
            "RFC 9112, section 5.2",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
        ),
        refused(
            "field: folded with a tab",
            "RFC 9112, section 5.2",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n\r\n",
        ),
        refused(
            "field: a folded line that is empty",
            "RFC 9112, section 5.2",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n \r\n\r\n",
        ),
        refused(
            "field: a space before the first one",
            "RFC 9112, section 2.2",
            b"GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n",
        ),
        forwarded(
            "field: a value beyond ASCII is opaque",
            VALUE,
            b"GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: \u{e9}\r\n\r\n",
        ),
        forwarded(
            "field: a tab within a value stays",
            VALUE,
            b"GET / HTTP/1.1\r\nHost: a\r\nX: y\tz\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: y\tz\r\n\r\n",
        ),
        forwarded(
            "field: empty and repeated values stay in order",
            "RFC 9110, section 5.3",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nX:\r\nX: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\nx: \r\nx: 2\r\n\r\n",
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let target = [b"GET /", [b'a'; 5000].as_slice(), b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
    let value = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", [b'a'; 5000].as_slice(), b"\r\n\r\n"].concat();
    let endless = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", [b'a'; 5000].as_slice()].concat();
    let many = [b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec(), b"X: y\r\n".repeat(20), b"\r\n".to_vec()].concat();
    let rule = "RFC 6585, section 5";
    vec![
        answered("size: a long target", "RFC 9112, section 3", b"", 414).sending(target),
        answered("size: a long field", rule, b"", 431).sending(value),
        answered("size: a field without end", rule, b"", 431).sending(endless),
        answered("size: too many fields", rule, b"", 431).sending(many),
    ]
}

fn pipelines() -> Vec<Case> {
    let rule = "RFC 9112, section 9.3.2";
    vec![
        forwarded(
            "pipeline: answered in order",
            rule,
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n2GET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n2GET /3 HTTP/1.1\r\nhost: a\r\n\r\n",
        )
        .answers(&[200, 200, 200]),
        forwarded(
            "pipeline: a bad request behind a good one",
            rule,
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost : a\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
            SEEN,
        )
        .answers(&[200, 400])
        .closed(),
        refused(
            "pipeline: a good request behind a bad one",
            rule,
            b"GET / HTTP/1.1\r\nHost : a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        forwarded(
            "pipeline: nothing is served after close",
            "RFC 9112, section 9.6",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            SEEN,
        )
        .closed(),
        forwarded(
            "pipeline: rubbish behind a body",
            "RFC 9112, section 6.3",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhello\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhe",
        )
        .answers(&[200, 400])
        .closed(),
    ]
}
