//! Parameters of a query, in the form of application/x-www-form-urlencoded (WHATWG URL, section 5).

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::set_query;
use crate::Exchange;
use crate::error::Result;

/// What is written as `%XX` in a name or value.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*');

/// All parameters in order, names and values decoded.
pub fn entries(x: &Exchange) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    parts(x).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name), decode(value))
    })
}

/// The first value of a name.
pub fn get<'a>(x: &'a Exchange, name: &[u8]) -> Option<Cow<'a, [u8]>> {
    entries(x).find(|(n, _)| **n == *name).map(|(_, value)| value)
}

/// Replaces all values of a name by one, in the place of the first, or adds it at the end. The other parameters stay
/// as they were written.
///
/// # Errors
/// When the request can no longer be changed.
pub fn set(x: &mut Exchange, name: &[u8], value: &[u8]) -> Result<()> {
    let escape = |bytes| percent_encode(bytes, ESCAPED);
    let mut new = Some(format!("{}={}", escape(name), escape(value)));
    let mut all: Vec<Cow<'_, str>> = Vec::new();
    for part in parts(x) {
        if is_named(part, name) {
            all.extend(new.take().map(Cow::Owned));
        } else {
            all.push(Cow::Borrowed(part));
        }
    }
    all.extend(new.map(Cow::Owned));
    let query = all.join("&");
    set_query(x, query.as_bytes())
}

/// Removes all values of a name.
///
/// # Errors
/// When the request can no longer be changed.
pub fn remove(x: &mut Exchange, name: &[u8]) -> Result<()> {
    let rest: Vec<&str> = parts(x).filter(|part| !is_named(part, name)).collect();
    let rest = rest.join("&");
    set_query(x, rest.as_bytes())
}

fn parts(x: &Exchange) -> impl Iterator<Item = &str> {
    x.uri.query().unwrap_or_default().split('&').filter(|part| !part.is_empty())
}

fn is_named(part: &str, name: &[u8]) -> bool {
    *decode(part.split('=').next().unwrap_or_default()) == *name
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode(spaced.as_bytes()).collect());
    }
    percent_decode(text.as_bytes()).into()
}
