//! Bodies of the request and the response.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::headers::{Side, of_mut};
use super::{may_change_request, may_change_response};
use crate::error::{Error, Result};
use crate::{Content, Exchange, Limits};

/// All of a body, once it has come: without its content coding where that is `gzip`, `br` or `zstd`.
///
/// # Errors
/// [`crate::Error::TooLarge`] where it has more bytes than `limit`, and is still handed on; [`crate::Error::Denied`]
/// where it is not there yet or no longer.
pub fn poll_read(x: &mut Exchange, side: Side, cx: &mut Context<'_>, limit: usize) -> Poll<Result<Bytes>> {
    may_change(x, side)?;
    let read = ready!(content(x, side).poll_read(cx, limit));
    Poll::Ready(read)
}

/// How much of a body a plugin may read that asks for so much, or for as much as it may.
///
/// # Errors
/// [`Error::Denied`] where that is more than the configuration allows.
pub fn limit(limits: &Limits, asked: Option<u64>) -> Result<usize> {
    let most = limits.body;
    match asked.map_or(Some(most), |asked| usize::try_from(asked).ok().filter(|asked| *asked <= most)) {
        Some(limit) => Ok(limit),
        None => {
            Err(Error::denied(format!("a body can be read up to {most} bytes: `limits.body` allows no more")))
        }
    }
}

/// Puts other bytes in the place of a body. They are sent as they are: a content coding that the body had is gone from
/// the headers, and so is what told about its bytes.
///
/// # Errors
/// [`crate::Error::Denied`] where the body is not there yet or no longer.
pub fn replace(x: &mut Exchange, side: Side, body: Bytes) -> Result<()> {
    may_change(x, side)?;
    content(x, side).replace(body);
    decoded(of_mut(x, side));
    changed(of_mut(x, side));
    Ok(())
}

fn may_change(x: &Exchange, side: Side) -> Result<()> {
    match side {
        Side::Request => may_change_request(x),
        Side::Response => may_change_response(x),
    }
}

fn content(x: &mut Exchange, side: Side) -> &mut Content {
    match side {
        Side::Request => &mut x.request_body,
        Side::Response => &mut x.response_body,
    }
}

/// A content coding (RFC 9110, section 8.4.1) that can be taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

/// The content coding of a message, where it has one and that is known.
pub fn coding(headers: &HeaderMap) -> Option<Coding> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    match value.as_bytes().trim_ascii().to_ascii_lowercase().as_slice() {
        b"gzip" | b"x-gzip" => Some(Coding::Gzip),
        b"br" => Some(Coding::Brotli),
        b"zstd" => Some(Coding::Zstd),
        _ => None,
    }
}

/// The content coding is taken off, where it is one that is known.
pub fn decoded(headers: &mut HeaderMap) {
    if coding(headers).is_some() {
        headers.remove(header::CONTENT_ENCODING);
    }
}

/// The body is no longer the bytes that the headers speak of: its length, ranges and digests go, and a strong `ETag`
/// becomes a weak one (RFC 9110, section 8.8.3.3).
pub fn changed(headers: &mut HeaderMap) {
    for name in [
        header::CONTENT_LENGTH,
        header::ACCEPT_RANGES,
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("repr-digest"),
        HeaderName::from_static("digest"),
    ] {
        headers.remove(name);
    }
    let weak = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\"")).and_then(|tag| {
        let mut weak = b"W/".to_vec();
        weak.extend_from_slice(tag.as_bytes());
        HeaderValue::try_from(weak).ok()
    });
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
}
