//! Signed tokens.

use std::fmt;
use std::fmt::Debug;

use crate::error::Result;

/// What tokens are verified with.
#[derive(Clone, PartialEq, Eq)]
pub enum TokenKeys {
    /// A set of keys as JSON (RFC 7517, section 5), at most 64 KiB and 100 keys. Those that are not for signatures, or
    /// of a kind that is not known, are passed over.
    Jwks(String),
    /// A secret that who signs and who verifies share; for `HS256` and its like, and for nothing else.
    Secret(Vec<u8>),
    /// A public key as PEM (`PUBLIC KEY`).
    Pem(String),
}

/// Without the secret.
impl Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TokenKeys::Jwks(_) => "Jwks",
            TokenKeys::Secret(_) => "Secret",
            TokenKeys::Pem(_) => "Pem",
        })
    }
}

/// What a token must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenOptions {
    /// Algorithms that are accepted (RFC 7518, section 3.1); at least one, and never `none`.
    pub algorithms: Vec<String>,
    /// Who may have issued it; empty: anybody.
    pub issuers: Vec<String>,
    /// For whom it must be, one of these; empty: anybody.
    pub audiences: Vec<String>,
    /// Seconds by which clocks may differ; at most 600.
    pub leeway: u32,
    /// Claims that must be there.
    pub required: Vec<String>,
}

/// Verifies JSON Web Tokens (RFC 7519) that are signed (RFC 7515, compact).
pub trait Tokens: Debug + Send + Sync {
    /// The claims of a token (at most 16 KiB) as JSON, once its signature and all else holds: `exp` and `nbf` where
    /// they are there, and the options. The key is the one that `kid` names, or without that any that fits, of at
    /// most four.
    ///
    /// # Errors
    /// [`crate::Error::Denied`] says which check the token failed; [`crate::Error::Invalid`] for keys and options.
    fn verify(&self, token: &[u8], keys: &TokenKeys, options: &TokenOptions) -> Result<String>;
}
