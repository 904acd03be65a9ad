//! The parts of a request that decide where it goes and whose it is said to be.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{FORWARDED, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Uri, Version};
use percent_encoding::percent_decode_str;

use super::fields;
use crate::headers::{self, Sender};
use crate::path;
use crate::spec::{Forwarded, PathPolicy, PathRewrite, PathRule};

const RULES: [PathRule; 3] = [PathRule::Keep, PathRule::Normalise, PathRule::Reject];

/// A path, under every policy.
pub fn path(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    for dot_segments in RULES {
        for encoded_slashes in RULES {
            for double_slashes in RULES {
                normalised(raw, &PathPolicy { dot_segments, encoded_slashes, double_slashes });
            }
        }
    }
}

fn normalised(raw: &str, policy: &PathPolicy) {
    let Ok(path) = path::normalise(raw, policy) else { return };
    assert_eq!(path::normalise(&path, policy).as_deref(), Ok(&*path), "once is enough: {policy:?}");
    if path == "*" {
        assert_eq!(raw, "*");
        return;
    }
    assert!(path.starts_with('/'), "{path}");
    assert!(path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'#' | b'?' | b'\\')), "{path}");
    for (at, _) in path.match_indices('%') {
        let digits = path.as_bytes().get(at + 1..at + 3).expect("two digits follow a percent sign");
        assert!(digits.iter().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b)), "{path}");
        assert_ne!(digits, b"00", "{path}");
    }
    let decoded: Vec<u8> = percent_decode_str(&path).collect();
    if policy.dot_segments != PathRule::Keep {
        // Also for a server that decodes once more, takes a backslash for a slash, and drops parameters first.
        let climbs = |segment: &[u8]| segment == b"..";
        assert!(!decoded.split(|b| matches!(b, b'/' | b'\\')).any(climbs), "{path} climbs: {policy:?}");
        for segment in path.split('/') {
            assert_ne!(segment.split(';').next(), Some(".."), "{path} climbs: {policy:?}");
        }
    }
    if policy.encoded_slashes != PathRule::Keep {
        assert!(!path.contains("%2F") && !path.contains("%5C"), "{path}");
    }
    if policy.double_slashes != PathRule::Keep {
        assert!(!path.contains("//"), "{path}");
    }
    let strip = Some("/a/".into());
    let rewrite = PathRewrite { strip_prefix: strip, replace: None, add_prefix: Some("/b".into()) };
    let rewritten = path::rewrite(&path, &rewrite, |_| None::<Cow<'_, str>>);
    assert!(rewritten.starts_with("/b/"), "{rewritten}");
}

/// A target's authority, a line feed, and a `Host`; either may be left out.
pub fn host(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let (authority, host) = (parts.next().unwrap_or_default(), parts.next());
    let mut headers = HeaderMap::new();
    if let Some(host) = host {
        let Ok(value) = HeaderValue::from_bytes(host) else { return };
        headers.insert(HOST, value);
    }
    let target = [b"http://", authority, b"/"].concat();
    let uri = if authority.is_empty() { Ok(Uri::from_static("/")) } else { Uri::try_from(target) };
    let Ok(uri) = uri else { return };
    for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
        let mut checked = headers.clone();
        if headers::check_host(&mut checked, &uri, version).is_err() {
            continue;
        }
        let hosts: Vec<&HeaderValue> = checked.get_all(HOST).iter().collect();
        assert_eq!(hosts.len(), 1, "exactly one Host");
        let text = hosts[0].to_str().expect("a host is text");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~%[]:".contains(&b);
        assert!(text.bytes().all(plain), "{text}");
        assert!(!text.is_empty() || version == Version::HTTP_10, "only HTTP/1.0 may have none");
        let name = headers::host_name(&checked);
        assert!(text.starts_with(name), "{name} of {text}");
        assert!(name.starts_with('[') || !name.contains(':'), "{name} has a port");
        // Whoever reads the authority and whoever reads the field mean the same host.
        if let (Some(theirs), false) = (uri.host(), text.is_empty()) {
            let theirs = theirs.strip_suffix('.').unwrap_or(theirs);
            assert!(name.eq_ignore_ascii_case(theirs), "{name} is not {theirs}");
        }
    }
}

/// Fields of a request, one a line: whose it is.
pub fn forwarded(data: &[u8]) {
    let Some(mut headers) = fields(data) else { return };
    headers.insert(HOST, HeaderValue::from_static("example.com"));
    unbelieved(&headers);
    believed(&headers);
    cannot_hide(&headers);
}

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

fn trusted() -> Vec<ipnet::IpNet> {
    ["10.0.0.0/8", "fd00::/8"].iter().filter_map(|net| net.parse().ok()).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A stranger's word about others counts for nothing and goes nowhere.
fn unbelieved(headers: &HeaderMap) {
    let stranger = Some(ip("192.0.2.1"));
    assert_eq!(headers::client_address(stranger, headers, &trusted()), stranger);
    assert_eq!(headers::client_address(None, headers, &trusted()), None);
    let mut silent = HeaderMap::new();
    silent.insert(HOST, headers[HOST].clone());
    for policy in policies() {
        let set = |headers: &HeaderMap| {
            let mut headers = headers.clone();
            headers::set_forwarded(&mut headers, &Sender::new(stranger, true), false, stranger, &policy);
            let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"];
            let names = names.into_iter().chain(["x-real-ip", "forwarded"]);
            names.map(|name| headers.get_all(name).iter().cloned().collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(set(headers), set(&silent), "{policy:?}");
    }
}

fn policies() -> impl Iterator<Item = Forwarded> {
    (0..8).map(|bits| Forwarded {
        x_forwarded: bits & 1 != 0,
        forwarded: bits & 2 != 0,
        x_real_ip: bits & 4 != 0,
    })
}

/// What a trusted proxy says is passed on so that the next weir comes to the same client.
fn believed(headers: &HeaderMap) {
    let (proxy, this) = (Some(ip("10.1.1.1")), Some(ip("10.9.9.9")));
    let client = headers::client_address(proxy, headers, &trusted());
    assert!(client.is_some());
    for policy in policies() {
        let mut passed = headers.clone();
        headers::set_forwarded(&mut passed, &Sender::new(proxy, false), true, client, &policy);
        if policy.x_real_ip {
            let told = passed.get("x-real-ip").and_then(|value| value.to_str().ok());
            assert_eq!(told.and_then(|text| text.parse().ok()), client);
        }
        // The field that the client was read from is the one that is passed on.
        let same = if headers.contains_key(FOR) {
            policy.x_forwarded
        } else {
            policy.forwarded && !policy.x_forwarded
        };
        if same {
            assert_eq!(headers::client_address(this, &passed, &trusted()), client, "{policy:?} {passed:?}");
        }
    }
}

/// Whatever a client sends under these names, it cannot hide the address that a trusted proxy adds behind it.
fn cannot_hide(headers: &HeaderMap) {
    let proxy = Some(ip("10.1.1.1"));
    let mut alone = headers.clone();
    alone.remove(FOR);
    let cases = [
        (headers, FOR, "203.0.113.9", "203.0.113.9"),
        (headers, FOR, "[2001:db8::9]:80", "2001:db8::9"),
        (&alone, FORWARDED, "for=203.0.113.9;proto=http", "203.0.113.9"),
        (&alone, FORWARDED, "proto=http;for=\"[2001:db8::9]:80\";by=\"_a, b\"", "2001:db8::9"),
    ];
    for (headers, name, added, address) in cases {
        let mut line = headers.clone();
        line.append(&name, HeaderValue::from_static(added));
        let mut joined = Vec::new();
        for value in headers.get_all(&name) {
            joined.extend_from_slice(value.as_bytes());
            joined.extend_from_slice(b", ");
        }
        joined.extend_from_slice(added.as_bytes());
        let mut member = headers.clone();
        member.insert(&name, HeaderValue::from_bytes(&joined).expect("values of fields, joined"));
        for headers in [line, member] {
            let client = headers::client_address(proxy, &headers, &trusted());
            assert_eq!(client, Some(ip(address)), "{headers:?}");
        }
    }
}
