//! `Host` and `:authority`.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Uri, Version};

use weir_plugin::message::is_authority;

use crate::error::{Error, Kind, Result};

/// Checks that a request says exactly once, and in valid syntax, which host it is for (RFC 9112, section 3.2; RFC
/// 9113, section 8.3.1). Where the target has an authority too (absolute form, `:authority`), both must agree, in
/// any case of letters and with or without the scheme's default port. Afterwards `host` is there exactly once;
/// it is empty only for an HTTP/1.0 request that has none.
///
/// A registered name is taken in letters, digits, `-`, `.`, `_`, `~` and percent-encodings; the other characters
/// that RFC 3986 allows are in no DNS name and are refused.
///
/// # Errors
/// `BadRequest`.
pub fn check_host(headers: &mut HeaderMap, uri: &Uri, version: Version) -> Result<()> {
    let bad = |detail| Err(Error::new(Kind::BadRequest, detail));
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return bad("more than one Host field");
    }
    if host.is_some_and(|host| !is_authority(host.as_bytes())) {
        return bad("bad syntax of Host");
    }
    match (host, uri.authority()) {
        (Some(_), None) => Ok(()),
        (Some(host), Some(authority)) => {
            if !is_authority(authority.as_str().as_bytes()) {
                return bad("bad syntax of the target's authority");
            }
            let default = default_port(uri);
            let agree = host.to_str().is_ok_and(|host| {
                without_port(host, default).eq_ignore_ascii_case(without_port(authority.as_str(), default))
            });
            if agree { Ok(()) } else { bad("Host and the target's authority differ") }
        }
        (None, Some(authority)) => {
            // RFC 9112, section 3.2: HTTP/1.1 without Host is refused even in absolute form.
            if version == Version::HTTP_11 {
                return bad("no Host field");
            }
            if !is_authority(authority.as_str().as_bytes()) {
                return bad("bad syntax of the target's authority");
            }
            match HeaderValue::from_str(authority.as_str()) {
                Ok(value) => headers.insert(header::HOST, value),
                Err(_) => return bad("bad syntax of the target's authority"),
            };
            Ok(())
        }
        (None, None) if version <= Version::HTTP_10 => {
            headers.insert(header::HOST, HeaderValue::from_static(""));
            Ok(())
        }
        (None, None) => bad("no Host field"),
    }
}

/// The host to route by: `Host` without port and final dot, in the case in which it came.
pub fn host_name(headers: &HeaderMap) -> &str {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = split_port(host).0;
    name.strip_suffix('.').unwrap_or(name)
}

fn default_port(uri: &Uri) -> Option<&'static str> {
    match uri.scheme_str() {
        Some("http") => Some("80"),
        Some("https") => Some("443"),
        _ => None,
    }
}

fn without_port<'a>(authority: &'a str, default: Option<&str>) -> &'a str {
    match split_port(authority) {
        (name, Some(port)) if port.is_empty() || Some(port) == default => name,
        _ => authority,
    }
}

/// `[::1]:80` into `[::1]` and `80`.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority, None),
    }
}
