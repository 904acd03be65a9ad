//! The cookie that names an endpoint.

use aws_lc_rs::digest::{Context, SHA256};
use http::{HeaderMap, HeaderValue};
use weir_plugin::Exchange;

use super::hash;
use crate::spec::{SameSite, StickyCookie};

/// What the cookie says for each endpoint.
///
/// A token is a digest of the group's name and the endpoint's address: the same after a restart and on every
/// replica, without a secret to share. It does not show the address, though someone who knows the group's name
/// could test a guess.
#[derive(Debug)]
pub(super) struct Sticky {
    name: Box<str>,
    /// By endpoint: the token, and the header for plain and for TLS connections.
    endpoints: Vec<(String, [HeaderValue; 2])>,
}

/// Why a sticky cookie cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CookieError {
    /// RFC 6265, section 4.1.1: a token.
    #[error("the name of its sticky cookie is empty or has a character that a cookie's name cannot have")]
    Name,
    /// RFC 6265, section 4.1.1: neither control characters nor a semicolon.
    #[error("the path of its sticky cookie does not start with / or has a character that it cannot have")]
    Path,
}

impl Sticky {
    pub(super) fn new<'a>(
        cookie: &StickyCookie,
        group: &str,
        addresses: impl Iterator<Item = &'a str>,
    ) -> Result<Self, CookieError> {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if cookie.name.is_empty() || !cookie.name.bytes().all(is_token) {
            return Err(CookieError::Name);
        }
        if !cookie.path.starts_with('/')
            || !cookie.path.bytes().all(|b| matches!(b, b' '..=b'~') && b != b';')
        {
            return Err(CookieError::Path);
        }
        let endpoints = addresses.map(|address| {
            let token = token(group, address);
            let headers = [header(cookie, &token, false)?, header(cookie, &token, true)?];
            Ok((token, headers))
        });
        Ok(Sticky { name: (&*cookie.name).into(), endpoints: endpoints.collect::<Result<_, _>>()? })
    }

    /// The endpoint that the request's cookie names.
    pub(super) fn wanted(&self, headers: &HeaderMap) -> Option<usize> {
        let value = hash::cookie(headers, &self.name)?;
        self.endpoints.iter().position(|(token, _)| token.as_bytes() == value)
    }

    /// The cookie that names this endpoint from now on.
    pub(super) fn cookie(&self, index: usize, exchange: &Exchange) -> Option<HeaderValue> {
        let (_, [plain, secure]) = self.endpoints.get(index)?;
        Some(if exchange.connection.tls.is_some() { secure.clone() } else { plain.clone() })
    }
}

/// Sixteen hexadecimal digits.
fn token(group: &str, address: &str) -> String {
    let mut digest = Context::new(&SHA256);
    for part in ["weir sticky cookie 1", group, address] {
        digest.update(part.as_bytes());
        digest.update(b"\0");
    }
    digest.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn header(cookie: &StickyCookie, token: &str, secure: bool) -> Result<HeaderValue, CookieError> {
    let mut text = format!("{}={token}; Path={}", cookie.name, cookie.path);
    if let Some(age) = cookie.max_age {
        text.push_str(&format!("; Max-Age={}", age.as_secs()));
    }
    text.push_str("; HttpOnly");
    if secure {
        text.push_str("; Secure");
    }
    text.push_str(match cookie.same_site {
        SameSite::Lax => "; SameSite=Lax",
        SameSite::Strict => "; SameSite=Strict",
        SameSite::None => "; SameSite=None",
    });
    HeaderValue::try_from(text).map_err(|_| CookieError::Path)
}
