//! Requests of a plugin's own.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Uri};

use super::{Shown, headers};
use crate::error::{Error, Result};
use crate::policy::Grants;
use crate::services::HttpCall;

/// How long a call may take that does not say so.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a call may take.
const LONGEST: Duration = Duration::from_secs(3600);

/// Where a request of a plugin's own goes.
#[derive(Clone, Copy, Debug)]
pub enum To<'a> {
    /// To an upstream group, with this path and query; `host` is the group's name where the headers have none.
    Upstream {
        /// The group's name in the configuration.
        group: &'a str,
        /// Path and query.
        target: &'a [u8],
    },
    /// To this `http` or `https` URL.
    Url(&'a [u8]),
}

/// A request of a plugin's own, if it may send it. Fields of the connection are left out: weir sets them.
///
/// # Errors
/// [`Error::Denied`] names the missing grant; [`Error::Invalid`] what cannot be.
pub fn call<'a>(
    grants: &Grants,
    to: To<'_>,
    method: &[u8],
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    body: Bytes,
    timeout: Duration,
) -> Result<HttpCall> {
    let method = match Method::from_bytes(method) {
        Ok(Method::CONNECT | Method::TRACE) | Err(_) => {
            let shown = Shown(method);
            return Err(Error::invalid(format!(
                "\"{shown}\" is no method of a call: \"GET\" is, for example"
            )));
        }
        Ok(method) => method,
    };
    if timeout.is_zero() || timeout > LONGEST {
        return Err(Error::invalid("the timeout of a call is more than nothing and at most an hour"));
    }
    let (group, target, host) = match to {
        To::Upstream { group, target } => {
            if !grants.upstreams.contains(group) {
                return Err(denied("upstreams", group));
            }
            let host = HeaderValue::from_str(group).unwrap_or(HeaderValue::from_static("localhost"));
            (group.to_owned(), path(target)?, host)
        }
        To::Url(url) => {
            let (origin, authority, target) = split(url)?;
            if !grants.hosts.contains(&origin) {
                return Err(denied("hosts", &origin));
            }
            let host = HeaderValue::from_str(authority.as_str());
            (origin, target, host.map_err(|_| Error::invalid("the host of a URL is ASCII"))?)
        }
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = headers::name(name)?;
        let value = headers::value(&name, value)?;
        if !headers::is_of_connection(&name) {
            headers::append(&mut map, name, value)?;
        }
    }
    if map.get_all(HOST).iter().count() > 1 {
        return Err(Error::invalid("a request has one host"));
    }
    map.entry(HOST).or_insert(host);
    Ok(HttpCall { group: group.into(), method, target, headers: map, body, timeout })
}

fn denied(key: &str, name: &str) -> Error {
    Error::denied(format!("no request may be sent to {name}: `grants.{key}` of the plugin does not name it"))
}

fn path(target: &[u8]) -> Result<PathAndQuery> {
    let shown = Shown(target);
    let target = Some(target).filter(|t| t.starts_with(b"/")).and_then(|t| PathAndQuery::try_from(t).ok());
    target.ok_or_else(|| Error::invalid(format!("\"{shown}\" is no path: \"/a/b?c=d\" is, for example")))
}

/// Origin, authority, and path with query.
fn split(url: &[u8]) -> Result<(String, Authority, PathAndQuery)> {
    let shown = Shown(url);
    let wrong =
        || Error::invalid(format!("\"{shown}\" is no URL: \"https://example.com/a\" is, for example"));
    let parts = Uri::try_from(url).map_err(|_| wrong())?.into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(wrong()) };
    let origin = origin(&format!("{scheme}://{authority}")).ok_or_else(wrong)?;
    let target = parts.path_and_query.unwrap_or(PathAndQuery::from_static("/"));
    Ok((origin, authority, target))
}

/// An origin in the form in which they are compared: scheme and host in lower case, without the scheme's own port
/// (RFC 6454, section 4). `None` for what is none, or has more than that.
pub fn origin(text: &str) -> Option<String> {
    let parts = text.parse::<Uri>().ok()?.into_parts();
    let (scheme, authority) = (parts.scheme?, parts.authority?);
    let more = parts.path_and_query.is_some_and(|path| path != "/" && !path.as_str().is_empty());
    if more || !super::is_authority(authority.as_str().as_bytes()) {
        return None;
    }
    let own = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let host = authority.host().to_ascii_lowercase();
    Some(match authority.port_u16() {
        Some(port) if port != own => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_one_form() {
        for (text, wanted) in [
            ("https://A.example", Some("https://a.example")),
            ("https://a.example:443/", Some("https://a.example")),
            ("http://a.example:443", Some("http://a.example:443")),
            ("http://[::1]:80", Some("http://[::1]")),
            ("http://user@a.example", None),
            ("https://a.example/path", None),
            ("ftp://a.example", None),
            ("a.example", None),
            ("https://", None),
        ] {
            assert_eq!(origin(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_not_granted_is_refused_by_name() {
        let grants = Grants {
            upstreams: ["auth".to_owned()].into(),
            hosts: ["https://a.example".to_owned()].into(),
            ..Grants::default()
        };
        let try_to = |to| call(&grants, to, b"GET", [], Bytes::new(), TIMEOUT);
        let ok = try_to(To::Url(b"https://A.example:443/x?y")).expect("granted");
        assert_eq!((&*ok.group, ok.target.as_str()), ("https://a.example", "/x?y"));
        assert_eq!(ok.headers[HOST], "A.example:443");
        let ok = try_to(To::Upstream { group: "auth", target: b"/verify" }).expect("granted");
        assert_eq!((&*ok.group, ok.headers[HOST].as_bytes()), ("auth", &b"auth"[..]));
        for (to, wanted) in [
            (To::Url(b"http://a.example/"), "http://a.example: `grants.hosts`"),
            (To::Url(b"https://a.example.evil/"), "https://a.example.evil: `grants.hosts`"),
            (To::Url(b"https://a.example@evil/"), "no URL"),
            (To::Url(b"/x"), "no URL"),
            (To::Upstream { group: "app", target: b"/" }, "app: `grants.upstreams`"),
            (To::Upstream { group: "auth", target: b"x" }, "no path"),
            (To::Upstream { group: "auth", target: b"/a b" }, "no path"),
        ] {
            let error = try_to(to).expect_err("not granted").to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
