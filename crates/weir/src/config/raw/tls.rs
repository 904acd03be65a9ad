//! TLS on both sides.

use http::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_core::spec::HostPattern;

use super::{OneOrMany, Text, Time, secs};

/// TLS of a listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum ListenerTls {
    /// "self-signed": a certificate made at start, for a first try.
    Keyword(TlsKeyword),
    /// Certificates and settings.
    Settings(Box<ServerTls>),
}

/// A word for a whole TLS setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsKeyword {
    /// A certificate made at start for localhost and the listener's address.
    SelfSigned,
}

/// Certificates of a listener, and how TLS is spoken.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTls {
    /// The certificate chain, PEM: a file, "file:PATH" or "env:NAME". Short for one entry of `certificates`.
    pub cert: Option<String>,
    /// The private key that belongs to `cert`, PEM.
    pub key: Option<String>,
    /// Certificates; each is served for the names in it.
    pub certificates: Vec<Certificate>,
    /// Names for which `[acme]` gets a certificate and renews it: "www.example.com".
    pub acme: OneOrMany<String>,
    /// Clients without a server name, or with an unknown one, get the first certificate; false refuses them.
    pub serve_unknown_names: bool,
    /// The lowest version that is spoken: "1.2" or "1.3".
    pub min_version: TlsVersion,
    /// Protocols offered, most wanted first. Default: "h2", "http/1.1"; none where `protocol = "tcp"`.
    pub alpn: Option<Vec<String>>,
    /// Session resumption by tickets.
    pub tickets: bool,
    /// How often the key of the tickets changes; a ticket is good for two of these.
    pub ticket_rotation: Time,
    /// Client certificates, by server name; the first entry that fits holds.
    pub client_auth: Vec<ClientAuth>,
}

impl Default for ServerTls {
    fn default() -> Self {
        ServerTls {
            cert: None,
            key: None,
            certificates: Vec::new(),
            acme: OneOrMany::default(),
            serve_unknown_names: true,
            min_version: TlsVersion::Tls12,
            alpn: None,
            tickets: true,
            ticket_rotation: secs(6 * 3600),
            client_auth: Vec::new(),
        }
    }
}

/// A certificate chain and its key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Certificate {
    /// The certificate chain, PEM: a file, "file:PATH" or "env:NAME".
    #[schemars(extend("x-required" = true))]
    pub cert: Option<String>,
    /// The private key, PEM: a file, "file:PATH" or "env:NAME".
    #[schemars(extend("x-required" = true))]
    pub key: Option<String>,
}

/// The lowest TLS version that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 and 1.3.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 only.
    #[serde(rename = "1.3")]
    Tls13,
}

/// How clients prove who they are.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClientAuth {
    /// Server names for which it holds. Default: all.
    pub names: OneOrMany<Text<HostPattern>>,
    /// "required" (a client without a certificate is refused) or "optional".
    pub mode: ClientAuthMode,
    /// Certificates of the authorities that may have signed it, PEM: a file, "file:PATH" or "env:NAME".
    #[schemars(extend("x-required" = true))]
    pub ca: Option<String>,
    /// Lists of revoked certificates, PEM.
    pub crl: OneOrMany<String>,
    /// Request header that tells the upstream the subject.
    pub subject_header: Option<Text<HeaderName>>,
    /// Request header that tells the upstream the SHA-256 of the certificate, hexadecimal.
    pub fingerprint_header: Option<Text<HeaderName>>,
    /// Request header that tells the upstream the certificate, PEM, percent-encoded.
    pub certificate_header: Option<Text<HeaderName>>,
}

impl Default for ClientAuth {
    fn default() -> Self {
        ClientAuth {
            names: OneOrMany::default(),
            mode: ClientAuthMode::Required,
            ca: None,
            crl: OneOrMany::default(),
            subject_header: None,
            fingerprint_header: None,
            certificate_header: None,
        }
    }
}

/// Whether a client must have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuthMode {
    /// A client without one is served.
    Optional,
    /// A client without one is refused.
    Required,
}

/// TLS to an upstream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum UpstreamTls {
    /// True: TLS, verified with the authorities of the system.
    Switch(bool),
    /// TLS with settings.
    Settings(Box<UpstreamTlsSettings>),
}

/// How TLS is spoken to an upstream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTlsSettings {
    /// Certificates of the authorities to believe, PEM: a file, "file:PATH" or "env:NAME". Default: the system's.
    pub ca: Option<String>,
    /// False accepts any certificate: for tests only.
    pub verify: bool,
    /// The name that is asked for and verified. Default: the endpoint's host.
    pub server_name: Option<String>,
    /// weir's own certificate towards the upstream, PEM.
    pub cert: Option<String>,
    /// The private key that belongs to `cert`, PEM.
    pub key: Option<String>,
    /// The lowest version that is spoken: "1.2" or "1.3".
    pub min_version: TlsVersion,
}

impl Default for UpstreamTlsSettings {
    fn default() -> Self {
        UpstreamTlsSettings {
            ca: None,
            verify: true,
            server_name: None,
            cert: None,
            key: None,
            min_version: TlsVersion::Tls12,
        }
    }
}
