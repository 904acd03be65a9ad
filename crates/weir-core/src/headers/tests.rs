use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use weir_plugin::Captures;

use super::*;
use crate::spec::{Forwarded, HeaderEdits, ValueTemplate};

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        headers.append(HeaderName::try_from(*name).expect("a name"), value);
    }
    headers
}

/// The fields as `name: value`, sorted.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> =
        headers.iter().map(|(n, v)| format!("{n}: {}", String::from_utf8_lossy(v.as_bytes()))).collect();
    lines.sort();
    lines
}

#[test]
fn hop_by_hop_fields_are_removed() {
    for (name, fields, want) in [
        ("nothing to do", &[("host", "a"), ("x", "1")][..], &["host: a", "x: 1"][..]),
        (
            "all that there are",
            &[
                ("connection", "keep-alive, Upgrade"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "websocket"),
                ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
                ("te", "deflate"),
                ("trailer", "x-sum"),
                ("a", "b"),
            ],
            &["a: b", "trailer: x-sum"],
        ),
        (
            "what Connection names, in any case and on any line",
            &[
                ("connection", "X-One"),
                ("connection", " x-two ,,x-three"),
                ("x-one", "1"),
                ("x-two", "2"),
                ("x-two", "3"),
            ],
            &[],
        ),
        (
            "never what the other end needs",
            &[
                ("connection", "host, content-length, authorization, cookie, x-forwarded-for, via, close"),
                ("host", "a"),
                ("content-length", "1"),
                ("authorization", "b"),
                ("cookie", "c=d"),
                ("x-forwarded-for", "192.0.2.1"),
                ("via", "1.1 x"),
            ],
            &[
                "authorization: b",
                "content-length: 1",
                "cookie: c=d",
                "host: a",
                "via: 1.1 x",
                "x-forwarded-for: 192.0.2.1",
            ],
        ),
        ("names that are none", &[("connection", "a b, \u{e9}"), ("a", "1")], &["a: 1"]),
        ("trailers are accepted", &[("connection", "te"), ("te", "gzip;q=0.5, Trailers")], &["te: trailers"]),
        ("no trailers", &[("te", "trailersx, gzip")], &[]),
    ] {
        let mut headers = map(fields);
        remove_hop_by_hop(&mut headers);
        assert_eq!(lines(&headers), want, "{name}");
    }
}

#[test]
fn trailers_are_cleaned() {
    let mut trailers = map(&[
        ("grpc-status", "0"),
        ("x-sum", "1"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("host", "a"),
        ("if-match", "*"),
        ("set-cookie", "a=b"),
        ("x-forwarded-for", "192.0.2.1"),
        ("authorization", "x"),
    ]);
    clean_trailers(&mut trailers);
    assert_eq!(lines(&trailers), ["grpc-status: 0", "x-sum: 1"]);
}

fn nets(texts: &[&str]) -> Vec<ipnet::IpNet> {
    texts.iter().map(|text| text.parse().expect("a network")).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn the_client_is_the_first_that_is_not_trusted() {
    let trusted = nets(&["10.0.0.0/8", "2001:db8::/32"]);
    let xff = "x-forwarded-for";
    for (peer, fields, want) in [
        ("192.0.2.1", &[][..], "192.0.2.1"),
        ("192.0.2.1", &[(xff, "198.51.100.1")], "192.0.2.1"),
        ("::ffff:192.0.2.1", &[], "192.0.2.1"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("::ffff:10.0.0.1", &[(xff, "198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[(xff, "198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[(xff, "6.6.6.6, 198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[(xff, "6.6.6.6, 198.51.100.1,10.0.0.2 , 2001:db8::1")], "198.51.100.1"),
        ("10.0.0.1", &[(xff, "198.51.100.1"), (xff, "10.0.0.2")], "198.51.100.1"),
        ("10.0.0.1", &[(xff, "198.51.100.1"), (xff, "203.0.113.9")], "203.0.113.9"),
        ("10.0.0.1", &[(xff, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        ("10.0.0.1", &[(xff, "198.51.100.1, unknown, 10.0.0.2")], "10.0.0.2"),
        ("10.0.0.1", &[(xff, "")], "10.0.0.1"),
        ("10.0.0.1", &[(xff, "198.51.100.1, \u{e9}")], "10.0.0.1"),
        ("10.0.0.1", &[(xff, "198.51.100.1:4711")], "198.51.100.1"),
        ("10.0.0.1", &[(xff, "[2001:db9::1]:80")], "2001:db9::1"),
        ("10.0.0.1", &[(xff, "[2001:db9::1]")], "2001:db9::1"),
        ("10.0.0.1", &[(xff, "2001:db9::1")], "2001:db9::1"),
        ("10.0.0.1", &[("forwarded", "for=198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[("forwarded", "For=\"[2001:db9::1]:80\";proto=https")], "2001:db9::1"),
        (
            "10.0.0.1",
            &[("forwarded", "for=6.6.6.6, proto=http; for=198.51.100.1, for=10.0.0.2")],
            "198.51.100.1",
        ),
        ("10.0.0.1", &[("forwarded", "for=198.51.100.1;by=\"a,for=6.6.6.6\"")], "198.51.100.1"),
        ("10.0.0.1", &[("forwarded", "for=198.51.100.1, for=_hidden")], "10.0.0.1"),
        ("10.0.0.1", &[("forwarded", "for=198.51.100.1, by=10.0.0.2")], "10.0.0.1"),
        ("10.0.0.1", &[("forwarded", "for=6.6.6.6"), (xff, "198.51.100.1")], "198.51.100.1"),
        // What a client sends cannot hide the address that a proxy adds behind it.
        ("10.0.0.1", &[(xff, "\u{e9}, 198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[("forwarded", "for=\u{e9}, for=198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[("forwarded", "for=\", for=198.51.100.1")], "198.51.100.1"),
        ("10.0.0.1", &[("forwarded", "for=\"\\, for=\"[2001:db9::1]\";by=\"a\\\", b\"")], "2001:db9::1"),
        ("10.0.0.1", &[("forwarded", "for=198.51.100.1;by=\"a\\\\\", for=10.0.0.2")], "198.51.100.1"),
    ] {
        assert_eq!(
            client_address(Some(ip(peer)), &map(fields), &trusted),
            Some(ip(want)),
            "{peer} {fields:?}"
        );
    }
    assert_eq!(client_address(None, &map(&[(xff, "192.0.2.1")]), &trusted), None);
}

#[test]
fn forwarding_fields_are_appended_to_or_replaced() {
    let all = Forwarded { x_forwarded: true, forwarded: true, x_real_ip: true };
    let none = Forwarded { x_forwarded: false, forwarded: false, x_real_ip: false };
    let default = Forwarded::default();
    let sent = &[
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "public.example"),
        ("x-forwarded-port", "443"),
        ("x-real-ip", "6.6.6.6"),
        ("forwarded", "for=198.51.100.1"),
    ][..];
    for (name, fields, (peer, tls, trusted, policy), want) in [
        (
            "nothing sent",
            &[][..],
            ("192.0.2.1", true, false, default),
            &[
                "x-forwarded-for: 192.0.2.1",
                "x-forwarded-host: a.example:8080",
                "x-forwarded-proto: https",
                "x-real-ip: 192.0.2.1",
            ][..],
        ),
        (
            "an untrusted client's are replaced",
            sent,
            ("192.0.2.1", false, false, default),
            &[
                "x-forwarded-for: 192.0.2.1",
                "x-forwarded-host: a.example:8080",
                "x-forwarded-proto: http",
                "x-real-ip: 192.0.2.1",
            ],
        ),
        ("or only removed", sent, ("192.0.2.1", false, false, none), &[]),
        (
            "a trusted one's are kept and appended to",
            sent,
            ("10.0.0.1", false, true, all),
            &[
                "forwarded: for=198.51.100.1, for=10.0.0.1;host=\"a.example:8080\";proto=http",
                "x-forwarded-for: 198.51.100.1, 10.0.0.1",
                "x-forwarded-host: public.example",
                "x-forwarded-port: 443",
                "x-forwarded-proto: https",
                "x-real-ip: 198.51.100.1",
            ],
        ),
        (
            "many lines become one",
            &[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "10.0.0.2")],
            ("10.0.0.1", false, true, Forwarded { x_real_ip: false, ..default }),
            &[
                "x-forwarded-for: 198.51.100.1, 10.0.0.2, 10.0.0.1",
                "x-forwarded-host: a.example:8080",
                "x-forwarded-proto: http",
            ],
        ),
        (
            "IPv6",
            &[],
            ("2001:db8::1", true, false, Forwarded { forwarded: true, x_forwarded: false, x_real_ip: true }),
            &[
                "forwarded: for=\"[2001:db8::1]\";host=\"a.example:8080\";proto=https",
                "x-real-ip: 2001:db8::1",
            ],
        ),
        (
            "IPv4 in IPv6",
            &[],
            ("::ffff:192.0.2.1", true, false, Forwarded { x_forwarded: false, ..default }),
            &["x-real-ip: 192.0.2.1"],
        ),
    ] {
        let mut headers = map(fields);
        let sender = Sender::new(Some(ip(peer)), tls);
        let client = client_address(sender.address, &headers, &nets(&["10.0.0.0/8"]));
        headers.insert("host", HeaderValue::from_static("a.example:8080"));
        set_forwarded(&mut headers, &sender, trusted, client, &policy);
        headers.remove("host");
        assert_eq!(lines(&headers), want, "{name}");
    }
}

#[test]
fn a_client_on_a_unix_socket_has_no_address() {
    let mut headers = map(&[("x-forwarded-for", "6.6.6.6"), ("x-real-ip", "6.6.6.6"), ("host", "a")]);
    let policy = Forwarded { x_forwarded: true, forwarded: true, x_real_ip: true };
    set_forwarded(&mut headers, &Sender::new(None, false), false, None, &policy);
    assert_eq!(
        lines(&headers),
        [
            "forwarded: for=unknown;host=a;proto=http",
            "host: a",
            "x-forwarded-host: a",
            "x-forwarded-proto: http"
        ]
    );
}

#[test]
fn via_is_appended() {
    for (fields, version, name, want) in [
        (&[][..], Version::HTTP_11, "weir", &["via: 1.1 weir"][..]),
        (&[], Version::HTTP_2, "weir", &["via: 2 weir"]),
        (&[], Version::HTTP_10, "edge", &["via: 1.0 edge"]),
        (&[("via", "1.0 fred")], Version::HTTP_11, "weir", &["via: 1.0 fred", "via: 1.1 weir"]),
    ] {
        let mut headers = map(fields);
        via(&mut headers, version, name);
        assert_eq!(lines(&headers), want);
    }
}

#[test]
fn request_ids_are_kept_from_trusted_clients_only() {
    let name = HeaderName::from_static("x-request-id");
    let long = "a".repeat(129);
    for (sent, trusted, kept) in [
        (&["abc-1.2:3"][..], true, true),
        (&["abc-1"], false, false),
        (&[], true, false),
        (&[""], true, false),
        (&["a b"], true, false),
        (&["a\"b"], true, false),
        (&[&long], true, false),
        (&["one", "two"], true, true),
    ] {
        let fields: Vec<(&str, &str)> = sent.iter().map(|value| ("x-request-id", *value)).collect();
        let mut headers = map(&fields);
        let id = request_id(&mut headers, &name, trusted);
        assert_eq!(headers.get_all(&name).iter().collect::<Vec<_>>(), [&id], "{sent:?}");
        if kept {
            assert_eq!(Some(&id.to_str().expect("plain")), sent.first());
        } else {
            assert_eq!(id.len(), 32);
            assert!(id.as_bytes().iter().all(u8::is_ascii_hexdigit));
        }
    }
    assert_ne!(new_request_id(), new_request_id());
}

#[test]
fn there_is_exactly_one_host() {
    let (h1, h2, h10) = (Version::HTTP_11, Version::HTTP_2, Version::HTTP_10);
    for (version, uri, hosts, want) in [
        (h1, "/", &["a.example"][..], Ok("a.example")),
        (h1, "/", &["a.example:8080"], Ok("a.example:8080")),
        (h1, "/", &["a.example:"], Ok("a.example:")),
        (h1, "/", &["[2001:db8::1]:80"], Ok("[2001:db8::1]:80")),
        (h1, "/", &["a_b-c.d~%41"], Ok("a_b-c.d~%41")),
        (h1, "/", &[], Err("no Host field")),
        (h1, "/", &["a", "a"], Err("more than one")),
        (h1, "/", &["a", "b"], Err("more than one")),
        (h1, "/", &[""], Err("bad syntax of Host")),
        (h1, "/", &[":80"], Err("bad syntax of Host")),
        (h1, "/", &["a b"], Err("bad syntax of Host")),
        (h1, "/", &["a,b"], Err("bad syntax of Host")),
        (h1, "/", &["a/b"], Err("bad syntax of Host")),
        (h1, "/", &["u@a"], Err("bad syntax of Host")),
        (h1, "/", &["a:x"], Err("bad syntax of Host")),
        (h1, "/", &["a:65536"], Err("bad syntax of Host")),
        (h1, "/", &["a:80:80"], Err("bad syntax of Host")),
        (h1, "/", &["[::1"], Err("bad syntax of Host")),
        (h1, "/", &["[::1]x"], Err("bad syntax of Host")),
        (h1, "/", &["[a]"], Err("bad syntax of Host")),
        (h1, "/", &["a%4"], Err("bad syntax of Host")),
        (h1, "/", &["\u{e9}"], Err("bad syntax of Host")),
        // RFC 9112, section 3.2.2
        (h1, "http://a.example/", &["A.Example"], Ok("A.Example")),
        (h1, "http://a.example/", &["a.example:80"], Ok("a.example:80")),
        (h1, "https://a.example:443/", &["a.example"], Ok("a.example")),
        (h1, "http://a.example/", &["a.example:443"], Err("differ")),
        (h1, "http://a.example/", &["b.example"], Err("differ")),
        (h1, "http://u@a.example/", &["a.example"], Err("target's authority")),
        (h1, "http://a.example/", &[], Err("no Host field")),
        // RFC 9113, section 8.3.1
        (h2, "https://a.example/", &[], Ok("a.example")),
        (h2, "https://a.example/", &["a.example"], Ok("a.example")),
        (h2, "https://a.example/", &["b.example"], Err("differ")),
        (h2, "https://a.example/", &["a.example", "a.example"], Err("more than one")),
        (h2, "/", &["a.example"], Ok("a.example")),
        (h2, "/", &[], Err("no Host field")),
        (h10, "/", &[], Ok("")),
        (h10, "http://a.example/", &[], Ok("a.example")),
    ] {
        let fields: Vec<(&str, &str)> = hosts.iter().map(|host| ("host", *host)).collect();
        let mut headers = map(&fields);
        let uri: Uri = uri.parse().expect("a target");
        let result = check_host(&mut headers, &uri, version);
        match (result, want) {
            (Ok(()), Ok(host)) => {
                assert_eq!(headers.get_all("host").iter().collect::<Vec<_>>(), [host], "{uri} {hosts:?}");
            }
            (Err(error), Err(detail)) => assert!(error.detail().contains(detail), "{uri} {hosts:?}: {error}"),
            (result, want) => panic!("{uri} {hosts:?}: {result:?}, not {want:?}"),
        }
    }
}

#[test]
fn the_host_to_route_by_has_no_port() {
    for (host, want) in [
        ("a.example:8080", "a.example"),
        ("a.example.", "a.example"),
        ("a.example.:80", "a.example"),
        ("[2001:db8::1]:80", "[2001:db8::1]"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("", ""),
    ] {
        assert_eq!(host_name(&map(&[("host", host)])), want);
    }
    assert_eq!(host_name(&HeaderMap::new()), "");
}

#[test]
fn edits_remove_then_set_then_add() {
    let captures: Captures = vec![("id".into(), "7".into()), ("host".into(), "captured".into())];
    let facts = Facts {
        client: Some(ip("192.0.2.1")),
        host: "a.example",
        scheme: "https",
        path: "/p",
        query: "q=1",
        request_id: "rid",
        route: "r",
        captures: &captures,
    };
    let name = |text| HeaderName::try_from(text).expect("a name");
    let template = |text| ValueTemplate::parse(text).expect("a template");
    let edits = HeaderEdits {
        remove: vec![name("x-old"), name("x-set"), name("host")],
        set: vec![
            (name("x-set"), template("fixed")),
            (
                name("x-all"),
                template("{client_ip} {host} {scheme} {path}?{query} {request_id} {route} {id}{none}"),
            ),
            (name("content-length"), template("1")),
        ],
        add: vec![(name("x-add"), template("two")), (name("x-old"), template("new"))],
    };
    let mut headers = map(&[("x-old", "1"), ("x-set", "1"), ("x-set", "2"), ("x-add", "one"), ("host", "h")]);
    edit(&mut headers, &edits, &facts);
    assert_eq!(
        lines(&headers),
        [
            "host: h",
            "x-add: one",
            "x-add: two",
            "x-all: 192.0.2.1 a.example https /p?q=1 rid r 7",
            "x-old: new",
            "x-set: fixed",
        ]
    );
}

#[test]
fn only_known_names_are_filled_in() {
    let value = |name: &str| (name == "a").then(|| "1".into());
    for (text, want) in [
        ("{a}{a}", "11"),
        ("{b}{a}", "{b}1"),
        ("{", "{"),
        ("{a", "{a"),
        ("p{c:d}{a}", "p{c:d}1"),
        ("{{a}}", "{1}"),
    ] {
        assert_eq!(fill(text, value), want);
    }
}
