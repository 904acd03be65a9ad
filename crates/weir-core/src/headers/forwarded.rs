//! Who asked: the fields that carry a client's address through proxies.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::spec::Forwarded;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What a connection says about who sends requests on it. Made once a connection, so that a request copies no
/// text.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The address at the other end (as the PROXY protocol tells, where it is trusted); `None` on Unix sockets.
    pub address: Option<IpAddr>,
    text: Option<HeaderValue>,
    scheme: HeaderValue,
}

impl Sender {
    /// The sender at this address; `tls`: the connection is over TLS.
    pub fn new(address: Option<IpAddr>, tls: bool) -> Self {
        let address = address.map(|a| a.to_canonical());
        Sender {
            address,
            text: address.and_then(address_value),
            scheme: HeaderValue::from_static(if tls { "https" } else { "http" }),
        }
    }
}

fn address_value(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::try_from(address.to_string()).ok()
}

/// Whether what this peer says about others is believed. A Unix socket has no address and is not.
pub fn is_trusted(peer: Option<IpAddr>, trusted: &[IpNet]) -> bool {
    peer.is_some_and(|peer| {
        let peer = peer.to_canonical();
        trusted.iter().any(|net| net.contains(&peer))
    })
}

/// The client's address: from the peer on, the chain that `X-Forwarded-For` (or, where that is not there,
/// `Forwarded`) tells is followed from right to left as long as the one that tells is trusted. The first address
/// that is not trusted is the client; so is the last one known where the chain ends, or goes on with something
/// that is no address (`unknown`, `_hidden`).
///
/// A trusted proxy that speaks only `Forwarded` must remove `X-Forwarded-For` from what it forwards.
pub fn client_address(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = peer.map(|p| p.to_canonical());
    if !is_trusted(peer, trusted) {
        return peer;
    }
    if headers.contains_key(FOR) {
        let lines = headers.get_all(FOR).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
        return follow(peer, hops.map(parse_node), trusted);
    }
    let lines = headers.get_all(header::FORWARDED).iter().rev();
    let hops = lines.flat_map(|line| rsplit_quoted(line.as_bytes(), b','));
    follow(peer, hops.map(forwarded_for), trusted)
}

fn follow(
    peer: Option<IpAddr>,
    hops: impl Iterator<Item = Option<IpAddr>>,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let mut client = peer;
    for hop in hops {
        let Some(address) = hop else { return client };
        client = Some(address);
        if !is_trusted(client, trusted) {
            return client;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80` (RFC 7239, section 6).
fn parse_node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let inside = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address =
        inside.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()))?;
    Some(address.to_canonical())
}

/// The `for` of one element of `Forwarded`.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    // From the right, as elements are: of several the first counts.
    let of = |pair: &[u8]| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (name, value) = (pair.get(..at)?.trim_ascii(), pair.get(at + 1..)?.trim_ascii());
        let value = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value);
        name.eq_ignore_ascii_case(b"for").then(|| parse_node(value))
    };
    rsplit_quoted(element, b';').filter_map(of).last()?
}

/// Splits where `separator` is not within a quoted string, from right to left: what a client wrote further to the
/// left, an open quote for example, has no say in how the elements are read that proxies have added behind it.
fn rsplit_quoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let left = rest?;
        let mut quoted = false;
        let at = left.iter().enumerate().rev().find(|(at, byte)| {
            if **byte == b'"' && !(quoted && is_escaped(left, *at)) {
                quoted = !quoted;
            }
            !quoted && **byte == separator
        });
        let Some((at, _)) = at else { return rest.take() };
        rest = left.get(..at);
        left.get(at + 1..)
    })
}

/// Whether an odd number of backslashes stands before the byte at `at`.
fn is_escaped(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

/// Sets the forwarding fields for an upstream. What came under these names is kept only from a trusted peer: its
/// chain is appended to, its protocol and host are kept. From any other it is removed, also where the policy sends
/// none. `X-Real-IP` is always the client that weir worked out. `host` must be in `headers`.
pub fn set_forwarded(
    headers: &mut HeaderMap,
    sender: &Sender,
    trusted: bool,
    client: Option<IpAddr>,
    policy: &Forwarded,
) {
    if !trusted && headers.keys().any(is_forwarding) {
        for name in [FOR, PROTO, HOST, PORT, REAL_IP, header::FORWARDED] {
            headers.remove(name);
        }
    }
    if policy.forwarded {
        append_forwarded(headers, sender);
    }
    if policy.x_forwarded {
        append_for(headers, sender);
        if !headers.contains_key(PROTO) {
            headers.insert(PROTO, sender.scheme.clone());
        }
        if !headers.contains_key(HOST)
            && let Some(host) = headers.get(header::HOST).cloned()
        {
            headers.insert(HOST, host);
        }
    }
    if policy.x_real_ip {
        let text =
            if client == sender.address { sender.text.clone() } else { client.and_then(address_value) };
        match text {
            Some(text) => headers.insert(REAL_IP, text),
            None => headers.remove(REAL_IP),
        };
    }
}

fn is_forwarding(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-forwarded-") || *name == header::FORWARDED || *name == REAL_IP
}

/// One line with the whole chain, since many servers read only the first line.
fn append_for(headers: &mut HeaderMap, sender: &Sender) {
    let Some(address) = &sender.text else { return };
    if headers.contains_key(FOR) {
        append_member(headers, FOR, address.as_bytes());
    } else {
        headers.insert(FOR, address.clone());
    }
}

fn append_member(headers: &mut HeaderMap, name: HeaderName, member: &[u8]) {
    let mut chain = Vec::new();
    for line in headers.get_all(&name) {
        chain.extend_from_slice(line.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(member);
    if let Ok(value) = HeaderValue::try_from(chain) {
        headers.insert(name, value);
    }
}

/// RFC 7239, section 4: `for=192.0.2.1;host=example.com;proto=https`.
fn append_forwarded(headers: &mut HeaderMap, sender: &Sender) {
    let mut element = match sender.address {
        Some(IpAddr::V4(address)) => format!("for={address}"),
        Some(IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        None => "for=unknown".to_owned(),
    };
    if let Some(host) = headers.get(header::HOST).and_then(|h| h.to_str().ok()).filter(|h| !h.is_empty()) {
        // `check_host` has seen to it that there is nothing to escape in it.
        let quote = if host.bytes().all(is_token) { "" } else { "\"" };
        let _ = write!(element, ";host={quote}{host}{quote}");
    }
    let _ = write!(element, ";proto={}", sender.scheme.to_str().unwrap_or("http"));
    append_member(headers, header::FORWARDED, element.as_bytes());
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
