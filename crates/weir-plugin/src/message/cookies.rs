//! Cookies of a request (RFC 6265, section 4.2; read as section 5.4 lets clients send them).

use http::header::COOKIE;

use crate::Exchange;

/// All cookies in order: name and value, without blanks around them and quotes around the value.
pub fn entries(x: &Exchange) -> impl Iterator<Item = (&[u8], &[u8])> {
    let fields = x.headers.get_all(COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let (name, value) = pair.split_at(pair.iter().position(|byte| *byte == b'=')?);
        Some((name.trim_ascii(), unquoted(value.get(1..)?.trim_ascii())))
    })
}

/// The first value of a name; names are case sensitive.
pub fn get<'a>(x: &'a Exchange, name: &[u8]) -> Option<&'a [u8]> {
    entries(x).find(|(n, _)| *n == name).map(|(_, value)| value)
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        value => value,
    }
}
