//! Method, target and upstream of a request.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Method, Version, header};

use super::{Shown, may_change_request};
use crate::Exchange;
use crate::error::{Error, Result};

/// `http` or `https`.
pub fn scheme(x: &Exchange) -> &'static str {
    if x.connection.tls.is_some() { "https" } else { "http" }
}

/// The host with its port if it has one.
pub fn host(x: &Exchange) -> &[u8] {
    x.headers.get(header::HOST).map_or(b"", |host| host.as_bytes())
}

/// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
pub fn version(x: &Exchange) -> &'static str {
    match x.version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The upstream group that takes the request: the one that was set, or chosen.
pub fn upstream(x: &Exchange) -> Option<&str> {
    x.group.as_deref().or(x.upstream.as_deref())
}

/// What the placeholder of this name in the route's path stands for.
pub fn capture<'a>(x: &'a Exchange, name: &[u8]) -> Option<&'a str> {
    x.captures.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, value)| value.as_str())
}

/// Sets the method.
///
/// # Errors
/// [`Error::Invalid`] for what is no method, or one that cannot be forwarded; [`Error::Denied`] when it is too late.
pub fn set_method(x: &mut Exchange, method: &[u8]) -> Result<()> {
    may_change_request(x)?;
    let shown = Shown(method);
    match Method::from_bytes(method) {
        Ok(Method::CONNECT | Method::TRACE) => Err(Error::invalid(format!("{shown} is not forwarded"))),
        Ok(method) => {
            x.method = method;
            Ok(())
        }
        Err(_) => Err(Error::invalid(format!("\"{shown}\" is no method: \"GET\" is, for example"))),
    }
}

/// Sets the path and keeps the query.
///
/// # Errors
/// [`Error::Invalid`] for what is no path; [`Error::Denied`] when it is too late.
pub fn set_path(x: &mut Exchange, path: &[u8]) -> Result<()> {
    may_change_request(x)?;
    let bad = |why: &str| Error::invalid(format!("\"{}\" is no path: {why}", Shown(path)));
    if !path.starts_with(b"/") {
        return Err(bad("it starts with /"));
    }
    if path.iter().any(|byte| matches!(byte, b'?' | b'#')) {
        return Err(bad("? and # are written %3F and %23; the query has a field of its own"));
    }
    let mut target = path.to_vec();
    if let Some(query) = x.uri.query() {
        target.push(b'?');
        target.extend_from_slice(query.as_bytes());
    }
    set_target(x, target).ok_or_else(|| bad("blanks and control characters are written %XX"))
}

/// Sets the query, without `?`, and keeps the path; an empty one is none.
///
/// # Errors
/// [`Error::Invalid`] for what is no query; [`Error::Denied`] when it is too late.
pub fn set_query(x: &mut Exchange, query: &[u8]) -> Result<()> {
    may_change_request(x)?;
    let bad =
        || Error::invalid(format!("\"{}\" is no query: other characters are written %XX", Shown(query)));
    if query.contains(&b'#') {
        return Err(bad());
    }
    let mut target = x.uri.path().as_bytes().to_vec();
    if !query.is_empty() {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    set_target(x, target).ok_or_else(bad)
}

fn set_target(x: &mut Exchange, target: Vec<u8>) -> Option<()> {
    x.uri = PathAndQuery::from_maybe_shared(bytes::Bytes::from(target)).ok()?.into();
    Some(())
}

/// Sends the request to another upstream group. Whether there is one of this name is seen when it is chosen.
///
/// # Errors
/// [`Error::Denied`] when it is too late.
pub fn set_group(x: &mut Exchange, name: &str) -> Result<()> {
    may_change_request(x)?;
    x.group = Some(Arc::from(name));
    Ok(())
}
