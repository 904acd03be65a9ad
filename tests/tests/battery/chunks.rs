//! The chunked coding of requests. The head and a first good chunk have reached the upstream when the bad bytes
//! come, so that it is certain what the upstream may see: these, and never an end of the body.

use crate::case::{After, Case, Step, forwarded};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const SEEN: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
const RULE: &str = "RFC 9112, section 7.1";

/// Bad bytes after a good chunk. A second request behind them must not be served.
fn bad(name: &'static str, bytes: &'static [u8]) -> Case {
    let mut bytes = bytes.to_vec();
    bytes.extend_from_slice(b"\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    Case {
        name,
        rule: RULE,
        client: vec![Step::Send(HEAD.into()), Step::Upstream("hello"), Step::Send(bytes.into())],
        answers: &[400],
        after: After::Closed,
        upstream: SEEN.into(),
    }
}

/// A chunk whose end is bad: its data, of the size that was announced, is on its way by then.
fn bad_end(name: &'static str, bytes: &'static [u8], seen: &str) -> Case {
    Case { upstream: format!("{SEEN}{seen}").into(), ..bad(name, bytes) }
}

/// Good bytes after a good chunk, and what the upstream gets for them.
fn good(name: &'static str, rule: &'static str, bytes: &'static [u8], seen: &str) -> Case {
    let client = vec![Step::Send(HEAD.into()), Step::Upstream("hello"), Step::Send(bytes.into())];
    let upstream = format!("{SEEN}{seen}").into();
    Case { name, rule, client, answers: &[200], after: After::Open, upstream }
}

pub(crate) fn cases() -> Vec<Case> {
    let long = [b"1;".as_slice(), &[b'x'; 20_000], b"\r\na"].concat();
    let mut all = vec![
        bad("chunk: the size is no number", b"g\r\n"),
        bad("chunk: the size has a minus sign", b"-1\r\na"),
        bad("chunk: the size has a plus sign", b"+1\r\na"),
        bad("chunk: the size has a prefix", b"0x1\r\na"),
        bad("chunk: a space before the size", b" 1\r\na"),
        bad("chunk: a space behind the size", b"1 \r\na"),
        bad("chunk: a tab behind the size", b"1\t\r\na"),
        bad("chunk: the size is missing", b"\r\na"),
        bad("chunk: the size is missing before an extension", b";x\r\na"),
        bad("chunk: the size is over 64 bits", b"10000000000000001\r\na"),
        bad("chunk: the size has very many digits", b"ffffffffffffffffffffffff\r\na"),
        bad("chunk: an underscore in the size", b"0_1\r\na"),
        bad("chunk: a list of sizes", b"1,1\r\na"),
        bad("chunk: the size line ends in LF", b"1\na"),
        bad("chunk: the size line ends in CR", b"1\ra"),
        bad("chunk: the size line ends in CR CR LF", b"1\r\r\na"),
        bad("chunk: the last chunk ends in LF", b"0\n"),
        bad_end("chunk: the data ends in LF", b"1\r\na\n1\r\nb", "1\r\na\r\n"),
        bad_end("chunk: the data ends in CR", b"1\r\na\r1\r\nb", "1\r\na\r\n"),
        bad_end("chunk: the data is longer than the size", b"1\r\nab", "1\r\na\r\n"),
        bad_end("chunk: the data is shorter than the size", b"3\r\na\r\nb", "3\r\na\r\n\r\n"),
        bad("chunk: LF in an extension", b"1;x\ny\r\na"),
        bad("chunk: CR in an extension", b"1;x\ry\r\na"),
        bad("chunk: NUL in an extension", b"1;x\0y\r\na"),
        bad("chunk: two bytes of CR and NUL for an end", b"1\r\0a"),
        bad("trailer: no colon", b"0\r\nx\r\n"),
        bad("trailer: a space before the colon", b"0\r\nx : y\r\n"),
        bad("trailer: a line that ends in LF", b"0\r\nx: y\n"),
        bad("trailer: folded", b"0\r\nx: y\r\n z\r\n"),
        bad("trailer: NUL", b"0\r\nx: \0\r\n"),
    ];
    let mut case = bad("chunk: an extension without end", b"");
    case.client.pop();
    case.client.push(Step::Send(long.into()));
    all.push(case);
    all.extend(ends());
    all
}

fn ends() -> Vec<Case> {
    vec![
        good("chunk: the end", RULE, b"0\r\n\r\n", "0\r\n\r\n"),
        good("chunk: leading zeros", RULE, b"0001\r\na\r\n000\r\n\r\n", "1\r\na\r\n0\r\n\r\n"),
        good("chunk: capital digits", RULE, b"A\r\n0123456789\r\n0\r\n\r\n", "a\r\n0123456789\r\n0\r\n\r\n"),
        good(
            "chunk: extensions are dropped",
            "RFC 9112, section 7.1.1",
            b"1;a=b;c=\"d\"\r\na\r\n0;e\r\n\r\n",
            "1\r\na\r\n0\r\n\r\n",
        ),
        good(
            "trailer: passed on",
            "RFC 9110, section 6.5.1",
            b"0\r\nX-Sum: 7\r\n\r\n",
            "0\r\nx-sum: 7\r\n\r\n",
        ),
        good(
            "trailer: framing and routing fields are dropped",
            "RFC 9110, section 6.5.1",
            b"0\r\nContent-Length: 3\r\nHost: b\r\nTransfer-Encoding: chunked\r\nX-Sum: 7\r\n\r\n",
            "0\r\nx-sum: 7\r\n\r\n",
        ),
        forwarded(
            "chunk: with GET",
            "RFC 9110, section 9.3.1",
            b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nb\r\n0\r\n\r\n",
        ),
        Case {
            name: "chunk: the client closes before the last chunk",
            rule: "RFC 9112, section 8",
            client: vec![Step::Send(HEAD.into()), Step::Upstream("hello"), Step::Finish],
            answers: &[400],
            after: After::Closed,
            upstream: SEEN.into(),
        },
    ]
}
