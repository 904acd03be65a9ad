//! Signed tokens: which key ([`keys`]), the signature (here, by the crate `jsonwebtoken`), what they claim ([`claims`],
//! by weir's own clock).

mod claims;
mod keys;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, decode_header};
use serde_json::{Map, Value};
use weir_plugin::error::{Error, Result};
use weir_plugin::services::{Clock, TokenKeys, TokenOptions, Tokens};

use self::keys::Keys;

/// The longest token, in bytes.
const LONGEST_TOKEN: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Jwt {
    clock: Arc<dyn Clock>,
    keys: Keys,
}

impl Jwt {
    /// Whether a token has expired is by this clock.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Jwt { clock, keys: Keys::default() }
    }
}

impl Tokens for Jwt {
    fn verify(&self, token: &[u8], keys: &TokenKeys, options: &TokenOptions) -> Result<String> {
        claims::check_options(options)?;
        let accepted = algorithms(keys, options)?;
        let keys = self.keys.read(keys)?;
        let parts = Parts::split(token)?;
        let header = header(token)?;
        if !accepted.contains(&header.alg) {
            return Err(Error::denied(format!("its algorithm {:?} is not accepted", header.alg)));
        }
        let fitting = keys::fitting(&keys, header.alg, header.kid.as_deref())?;
        let is_signed = fitting.iter().any(|key| {
            jsonwebtoken::crypto::verify(parts.signature, parts.message.as_bytes(), &key.key, header.alg)
                .unwrap_or(false)
        });
        if !is_signed {
            return Err(Error::denied("its signature is wrong"));
        }
        let text = URL_SAFE_NO_PAD.decode(parts.payload).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(malformed)?;
        let claims: Map<String, Value> = serde_json::from_str(&text).map_err(|_| malformed())?;
        claims::check(&claims, options, self.clock.now())?;
        Ok(text)
    }
}

/// A token's parts, still encoded.
struct Parts<'a> {
    /// What is signed.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a [u8]) -> Result<Self> {
        if token.len() > LONGEST_TOKEN {
            return Err(Error::denied(format!("it is longer than {LONGEST_TOKEN} bytes")));
        }
        let token = std::str::from_utf8(token).map_err(|_| malformed())?;
        let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = message.split_once('.').ok_or_else(malformed)?;
        match header.is_empty() || payload.contains('.') {
            true => Err(malformed()),
            false => Ok(Parts { message, payload, signature }),
        }
    }
}

fn malformed() -> Error {
    Error::denied("it is no signed token (RFC 7519): three parts of base64url with JSON in the first two")
}

fn header(token: &[u8]) -> Result<Header> {
    let header = decode_header(token);
    let header = header
        .map_err(|_| Error::denied("its header cannot be read, or names an algorithm that is not known"))?;
    match header.crit {
        // RFC 7515, section 4.1.11: weir understands none of them.
        Some(_) => Err(Error::denied("its header has `crit`: extensions that must be understood")),
        None => Ok(header),
    }
}

/// The algorithms that are accepted, which the keys can be used with: a public key is never a secret.
fn algorithms(keys: &TokenKeys, options: &TokenOptions) -> Result<Vec<Algorithm>> {
    if options.algorithms.is_empty() {
        return Err(Error::invalid("`algorithms` is empty: name those that are accepted, such as \"RS256\""));
    }
    let secret = matches!(keys, TokenKeys::Secret(_));
    let parse = |name: &String| {
        let algorithm: Algorithm = name.parse().map_err(|_| {
            Error::invalid(format!(
                "unknown algorithm \"{name}\": there are HS256, RS256, PS256 (each with 384 and 512), ES256, ES384, EdDSA"
            ))
        })?;
        match keys::is_secret(algorithm) == secret {
            true => Ok(algorithm),
            false if secret => Err(Error::invalid(format!("{name} takes a public key, not a secret"))),
            false => Err(Error::invalid(format!("{name} takes a secret, not a public key"))),
        }
    };
    options.algorithms.iter().map(parse).collect()
}

#[cfg(test)]
mod tests;
