//! How long a request body is: `Content-Length` and `Transfer-Encoding`.

use crate::case::{After, Case, Step, answered, forwarded, refused};

/// A request that is smuggled behind an ambiguous one in some of the cases; it must reach nobody.
macro_rules! smuggled {
    ($head:literal) => {
        concat!($head, "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()
    };
}

const LENGTH: &str = "RFC 9112, section 6.3 (5)";
const BOTH: &str = "RFC 9112, section 6.1";
const CODING: &str = "RFC 9112, section 6.3 (4)";

pub(crate) fn cases() -> Vec<Case> {
    let mut all = lengths();
    all.extend(codings());
    all.extend(both());
    all.extend(good());
    all
}

fn lengths() -> Vec<Case> {
    macro_rules! length {
        ($name:literal, $fields:literal) => {
            refused(
                $name,
                LENGTH,
                concat!("POST / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n\r\nhello").as_bytes(),
            )
        };
    }
    vec![
        length!("length: two that differ", "Content-Length: 5\r\nContent-Length: 6"),
        length!(
            "length: two that differ, the second within the first",
            "Content-Length: 5\r\nContent-Length: 0"
        ),
        length!("length: two that agree", "Content-Length: 5\r\nContent-Length: 5"),
        length!("length: a list that agrees", "Content-Length: 5, 5"),
        length!("length: a list with odd spaces", "Content-Length: 5 , 5"),
        length!("length: a list that differs", "Content-Length: 5, 0"),
        length!("length: a list with an empty element", "Content-Length: 5,"),
        length!("length: plus sign", "Content-Length: +5"),
        length!("length: minus sign", "Content-Length: -5"),
        length!("length: minus zero", "Content-Length: -0"),
        length!("length: hexadecimal", "Content-Length: 0x5"),
        length!("length: a letter behind", "Content-Length: 5a"),
        length!("length: a space within", "Content-Length: 0 5"),
        length!("length: a fraction", "Content-Length: 5.0"),
        length!("length: an exponent", "Content-Length: 5e0"),
        length!("length: an underscore within", "Content-Length: 0_5"),
        length!("length: quoted", "Content-Length: \"5\""),
        length!("length: empty", "Content-Length: "),
        length!("length: more than 64 bits", "Content-Length: 18446744073709551621"),
        length!("length: very many digits", "Content-Length: 55555555555555555555555555555555555555555"),
        length!("length: a digit that is not ASCII", "Content-Length: \u{ff15}"),
        length!("length: a superscript digit", "Content-Length: \u{b2}"),
        length!("length: a space before the colon", "Content-Length : 5"),
        length!("length: a tab before the colon", "Content-Length\t: 5"),
        length!("length: folded onto the next line", "Content-Length:\r\n 5"),
        length!("length: a vertical tab before it", "Content-Length: \x0b5"),
        length!("length: a semicolon behind", "Content-Length: 5;x"),
    ]
}

fn codings() -> Vec<Case> {
    macro_rules! coding {
        ($name:literal, $fields:literal) => {
            refused(
                $name,
                CODING,
                concat!("POST / HTTP/1.1\r\nHost: a\r\n", $fields, "\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
                    .as_bytes(),
            )
        };
    }
    vec![
        coding!("coding: chunked twice in one field", "Transfer-Encoding: chunked, chunked"),
        coding!("coding: chunked in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        coding!(
            "coding: chunked and identity in two fields",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"
        ),
        coding!("coding: chunked is not the last", "Transfer-Encoding: chunked, gzip"),
        coding!("coding: gzip alone", "Transfer-Encoding: gzip"),
        coding!("coding: identity", "Transfer-Encoding: identity"),
        coding!("coding: a longer name", "Transfer-Encoding: xchunked"),
        coding!("coding: chunked with a parameter", "Transfer-Encoding: chunked;x=1"),
        coding!("coding: chunked in quotes", "Transfer-Encoding: \"chunked\""),
        coding!("coding: empty", "Transfer-Encoding: "),
        coding!("coding: a comma before it", "Transfer-Encoding: ,chunked"),
        coding!("coding: a comma behind it", "Transfer-Encoding: chunked,"),
        coding!("coding: a vertical tab before it", "Transfer-Encoding: \x0bchunked"),
        coding!("coding: a control character behind it", "Transfer-Encoding: chunked\x01"),
        coding!("coding: a no-break space behind it", "Transfer-Encoding: chunked\u{a0}"),
        coding!("coding: a space before the colon", "Transfer-Encoding : chunked"),
        coding!("coding: a tab before the colon", "Transfer-Encoding\t: chunked"),
        coding!("coding: folded onto the next line", "Transfer-Encoding:\r\n chunked"),
        coding!("coding: folded behind another field", "X: y\r\n Transfer-Encoding: chunked"),
        coding!("coding: the name has a NUL", "Transfer\0-Encoding: chunked"),
        refused(
            "coding: in an HTTP/1.0 request",
            BOTH,
            b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        answered(
            "coding: gzip below chunked",
            "RFC 9112, section 6.1",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            501,
        ),
    ]
}

fn both() -> Vec<Case> {
    vec![
        refused(
            "both: length first",
            BOTH,
            smuggled!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
        ),
        refused(
            "both: coding first",
            BOTH,
            smuggled!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 44\r\n\r\n"
            ),
        ),
        refused(
            "both: length zero",
            BOTH,
            smuggled!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
        ),
        refused(
            "both: with a method that usually has no body",
            BOTH,
            smuggled!("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ),
        refused(
            "both: the coding is unknown",
            BOTH,
            smuggled!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n"),
        ),
        refused(
            "both: the coding has a space before its colon",
            BOTH,
            smuggled!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n"
            ),
        ),
    ]
}

fn good() -> Vec<Case> {
    const HELLO: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    const CHUNKED: &str =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    vec![
        forwarded(
            "length: a body behind it",
            "RFC 9112, section 6.2",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            HELLO,
        ),
        forwarded(
            "length: spaces and tabs around it are no part of it",
            "RFC 9110, section 5.5",
            b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length:\t 5 \t\r\n\r\nhello",
            HELLO,
        ),
        forwarded(
            "length: zero",
            "RFC 9110, section 8.6",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        ),
        forwarded(
            "length: with GET",
            "RFC 9110, section 9.3.1",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
        ),
        forwarded(
            "coding: chunked",
            "RFC 9112, section 7.1",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            CHUNKED,
        ),
        forwarded(
            "coding: names are case-insensitive",
            "RFC 9112, section 7",
            b"POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            CHUNKED,
        ),
        Case {
            name: "length: the client closes before the end of the body",
            rule: "RFC 9112, section 8",
            client: vec![
                Step::Send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhello"[..].into()),
                Step::Upstream("hello"),
                Step::Finish,
            ],
            answers: &[400],
            after: After::Closed,
            upstream: "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhello".into(),
        },
    ]
}
