//! TLS on both sides. Certificates and keys are already read and parsed here; files are the program's business.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rustls::RootCertStore;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::sign::CertifiedKey;

use super::StringMatch;
use crate::challenges::Challenges;

/// TLS of a listener.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// At least one. By server name: exact, then wildcard, then `default_certificate`.
    pub certificates: Vec<Certificate>,
    /// Index into `certificates` for clients without SNI or with an unknown name; `None` refuses them
    /// (`unrecognized_name`).
    pub default_certificate: Option<usize>,
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
    /// Offered by ALPN, most wanted first. HTTP listeners: `h2`, `http/1.1`.
    pub alpn: Vec<Arc<str>>,
    /// Session resumption by tickets. Default true.
    pub tickets: bool,
    /// How often the ticket key changes; a ticket is good for two of these. Default 6 h.
    pub ticket_rotation: Duration,
    /// Client authentication by server name; the first that fits holds. Names without one ask for none.
    pub client_auth: Vec<ClientAuth>,
    /// Challenges of ACME that are answered in the handshake (RFC 8737).
    pub challenges: Option<Arc<Challenges>>,
}

/// A certificate chain with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Chain and key, known to belong together.
    pub key: Arc<CertifiedKey>,
    /// The names it is served for: those of its subject alternative names.
    pub names: Vec<StringMatch>,
}

/// The lowest TLS version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246) and 1.3.
    Tls12,
    /// TLS 1.3 (RFC 8446) only.
    Tls13,
}

/// How clients of some server names authenticate.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    /// Server names; empty: all.
    pub names: Vec<StringMatch>,
    /// Whether a certificate must be given.
    pub mode: ClientAuthMode,
    /// Who may have signed it.
    pub roots: Arc<RootCertStore>,
    /// Revoked certificates.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
    /// Headers that tell the upstream who the client is. Any such header from a client is removed, on every route.
    pub headers: ClientAuthHeaders,
}

/// Whether a client certificate must be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMode {
    /// Asked for; a client without one is served.
    Optional,
    /// A client without one is refused in the handshake.
    Required,
}

/// Names of headers that tell an upstream who the client is.
#[derive(Clone, Debug, Default)]
pub struct ClientAuthHeaders {
    /// The subject, RFC 4514.
    pub subject: Option<HeaderName>,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: Option<HeaderName>,
    /// The certificate as PEM, percent-encoded (as nginx's `$ssl_client_escaped_cert`).
    pub certificate: Option<HeaderName>,
}

/// TLS to an upstream group.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// Whom to believe.
    pub roots: Arc<RootCertStore>,
    /// False accepts any certificate: for tests only, and logged at start. Default true.
    pub verify: bool,
    /// The name sent as SNI and verified; `None`: the endpoint's host.
    pub server_name: Option<rustls::pki_types::ServerName<'static>>,
    /// weir's own certificate towards the upstream.
    pub client_certificate: Option<Arc<CertifiedKey>>,
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
}
