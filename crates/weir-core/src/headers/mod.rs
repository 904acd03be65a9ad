//! Header rules of an intermediary: hop-by-hop fields, forwarding fields, `Via`, request ids, edits by route.

mod edit;
mod forwarded;
mod host;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};

pub use edit::{Facts, edit, fill};
pub use forwarded::{Sender, client_address, is_trusted, set_forwarded};
pub use host::{check_host, host_name};

/// Removes what holds for one connection only (RFC 9110, section 7.6.1): `Connection`, the fields it names, and
/// `Keep-Alive`, `Proxy-Connection`, `TE`, `Transfer-Encoding`, `Upgrade`, `HTTP2-Settings`, whether named or not.
///
/// * A field that is meant for the other end stays, also when `Connection` names it: `host`, `content-length` and
///   the like; else a client could take away what the next server decides by.
/// * `TE: trailers` becomes exactly that, since gRPC servers ask for it. It may go to an HTTP/2 upstream as it is;
///   to an HTTP/1.1 upstream only beside `Connection: te` (RFC 9110, section 10.1.4).
/// * `Trailer` stays: trailers are forwarded.
///
/// What is needed of `Upgrade` must be read before.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(is_hop_by_hop) {
        return;
    }
    if headers.contains_key(header::CONNECTION) {
        remove_named(headers);
    }
    let trailers = tokens(headers, &header::TE).any(|t| {
        let coding = t.split(';').next().unwrap_or(t).trim();
        coding.eq_ignore_ascii_case("trailers")
    });
    for name in [
        header::CONNECTION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
    )
}

/// Removes the fields that `Connection` names, but none that is meant for the other end.
fn remove_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
        .filter(|token| !is_common_option(token))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !is_end_to_end(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Connection options that name no field, or one that is removed anyway: no allocation for these.
fn is_common_option(token: &str) -> bool {
    ["", "close", "upgrade", "keep-alive"].iter().any(|option| token.eq_ignore_ascii_case(option))
}

/// Fields that are for the recipient whatever `Connection` says.
fn is_end_to_end(name: &HeaderName) -> bool {
    // TE is dealt with on its own.
    matches!(name.as_str(), "te" | "via" | "forwarded" | "x-real-ip" | "x-request-id" | "x-forwarded")
        || name.as_str().starts_with("x-forwarded-")
        || name.as_str().starts_with("sec-websocket-")
        || name.as_str().starts_with("access-control-")
        || [
            header::ACCEPT,
            header::ACCEPT_ENCODING,
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::CONTENT_ENCODING,
            header::CONTENT_LENGTH,
            header::CONTENT_RANGE,
            header::CONTENT_TYPE,
            header::COOKIE,
            header::DATE,
            header::ETAG,
            header::EXPECT,
            header::HOST,
            header::LOCATION,
            header::MAX_FORWARDS,
            header::ORIGIN,
            header::RANGE,
            header::SET_COOKIE,
            header::STRICT_TRANSPORT_SECURITY,
            header::TRAILER,
            header::VARY,
            header::WWW_AUTHENTICATE,
        ]
        .contains(name)
}

/// The comma-separated members of a list field, over all its lines, without blanks around them.
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
}

/// Removes from trailers what may not be in them (RFC 9110, section 6.5.1): fields for framing, routing,
/// authentication, request modifiers and response control, and hop-by-hop fields.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    let forbidden: Vec<HeaderName> =
        trailers.keys().filter(|name| is_forbidden_trailer(name)).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

fn is_forbidden_trailer(name: &HeaderName) -> bool {
    is_hop_by_hop(name)
        || matches!(
            name.as_str(),
            "age"
                | "authorization"
                | "cache-control"
                | "content-encoding"
                | "content-length"
                | "content-range"
                | "content-type"
                | "cookie"
                | "date"
                | "expect"
                | "expires"
                | "forwarded"
                | "host"
                | "location"
                | "max-forwards"
                | "pragma"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "range"
                | "retry-after"
                | "set-cookie"
                | "trailer"
                | "vary"
                | "via"
                | "www-authenticate"
                | "x-real-ip"
        )
        || name.as_str().starts_with("if-")
        || name.as_str().starts_with("x-forwarded-")
}

/// Adds this proxy to `Via` (RFC 9110, section 7.6.3); `version` is that of the message that was received.
pub fn via(headers: &mut HeaderMap, version: Version, pseudonym: &str) {
    let value = match (version, pseudonym) {
        // The default pseudonym costs nothing.
        (Version::HTTP_11, "weir") => Some(HeaderValue::from_static("1.1 weir")),
        (Version::HTTP_2, "weir") => Some(HeaderValue::from_static("2 weir")),
        (version, _) => {
            let protocol = match version {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                Version::HTTP_3 => "3",
                _ => "1.1",
            };
            HeaderValue::try_from(format!("{protocol} {pseudonym}")).ok()
        }
    };
    if let Some(value) = value {
        headers.append(header::VIA, value);
    }
}

/// The id of a request: the one that a trusted client sent, if it is one (1 to 128 letters, digits and `-._~:+/=@`),
/// else a new one of 32 hexadecimal digits. Sets the field of this name in any case, so that there is exactly one.
pub fn request_id(headers: &mut HeaderMap, name: &HeaderName, trusted: bool) -> HeaderValue {
    if trusted && let Some(id) = headers.get(name).filter(|id| is_request_id(id.as_bytes())) {
        let id = id.clone();
        if headers.get_all(name).iter().nth(1).is_some() {
            headers.insert(name, id.clone());
        }
        return id;
    }
    let id = new_request_id();
    headers.insert(name, id.clone());
    id
}

/// A new request id: 32 hexadecimal digits at random.
pub fn new_request_id() -> HeaderValue {
    let mut random = fastrand::u128(..);
    let mut digits = [0u8; 32];
    for digit in &mut digits {
        *digit = b"0123456789abcdef"[(random & 15) as usize];
        random >>= 4;
    }
    HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

fn is_request_id(id: &[u8]) -> bool {
    (1..=128).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~:+/=@".contains(b))
}

/// Whether a response to this method with this status has no body, whatever its headers say (RFC 9110, section
/// 6.4.1).
pub fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || (*method == Method::CONNECT && status.is_success())
}

#[cfg(test)]
mod tests;
