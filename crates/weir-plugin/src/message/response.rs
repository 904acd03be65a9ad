//! Status of a response, and answers of plugins.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::{headers, may_change_response};
use crate::error::{Error, Result};
use crate::{Exchange, Reply};

/// Sets the status.
///
/// # Errors
/// [`Error::Invalid`] beyond 200 to 599; [`Error::Denied`] when there is no response to change.
pub fn set_status(x: &mut Exchange, status: i64) -> Result<()> {
    may_change_response(x)?;
    x.status = self::status(status)?;
    Ok(())
}

/// An answer of a plugin. Fields of the connection are left out: weir sets them.
///
/// # Errors
/// [`Error::Invalid`] for a status beyond 200 to 599, or fields that cannot be.
pub fn reply<'a>(
    status: i64,
    fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    body: Bytes,
) -> Result<Reply> {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        let name = headers::name(name)?;
        let value = headers::value(&name, value)?;
        if !headers::is_of_connection(&name) {
            headers::append(&mut map, name, value)?;
        }
    }
    Ok(Reply { status: self::status(status)?, headers: map, body })
}

fn status(status: i64) -> Result<StatusCode> {
    let code = u16::try_from(status).ok().filter(|code| (200..=599).contains(code));
    let code = code.and_then(|code| StatusCode::from_u16(code).ok());
    code.ok_or_else(|| Error::invalid(format!("{status} is no status of a response: 200 to 599 are")))
}
