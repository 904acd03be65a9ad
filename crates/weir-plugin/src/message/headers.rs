//! Fields of requests and responses.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};

use super::{Shown, is_authority, may_change_request, may_change_response};
use crate::Exchange;
use crate::error::{Error, Result};

/// Whose fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request's.
    Request,
    /// The response's.
    Response,
}

/// The fields of one side.
pub fn of(x: &Exchange, side: Side) -> &HeaderMap {
    match side {
        Side::Request => &x.headers,
        Side::Response => &x.response_headers,
    }
}

/// The first value of a name, in any case.
pub fn get<'a>(x: &'a Exchange, side: Side, name: &[u8]) -> Option<&'a HeaderValue> {
    of(x, side).get(HeaderName::from_bytes(name).ok()?)
}

/// All values of a name, in order.
pub fn get_all<'a>(x: &'a Exchange, side: Side, name: &[u8]) -> impl Iterator<Item = &'a HeaderValue> {
    let name = HeaderName::from_bytes(name).ok();
    name.into_iter().flat_map(move |name| of(x, side).get_all(name))
}

/// Replaces all values of a name by one.
///
/// # Errors
/// [`Error::Invalid`] for what cannot be in a field; [`Error::Denied`] for fields of the connection, or when it is
/// too late.
pub fn set(x: &mut Exchange, side: Side, name: &[u8], value: &[u8]) -> Result<()> {
    let name = writable(x, side, name)?;
    let value = valid(&name, value)?;
    let fields = of_mut(x, side);
    if fields.len() < MOST_FIELDS {
        fields.try_insert(name, value).map_err(|_| Error::TooLarge(MOST_FIELDS as u64))?;
        return Ok(());
    }
    fields.remove(&name);
    append(fields, name, value)
}

/// Adds a value after those there are.
///
/// # Errors
/// As [`set`].
pub fn add(x: &mut Exchange, side: Side, name: &[u8], value: &[u8]) -> Result<()> {
    let name = writable(x, side, name)?;
    let value = valid(&name, value)?;
    if name == header::HOST {
        return Err(Error::invalid("a request has one host; set it instead"));
    }
    append(of_mut(x, side), name, value)
}

/// Removes all values of a name.
///
/// # Errors
/// [`Error::Denied`] for fields of the connection, the host of a request, or when it is too late.
pub fn remove(x: &mut Exchange, side: Side, name: &[u8]) -> Result<()> {
    // What cannot be a name is not there.
    let Ok(name) = HeaderName::from_bytes(name) else { return Ok(()) };
    let name = may_write(x, side, name)?;
    if name == header::HOST && side == Side::Request {
        return Err(Error::denied("a request needs its host; set another instead"));
    }
    of_mut(x, side).remove(name);
    Ok(())
}

/// The most fields that a message of a plugin's may have: far from what a map of them can hold.
const MOST_FIELDS: usize = 1000;
/// The most bytes of one value: more than upstreams and clients take.
const LONGEST_VALUE: usize = 64 << 10;

/// Adds a field, within bounds.
pub(super) fn append(fields: &mut HeaderMap, name: HeaderName, value: HeaderValue) -> Result<()> {
    if fields.len() >= MOST_FIELDS {
        return Err(Error::TooLarge(MOST_FIELDS as u64));
    }
    fields.try_append(name, value).map_err(|_| Error::TooLarge(MOST_FIELDS as u64))?;
    Ok(())
}

/// The fields of one side, to be changed.
pub(super) fn of_mut(x: &mut Exchange, side: Side) -> &mut HeaderMap {
    match side {
        Side::Request => &mut x.headers,
        Side::Response => &mut x.response_headers,
    }
}

fn writable(x: &Exchange, side: Side, name: &[u8]) -> Result<HeaderName> {
    may_write(x, side, self::name(name)?)
}

fn may_write(x: &Exchange, side: Side, name: HeaderName) -> Result<HeaderName> {
    match side {
        Side::Request => may_change_request(x)?,
        Side::Response => may_change_response(x)?,
    }
    match is_of_connection(&name) {
        true => Err(Error::denied(format!("{name} is about the connection or the framing: weir sets it"))),
        false => Ok(name),
    }
}

/// A field's name (RFC 9110, section 5.1).
///
/// # Errors
/// [`Error::Invalid`].
pub fn name(name: &[u8]) -> Result<HeaderName> {
    HeaderName::from_bytes(name).map_err(|_| {
        let shown = Shown(name);
        Error::invalid(format!("\"{shown}\" is no header name: letters, digits and !#$%&'*+-.^_`|~ are"))
    })
}

/// A field's value (RFC 9110, section 5.5): no control characters but tab.
///
/// # Errors
/// [`Error::Invalid`]; [`Error::TooLarge`].
pub fn value(name: &HeaderName, value: &[u8]) -> Result<HeaderValue> {
    if value.len() > LONGEST_VALUE {
        return Err(Error::TooLarge(LONGEST_VALUE as u64));
    }
    let bad =
        || Error::invalid(format!("the value of {name} has a control character, for example a line break"));
    HeaderValue::from_bytes(value).map_err(|_| bad())
}

fn valid(name: &HeaderName, bytes: &[u8]) -> Result<HeaderValue> {
    let value = value(name, bytes)?;
    if *name == header::HOST && !is_authority(bytes) {
        let shown = Shown(bytes);
        return Err(Error::invalid(format!("\"{shown}\" is no host: \"name\" or \"name:port\" is")));
    }
    Ok(value)
}

/// Whether a field is about the connection or frames the message (RFC 9110, section 7.6.1; RFC 9112, section 6).
pub fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::CONTENT_LENGTH
            | header::TRANSFER_ENCODING
            | header::UPGRADE
            | header::TE
            | header::TRAILER
    ) || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings")
}
