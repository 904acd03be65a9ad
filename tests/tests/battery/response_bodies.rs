//! How long a response body is, and what comes after it.

use crate::response_case::{End, ResponseCase, broken, invalid, passed};

const LENGTH: &str = "RFC 9112, section 6.3 (5)";
const BOTH: &str = "RFC 9112, section 6.1";
const CHUNK: &str = "RFC 9112, section 7.1";
const NONE: &str = "RFC 9112, section 6.3 (1)";
const CUT: &str = "RFC 9112, section 8";
const BEHIND: &str = "RFC 9112, section 6.3";

macro_rules! ok {
    ($fields:literal, $body:literal) => {
        concat!("HTTP/1.1 200 OK\r\n", $fields, "\r\n\r\n", $body).as_bytes()
    };
}

/// A response of chunks of which the first is good.
const CHUNKED: &[u8] = ok!("Transfer-Encoding: chunked", "5\r\nhello\r\n");

pub(crate) fn cases() -> Vec<ResponseCase> {
    let mut all = framing();
    all.extend(breaks());
    all.extend(none());
    all.extend(behind());
    all.extend(ends());
    all
}

fn framing() -> Vec<ResponseCase> {
    vec![
        invalid(
            "response length: two that differ",
            LENGTH,
            ok!("Content-Length: 5\r\nContent-Length: 4", "hello"),
        ),
        invalid(
            "response length: two that agree",
            LENGTH,
            ok!("Content-Length: 5\r\nContent-Length: 5", "hello"),
        ),
        invalid("response length: a list that differs", LENGTH, ok!("Content-Length: 5, 4", "hello")),
        invalid("response length: plus sign", LENGTH, ok!("Content-Length: +5", "hello")),
        invalid("response length: minus sign", LENGTH, ok!("Content-Length: -5", "hello")),
        invalid("response length: hexadecimal", LENGTH, ok!("Content-Length: 0x5", "hello")),
        invalid("response length: empty", LENGTH, ok!("Content-Length: ", "hello")),
        invalid(
            "response length: more than 64 bits",
            LENGTH,
            ok!("Content-Length: 18446744073709551621", "hello"),
        ),
        invalid(
            "response: length and coding",
            BOTH,
            ok!("Content-Length: 5\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        invalid("response coding: unknown", BOTH, ok!("Transfer-Encoding: gzip", "hello")),
        invalid(
            "response coding: unknown below chunked",
            BOTH,
            ok!("Transfer-Encoding: gzip, chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        invalid(
            "response coding: chunked is not the last",
            BOTH,
            ok!("Transfer-Encoding: chunked, gzip", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        invalid(
            "response coding: chunked twice",
            BOTH,
            ok!("Transfer-Encoding: chunked, chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        invalid(
            "response coding: a longer name",
            BOTH,
            ok!("Transfer-Encoding: xchunked", "5\r\nhello\r\n0\r\n\r\n"),
        ),
        invalid(
            "response coding: in HTTP/1.0",
            BOTH,
            b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
    ]
}

fn breaks() -> Vec<ResponseCase> {
    macro_rules! chunk {
        ($name:literal, $bad:literal) => {
            broken($name, CHUNK, CHUNKED, $bad, End::Keep)
        };
    }
    vec![
        chunk!("response chunk: the size is no number", b"g\r\n"),
        chunk!("response chunk: the size has a minus sign", b"-1\r\na\r\n"),
        chunk!("response chunk: the size is over 64 bits", b"10000000000000001\r\na\r\n"),
        chunk!("response chunk: the size line ends in LF", b"1\na\r\n0\r\n\r\n"),
        ResponseCase {
            answer: (200, "helloa"), // the chunk's data is on its way when its end is seen to be bad
            ..chunk!("response chunk: the data is longer than the size", b"1\r\nab\r\n0\r\n\r\n")
        },
        chunk!("response chunk: a bad trailer", b"0\r\nx\r\n\r\n"),
        broken("response: cut within the length", CUT, ok!("Content-Length: 9", "hello"), b"", End::Close),
        broken("response: reset within the length", CUT, ok!("Content-Length: 9", "hello"), b"", End::Reset),
        broken("response: cut between chunks", CUT, CHUNKED, b"", End::Close),
        broken(
            "response: cut within a chunk",
            CUT,
            ok!("Transfer-Encoding: chunked", "9\r\nhello"),
            b"",
            End::Close,
        ),
        broken("response: cut before the last empty line", CUT, CHUNKED, b"0\r\n", End::Close),
        broken("response: reset between chunks", CUT, CHUNKED, b"", End::Reset),
        broken(
            "response: reset where the end of the connection is the end",
            CUT,
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            b"",
            End::Reset,
        ),
    ]
}

fn none() -> Vec<ResponseCase> {
    const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    vec![
        passed("no body: HEAD with a length", NONE, ok!("Content-Length: 5", ""), 200, "")
            .to(HEAD)
            .fields(&["content-length: 5"]),
        passed("no body: HEAD that says chunked", NONE, ok!("Transfer-Encoding: chunked", ""), 200, "")
            .to(HEAD),
        passed("no body: HEAD that sends one", NONE, ok!("Content-Length: 5", "hello"), 200, "")
            .to(HEAD)
            .spent(),
        passed("no body: 204", NONE, b"HTTP/1.1 204 No Content\r\n\r\n", 204, "")
            .fields(&["!content-length", "!transfer-encoding"]),
        passed(
            "no body: 204 with a length",
            "RFC 9110, section 8.6",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            204,
            "",
        )
        .fields(&["!content-length"]),
        passed(
            "no body: 204 that sends one",
            NONE,
            b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
            204,
            "",
        )
        .spent(),
        passed(
            "no body: 204 that says chunked",
            BOTH,
            b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            204,
            "",
        )
        .fields(&["!transfer-encoding"]),
        passed(
            "no body: 304 with a length",
            "RFC 9110, section 8.6",
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n",
            304,
            "",
        )
        .fields(&["etag: \"x\""]),
        passed(
            "no body: 304 that sends one",
            NONE,
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
            304,
            "",
        )
        .spent(),
    ]
}

fn behind() -> Vec<ResponseCase> {
    vec![
        passed(
            "behind: rubbish after the length",
            BEHIND,
            ok!("Content-Length: 5", "hello and more"),
            200,
            "hello",
        )
        .spent(),
        passed(
            "behind: a second response nobody asked for",
            "RFC 9112, section 9.2",
            ok!("Content-Length: 5", "helloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
            200,
            "hello",
        )
        .spent(),
        passed(
            "behind: rubbish after the last chunk",
            BEHIND,
            ok!("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\nmore"),
            200,
            "hello",
        )
        .spent(),
        passed(
            "behind: a second response after the last chunk",
            "RFC 9112, section 9.2",
            ok!(
                "Transfer-Encoding: chunked",
                "5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
            ),
            200,
            "hello",
        )
        .spent(),
        passed(
            "behind: the upstream closes",
            "RFC 9112, section 9.3",
            ok!("Content-Length: 5", "hello"),
            200,
            "hello",
        )
        .end(End::Close),
    ]
}

fn ends() -> Vec<ResponseCase> {
    vec![
        passed(
            "end: chunks",
            CHUNK,
            ok!("Transfer-Encoding: chunked", "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n"),
            200,
            "hello",
        ),
        passed("end: a length of zero", LENGTH, ok!("Content-Length: 0", ""), 200, "")
            .fields(&["content-length: 0"]),
        passed(
            "end: the connection, HTTP/1.1",
            "RFC 9112, section 6.3 (8)",
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            200,
            "hello",
        )
        .end(End::Close),
        passed(
            "end: the connection, HTTP/1.0",
            "RFC 9112, section 6.3 (8)",
            b"HTTP/1.0 200 OK\r\n\r\nhello",
            200,
            "hello",
        )
        .end(End::Close)
        .fields(&["transfer-encoding: chunked"]),
        passed(
            "end: the connection, to an HTTP/1.0 client",
            "RFC 9112, section 6.1",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            200,
            "hello",
        )
        .to("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        .fields(&["!transfer-encoding"])
        .closed(),
        passed(
            "end: a length, HTTP/1.0 without keep-alive",
            "RFC 9112, section 9.3",
            b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            200,
            "hello",
        )
        .spent(),
        passed(
            "end: trailers",
            "RFC 9110, section 6.5",
            ok!("Trailer: x-sum\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n"),
            200,
            "hello",
        ),
    ]
}
