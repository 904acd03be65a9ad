//! The downstream connection as a plugin sees it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP address.
    Ip(SocketAddr),
    /// A Unix socket; clients of one have no address.
    Unix,
}

impl Peer {
    /// The IP address, with IPv4-mapped IPv6 addresses shown as IPv4.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Ip(a) => Some(a.ip().to_canonical()),
            Peer::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Ip(a) => a.fmt(f),
            Peer::Unix => f.write_str("unix:"),
        }
    }
}

/// A downstream connection: who is at the other end and how it got here. Immutable once the handshake is done.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Unique in this process.
    pub id: u64,
    /// The listener's name in the configuration.
    pub listener: Arc<str>,
    /// The client, as told by the PROXY protocol where the listener trusts its sender, else by the socket.
    pub peer: Peer,
    /// The address that the client connected to.
    pub local: Peer,
    /// What the TLS handshake settled; `None` on a plain connection.
    pub tls: Option<Arc<Tls>>,
}

/// What a TLS handshake settled.
#[derive(Clone, Debug)]
pub struct Tls {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite by its IANA name.
    pub cipher: &'static str,
    /// Server name indication (RFC 6066, section 3), lower case.
    pub sni: Option<Arc<str>>,
    /// The protocol chosen by ALPN (RFC 7301), for example `h2`.
    pub alpn: Option<Arc<str>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// The client's certificate, where one was asked for, given and verified.
    pub client: Option<ClientCertificate>,
    /// The client-authentication policy under which this connection was verified: an index into the listener's
    /// policies, 0 where none applies.
    pub policy: u32,
}

/// A verified client certificate.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate itself, DER.
    pub der: Arc<[u8]>,
    /// The subject as an RFC 4514 string.
    pub subject: String,
    /// The issuer as an RFC 4514 string.
    pub issuer: String,
    /// The serial number in lower-case hexadecimal.
    pub serial: String,
    /// DNS, URI, e-mail and IP names of the subject alternative name extension.
    pub names: Vec<String>,
    /// SHA-256 of the DER in lower-case hexadecimal.
    pub fingerprint: String,
}
