//! TLS with clients and with upstreams: rustls over aws-lc-rs.
//!
//! In reading order: [`Acceptor`] (clients), `names` (which certificate and which client-authentication policy a
//! server name has), `tickets` (resumption), `identity` (client certificates), [`Connector`] (upstreams),
//! [`sniff`] (the server name of a connection that is not terminated here).

mod acceptor;
mod connector;
mod identity;
mod names;
pub mod sniff;
mod tickets;

#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::sync::{Arc, LazyLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::VerifierBuilderError;

use crate::spec::TlsVersion;

pub use acceptor::Acceptor;
pub use connector::Connector;

/// Why TLS cannot be set up as asked for.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls does not take it.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
    /// No certificate is given.
    #[error("it has no certificate")]
    NoCertificate,
    /// The default certificate is not one of those given.
    #[error("default certificate {0} does not exist")]
    NoDefaultCertificate(usize),
    /// A client-authentication policy cannot be.
    #[error("client authentication {index}: {source}")]
    ClientAuth {
        /// Which one; 0 for the first.
        index: usize,
        /// Why.
        source: VerifierBuilderError,
    },
    /// No authority to verify upstreams with.
    #[error("upstream certificates cannot be verified: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// The system gave no random numbers for ticket keys.
    #[error("no random numbers for the ticket keys")]
    Random,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The network, or the peer closed the connection.
    #[error(transparent)]
    Io(io::Error),
    /// What the peer sent is not TLS, or not what is asked of it (versions, protocols, its certificate), or its
    /// alert. The peer was told by an alert.
    #[error(transparent)]
    Tls(rustls::Error),
    /// No certificate is served for this name, or a name was not given and there is no default.
    #[error("no certificate for {}", .0.as_deref().unwrap_or("a client that names no server"))]
    UnknownName(Option<Arc<str>>),
    /// Not a client: an authority that asked for a certificate's challenge, and was answered.
    #[error("an authority's challenge was answered")]
    Challenge,
    /// The client's certificate was accepted before, but not any more, or cannot be read.
    #[error("client certificate {0}")]
    ClientCertificate(&'static str),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<rustls::Error>() {
            Ok(tls) => HandshakeError::Tls(tls),
            Err(io) => HandshakeError::Io(io),
        }
    }
}

/// Plaintext (and, apart from it, ciphertext) that a connection takes in before a write has to wait. A record is
/// 16 KiB; two of them keep a system call busy, and bound what a slow reader costs.
const BUFFER_LIMIT: usize = 32 << 10;

/// The cryptography that weir uses, for all of its TLS.
///
/// What rustls takes by default, but AES-128-GCM before AES-256-GCM and ChaCha20-Poly1305: where the choice is
/// weir's, handshakes hash with SHA-256, which processors have instructions for, and records cost less.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.sort_by_key(|suite| {
            let name = suite.suite().as_str().unwrap_or_default();
            (!name.starts_with("TLS13"), !name.contains("AES_128"))
        });
        Arc::new(provider)
    });
    PROVIDER.clone()
}

/// SHA-256 of a certificate (DER) in lower-case hexadecimal: how weir shows fingerprints.
pub fn fingerprint(der: &[u8]) -> String {
    identity::hex(::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, der).as_ref())
}

/// What rustls calls the versions from `min` on.
fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match min {
        TlsVersion::Tls12 => rustls::ALL_VERSIONS,
        TlsVersion::Tls13 => &TLS13,
    }
}
