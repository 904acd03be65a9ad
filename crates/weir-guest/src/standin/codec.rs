//! Encodings of bytes as text.

use crate::Error;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn invalid(what: &str) -> Error {
    Error::Invalid(format!("not {what}"))
}

/// RFC 4648, section 4, padded.
#[must_use]
pub fn base64_encode(data: &[u8]) -> String {
    let mut text = String::new();
    for chunk in data.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let six = (bits >> (18 - 6 * index)) as usize & 63;
            text.push(if index <= chunk.len() { char::from(BASE64[six]) } else { '=' });
        }
    }
    text
}

/// Errors: `Invalid`.
pub fn base64_decode(text: &[u8]) -> Result<Vec<u8>, Error> {
    if !text.len().is_multiple_of(4) {
        return Err(invalid("base64"));
    }
    let end = text.len() - text.iter().rev().take(2).take_while(|b| **b == b'=').count();
    let mut data = Vec::new();
    for chunk in text[..end].chunks(4) {
        let mut bits = 0u32;
        for b in chunk {
            let six = BASE64.iter().position(|c| c == b).ok_or_else(|| invalid("base64"))?;
            bits = bits << 6 | six as u32;
        }
        let bytes = (bits << (6 * (4 - chunk.len()))).to_be_bytes();
        data.extend_from_slice(bytes.get(1..chunk.len()).ok_or_else(|| invalid("base64"))?);
    }
    Ok(data)
}

/// RFC 4648, section 5, without padding.
#[must_use]
pub fn base64url_encode(data: &[u8]) -> String {
    base64_encode(data).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// With padding or without. Errors: `Invalid`.
pub fn base64url_decode(text: &[u8]) -> Result<Vec<u8>, Error> {
    let mut plain: Vec<u8> = text
        .iter()
        .map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            // Of the other alphabet.
            b'+' | b'/' => b'!',
            other => *other,
        })
        .collect();
    while !plain.len().is_multiple_of(4) {
        plain.push(b'=');
    }
    base64_decode(&plain)
}

/// Lower case.
#[must_use]
pub fn hex_encode(data: &[u8]) -> String {
    data.iter().map(|b| format!("{b:02x}")).collect()
}

/// In either case. Errors: `Invalid`.
pub fn hex_decode(text: &[u8]) -> Result<Vec<u8>, Error> {
    if !text.len().is_multiple_of(2) {
        return Err(invalid("hexadecimal"));
    }
    text.chunks(2).map(|pair| hex_pair(pair).ok_or_else(|| invalid("hexadecimal"))).collect()
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    let [high, low] = pair else { return None };
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// RFC 3986, section 2.1: all but unreserved characters are `%XX`.
#[must_use]
pub fn url_encode(data: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    data.iter().map(|b| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// What is not well formed stays as it is.
pub fn url_decode(text: &[u8]) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = if *first == b'%' { after.get(..2).and_then(hex_pair) } else { None };
        data.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    Ok(data)
}

/// As in a query, where `+` is a space.
pub(crate) fn form_decode(text: &str) -> Vec<u8> {
    url_decode(text.replace('+', " ").as_bytes()).unwrap_or_default()
}
