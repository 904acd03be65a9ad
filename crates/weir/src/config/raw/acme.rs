//! `[acme]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OneOrMany, Time};

/// The authority that signs the certificates of listeners with `tls.acme` (RFC 8555).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Acme {
    /// True: you agree to the authority's terms of service. Without that it is not asked.
    pub agree: bool,
    /// The URL of its directory. Default: Let's Encrypt.
    pub directory: String,
    /// Whom it may write to: "mailto:admin@example.com".
    pub contact: OneOrMany<String>,
    /// The folder where certificates, their keys and the account are kept; for weir alone.
    pub store: String,
    /// How it is shown that a name leads here: "http-01" (a request on port 80) or "tls-alpn-01" (a handshake on 443).
    pub challenge: AcmeChallenge,
    /// How long before its end a certificate is renewed. Default: when a third of its life is left.
    pub renew_before: Option<Time>,
    /// Authorities that may have signed its own certificate, PEM: a file, "file:PATH" or "env:NAME". Default: the
    /// system's.
    pub roots: Option<String>,
}

impl Default for Acme {
    fn default() -> Self {
        Acme {
            agree: false,
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            contact: OneOrMany::default(),
            store: "/var/lib/weir/acme".to_owned(),
            challenge: AcmeChallenge::Http01,
            renew_before: None,
            roots: None,
        }
    }
}

/// How an authority is shown that a name leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AcmeChallenge {
    /// A request to a listener without TLS, on port 80 from outside.
    #[serde(rename = "http-01")]
    Http01,
    /// A handshake with a listener that has the name, on port 443 from outside.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}
