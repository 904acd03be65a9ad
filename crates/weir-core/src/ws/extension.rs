//! Agreeing on permessage-deflate (RFC 7692, section 7.1) by `Sec-WebSocket-Extensions` (RFC 6455, section 9.1): with a
//! client and with an upstream, each by itself.

use std::fmt::Write as _;

use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{HeaderMap, HeaderValue};

use super::Role;
use crate::spec::Deflate;

#[cfg(test)]
mod tests;

const NAME: &str = "permessage-deflate";
/// The window of a peer that names none.
const LARGEST: u8 = 15;
/// The smallest window that weir compresses with: zlib cannot use the 8 bits that the RFC allows.
const SMALLEST: u8 = 9;

/// What both sides of a connection do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    /// Whether messages of the client may refer to those before them.
    pub(crate) client_takeover: bool,
    /// Whether messages of the server may.
    pub(crate) server_takeover: bool,
    /// The largest window that the client compresses with, 9 to 15.
    pub(crate) client_window_bits: u8,
    /// The largest window that the server compresses with, 9 to 15.
    pub(crate) server_window_bits: u8,
}

impl Agreement {
    /// Whether messages of this side may refer to those before them.
    pub(crate) fn takeover(&self, sender: Role) -> bool {
        match sender {
            Role::Client => self.client_takeover,
            Role::Server => self.server_takeover,
        }
    }

    /// The largest window that this side compresses with, 9 to 15.
    pub(crate) fn window_bits(&self, sender: Role) -> u8 {
        match sender {
            Role::Client => self.client_window_bits,
            Role::Server => self.server_window_bits,
        }
    }
}

/// Accepts the first of a client's offers that can be: what both do from now on, and the
/// `Sec-WebSocket-Extensions` that tells the client. `None`: no compression, and no such field in the response.
pub(crate) fn accept(headers: &HeaderMap, settings: &Deflate) -> Option<(Agreement, HeaderValue)> {
    let offers = parse(headers)?;
    let mut offers = offers.iter().filter(|offer| offer.is_deflate()).filter_map(Parameters::of);
    let (agreement, offer) = offers.find_map(|offer| Some((accept_one(&offer, settings)?, offer)))?;
    let mut answer = String::from(NAME);
    if !agreement.server_takeover {
        answer.push_str("; server_no_context_takeover");
    }
    if !agreement.client_takeover {
        answer.push_str("; client_no_context_takeover");
    }
    if offer.server_bits.is_some() {
        let _ = write!(answer, "; server_max_window_bits={}", agreement.server_window_bits);
    }
    // A client that named 8 uses no more, whatever it is told.
    let limited = agreement.client_window_bits < LARGEST && offer.client_bits != Some(Some(8));
    if offer.client_bits.is_some() && limited {
        let _ = write!(answer, "; client_max_window_bits={}", agreement.client_window_bits);
    }
    HeaderValue::try_from(answer).ok().map(|answer| (agreement, answer))
}

fn accept_one(offer: &Parameters, settings: &Deflate) -> Option<Agreement> {
    let own = settings.window_bits;
    let server_window_bits = offer.server_bits.unwrap_or(LARGEST).min(own);
    if server_window_bits < SMALLEST {
        return None;
    }
    let client_window_bits = match offer.client_bits {
        // It cannot be told to use less.
        None => LARGEST,
        Some(bits) => bits.unwrap_or(LARGEST).min(own).max(SMALLEST),
    };
    Some(Agreement {
        client_takeover: settings.takeover && !offer.client_no_takeover,
        server_takeover: settings.takeover && !offer.server_no_takeover,
        client_window_bits,
        server_window_bits,
    })
}

/// The `Sec-WebSocket-Extensions` of a request to an upstream.
pub(crate) fn offer(settings: &Deflate) -> HeaderValue {
    let takeover = match settings.takeover {
        true => "",
        false => "; server_no_context_takeover; client_no_context_takeover",
    };
    let bits = settings.window_bits;
    let offer = match bits {
        LARGEST.. => format!("{NAME}{takeover}; client_max_window_bits"),
        // A server that cannot limit its window takes the second.
        _ => {
            let one = format!("{NAME}{takeover}; client_max_window_bits={bits}");
            format!("{one}; server_max_window_bits={bits}, {one}")
        }
    };
    HeaderValue::try_from(offer).expect("it is of ASCII")
}

/// What an upstream agreed to in its 101, to which [`offer`] was sent with the same settings. `None`: no compression.
///
/// # Errors
///
/// Why the 101 is invalid: it names anything that was not offered.
pub(crate) fn agreed(headers: &HeaderMap, settings: &Deflate) -> Result<Option<Agreement>, &'static str> {
    let extensions = parse(headers).ok_or("malformed Sec-WebSocket-Extensions")?;
    let mut extensions = extensions.iter();
    let Some(answer) = extensions.next() else { return Ok(None) };
    if !answer.is_deflate() || extensions.next().is_some() {
        return Err("an extension that was not offered");
    }
    let answer = Parameters::of(answer).ok_or("parameters of permessage-deflate that do not exist")?;
    if !settings.takeover && !answer.server_no_takeover {
        return Err("context takeover that was not offered");
    }
    let client_window_bits = match answer.client_bits {
        None => settings.window_bits,
        Some(None) => return Err("client_max_window_bits without a value"),
        Some(Some(bits)) if bits > settings.window_bits => return Err("a window that was not offered"),
        Some(Some(bits)) if bits < SMALLEST => return Err("a window of 256 bytes, which weir has not"),
        Some(Some(bits)) => bits,
    };
    Ok(Some(Agreement {
        // Without takeover weir said that it has none, whether or not the server repeats it.
        client_takeover: settings.takeover && !answer.client_no_takeover,
        server_takeover: settings.takeover && !answer.server_no_takeover,
        client_window_bits,
        server_window_bits: answer.server_bits.unwrap_or(LARGEST).max(SMALLEST),
    }))
}

/// The parameters of permessage-deflate, each there once at most.
#[derive(Clone, Copy, Debug, Default)]
struct Parameters {
    server_no_takeover: bool,
    client_no_takeover: bool,
    server_bits: Option<u8>,
    /// Present, and with a value.
    client_bits: Option<Option<u8>>,
}

impl Parameters {
    /// `None` where one is unknown, there twice, or has a value that it must not have.
    fn of(extension: &Extension) -> Option<Parameters> {
        let mut found = Parameters::default();
        for (name, value) in &extension.parameters {
            let again = match (name.to_ascii_lowercase().as_str(), value) {
                ("server_no_context_takeover", None) => {
                    std::mem::replace(&mut found.server_no_takeover, true)
                }
                ("client_no_context_takeover", None) => {
                    std::mem::replace(&mut found.client_no_takeover, true)
                }
                ("server_max_window_bits", Some(value)) => {
                    found.server_bits.replace(window_bits(value)?).is_some()
                }
                ("client_max_window_bits", None) => found.client_bits.replace(None).is_some(),
                ("client_max_window_bits", Some(value)) => {
                    found.client_bits.replace(Some(window_bits(value)?)).is_some()
                }
                _ => return None,
            };
            if again {
                return None;
            }
        }
        Some(found)
    }
}

/// 8 to 15, without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let plain = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    value.parse().ok().filter(|bits| plain && (8..=LARGEST).contains(bits))
}

/// One element of `Sec-WebSocket-Extensions`.
struct Extension<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<&'a str>)>,
}

impl Extension<'_> {
    fn is_deflate(&self) -> bool {
        self.name.eq_ignore_ascii_case(NAME)
    }
}

/// All extensions in their order, over all fields; `None` if one field is malformed.
fn parse(headers: &HeaderMap) -> Option<Vec<Extension<'_>>> {
    let mut extensions = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
        let mut text = Text(value.to_str().ok()?);
        loop {
            // Elements of a list may be empty (RFC 9110, section 5.6.1).
            while text.eat(',') {}
            if text.0.is_empty() {
                break;
            }
            let mut extension = Extension { name: text.token()?, parameters: Vec::new() };
            while text.eat(';') {
                let name = text.token()?;
                let value = if text.eat('=') { Some(text.value()?) } else { None };
                extension.parameters.push((name, value));
            }
            extensions.push(extension);
            if !text.0.is_empty() && !text.eat(',') {
                return None;
            }
        }
    }
    Some(extensions)
}

/// What is left of a field.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    /// Takes a separator with the white space around it.
    fn eat(&mut self, separator: char) -> bool {
        self.skip_space();
        let Some(rest) = self.0.strip_prefix(separator) else { return false };
        self.0 = rest;
        self.skip_space();
        true
    }

    fn token(&mut self) -> Option<&'a str> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let end = self.0.bytes().position(|byte| !is_token(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token, or one in quotes: what is quoted must be a token too, so that it needs no escapes.
    fn value(&mut self) -> Option<&'a str> {
        let Some(rest) = self.0.strip_prefix('"') else { return self.token() };
        self.0 = rest;
        let token = self.token()?;
        self.0 = self.0.strip_prefix('"')?;
        Some(token)
    }
}
