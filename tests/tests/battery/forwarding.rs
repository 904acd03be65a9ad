//! What an intermediary takes out of a request, keeps in it, and refuses to do.

use crate::case::{Case, answered, forwarded, refused};

const HOP: &str = "RFC 9110, section 7.6.1";
const SEEN: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        forwarded("hop: close", HOP, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", SEEN).closed(),
        forwarded("hop: close in a list", HOP, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n", SEEN).closed(),
        forwarded("hop: close in a second field", HOP, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", SEEN)
            .closed(),
        forwarded(
            "hop: keep-alive and its fields",
            HOP,
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\r\n",
            SEEN,
        ),
        forwarded(
            "hop: keep-alive in HTTP/1.0",
            "RFC 9112, section 9.3",
            b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
            SEEN,
        ),
        forwarded(
            "hop: fields that the connection names",
            HOP,
            b"GET / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nConnection: x-one, X-Two\r\nX-Two: 2\r\nX-Three: 3\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx-three: 3\r\n\r\n",
        ),
        forwarded(
            "hop: a connection that names the length does not unframe the body",
            HOP,
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 37\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n..",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 37\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n..",
        ),
        forwarded(
            "hop: a connection that names the coding does not unframe the body",
            HOP,
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        ),
        forwarded("hop: a connection that names the host", HOP, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n", SEEN),
        forwarded(
            "hop: transfer codings that the client takes",
            "RFC 9110, section 10.1.4",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nTE: gzip\r\n\r\n",
            SEEN,
        ),
        forwarded(
            "hop: upgrade without connection",
            "RFC 9110, section 7.8",
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
            SEEN,
        ),
        forwarded(
            "upgrade: h2c is not taken up",
            "RFC 9113, section 3.1",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
            SEEN,
        ),
        forwarded(
            "upgrade: an unknown protocol is not taken up",
            "RFC 9110, section 7.8",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
            SEEN,
        ),
        refused(
            "websocket: the key is missing",
            "RFC 6455, section 4.2.1",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
        ),
        refused(
            "websocket: the key is not 16 bytes",
            "RFC 6455, section 4.2.1",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c2hvcnQ=\r\n\r\n",
        ),
        refused(
            "websocket: two keys",
            "RFC 6455, section 11.3.1",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        ),
        answered(
            "websocket: another version",
            "RFC 6455, section 4.2.2",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            426,
        )
        .open(),
        refused(
            "websocket: with POST",
            "RFC 6455, section 4.1",
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 0\r\n\r\n",
        ),
        refused(
            "websocket: with a body",
            "RFC 6455, section 4.1",
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 5\r\n\r\nhello",
        ),
        forwarded(
            "websocket: not in HTTP/1.0",
            "RFC 9110, section 7.8",
            b"GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
        )
        .closed(),
        forwarded(
            "expect: weir meets 100-continue itself, and takes nothing else for an expectation",
            "RFC 9110, section 10.1.1",
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
        forwarded(
            "expect: 100-continue",
            "RFC 9110, section 10.1.1",
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
    ]
}
