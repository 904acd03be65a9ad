//! `Host` and the forms of a request target.

use crate::case::{Case, answered, forwarded, refused};

const HOST: &str = "RFC 9112, section 3.2";
const TARGET: &str = "RFC 9112, section 3.2.1";
const PATH: &str = "RFC 3986, section 3.3";
const SEEN: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    let mut all = hosts();
    all.extend(targets());
    all.extend(paths());
    all
}

fn hosts() -> Vec<Case> {
    macro_rules! host {
        ($name:literal, $fields:literal) => {
            refused($name, HOST, concat!("GET / HTTP/1.1\r\n", $fields, "\r\n").as_bytes())
        };
    }
    vec![
        host!("host: missing", ""),
        host!("host: two that differ", "Host: a\r\nHost: b\r\n"),
        host!("host: two that agree", "Host: a\r\nHost: a\r\n"),
        host!("host: empty", "Host:\r\n"),
        host!("host: a list", "Host: a, b\r\n"),
        host!("host: a space within", "Host: a b\r\n"),
        host!("host: a path", "Host: a/b\r\n"),
        host!("host: user information", "Host: u@a\r\n"),
        host!("host: a scheme", "Host: http://a\r\n"),
        host!("host: a port that is no number", "Host: a:b\r\n"),
        host!("host: a port over 65535", "Host: a:65536\r\n"),
        host!("host: two ports", "Host: a:1:2\r\n"),
        host!("host: a bracket that is not closed", "Host: [::1\r\n"),
        host!("host: brackets around no address", "Host: [a]\r\n"),
        host!("host: a question mark", "Host: a?b\r\n"),
        host!("host: a fragment", "Host: a#b\r\n"),
        host!("host: only a port", "Host: :80\r\n"),
        forwarded(
            "host: with a port",
            HOST,
            b"GET / HTTP/1.1\r\nHost: a:80\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a:80\r\n\r\n",
        ),
        forwarded(
            "host: IPv6",
            HOST,
            b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n",
        ),
        forwarded(
            "host: HTTP/1.0 with one",
            "RFC 9112, appendix C.1",
            b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            SEEN,
        )
        .closed(),
    ]
}

fn targets() -> Vec<Case> {
    vec![
        forwarded(
            "target: absolute form",
            "RFC 9112, section 3.2.2",
            b"GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /b?c HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        forwarded(
            "target: absolute form without a path",
            "RFC 9112, section 3.2.2",
            b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
            SEEN,
        ),
        refused(
            "target: absolute form that contradicts the host",
            "RFC 9112, section 3.2.2",
            b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        refused("target: absolute form without a host", HOST, b"GET http://a/ HTTP/1.1\r\n\r\n"),
        refused(
            "target: absolute form with user information",
            "RFC 9110, section 4.2.4",
            b"GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        refused(
            "target: another scheme",
            "RFC 9112, section 3.2.2",
            b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        refused(
            "target: authority form with GET",
            "RFC 9112, section 3.2.3",
            b"GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n",
        ),
        refused("target: no slash at the front", TARGET, b"GET b HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("target: a query without a path", TARGET, b"GET ?b HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("target: asterisk with GET", "RFC 9112, section 3.2.4", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("target: a fragment", TARGET, b"GET /b#c HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("target: a fragment in the query", TARGET, b"GET /?b#c HTTP/1.1\r\nHost: a\r\n\r\n"),
        answered("target: TRACE", "RFC 9110, section 9.3.8", b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405)
            .open(),
        answered(
            "target: CONNECT",
            "RFC 9110, section 9.3.6",
            b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
            405,
        )
        .open(),
        answered(
            "target: CONNECT with a path",
            "RFC 9110, section 9.3.6",
            b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
            405,
        )
        .open(),
        forwarded(
            "target: asterisk with OPTIONS",
            "RFC 9112, section 3.2.4",
            b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        forwarded(
            "target: the query stays as it is",
            "RFC 3986, section 3.4",
            b"GET /?a=%2f&b=../c&d=%zz&&?/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /?a=%2f&b=../c&d=%zz&&?/ HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
    ]
}

fn paths() -> Vec<Case> {
    vec![
        refused(
            "path: a percent sign without digits",
            "RFC 3986, section 2.1",
            b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        refused(
            "path: a percent sign at the end",
            "RFC 3986, section 2.1",
            b"GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        refused("path: an encoded NUL", PATH, b"GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused("path: a dot segment with a parameter", PATH, b"GET /a/..;/b HTTP/1.1\r\nHost: a\r\n\r\n"),
        forwarded(
            "path: dot segments are resolved",
            "RFC 3986, section 5.2.4",
            b"GET /a/./b/../../../c/%2e%2E/d HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /d HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        forwarded(
            "path: unreserved characters are decoded",
            "RFC 3986, section 6.2.2.2",
            b"GET /%61%7E%2d%2f HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a~-%2F HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
        forwarded(
            "path: two slashes stay",
            PATH,
            b"GET //b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET //b HTTP/1.1\r\nhost: a\r\n\r\n",
        ),
    ]
}
