//! TLS with clients and with upstreams.

use http::HeaderName;
use rustls::pki_types::ServerName;

use crate::net::{Rewind, Socket, Stream};
use crate::spec;

/// TLS of a listener, ready to serve.
#[derive(Debug)]
pub struct Acceptor {}

/// TLS to an upstream group, ready to serve.
#[derive(Debug)]
pub struct Connector {}

/// Why TLS cannot be set up as asked for.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// rustls does not take it.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The bytes, the certificate or the network.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Acceptor {
    /// Compiles TLS of a listener. Ticket keys are kept from `previous` for policies that did not change.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(_spec: &spec::ServerTls, _previous: Option<&Acceptor>) -> Result<Self, TlsError> {
        unimplemented!()
    }

    /// The handshake. Not bounded in time: the caller does that.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn accept(
        &self,
        _socket: Rewind<Socket>,
    ) -> Result<(Stream, weir_plugin::Tls), HandshakeError> {
        unimplemented!()
    }

    /// The client-authentication policy of a host name: 0 where none is asked for. A request whose host has
    /// another policy than its connection ([`weir_plugin::Tls::policy`]) gets 421, unless the host's is 0.
    pub fn policy_for(&self, _host: &str) -> u32 {
        unimplemented!()
    }

    /// How a policy's identity is told to upstreams.
    pub fn identity_headers(&self, _policy: u32) -> Option<&spec::ClientAuthHeaders> {
        unimplemented!()
    }

    /// Every header that any policy sets: to be removed from what clients send.
    pub fn all_identity_headers(&self) -> &[HeaderName] {
        unimplemented!()
    }
}

impl Connector {
    /// Compiles TLS to an upstream group that offers these protocols by ALPN.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(_spec: &spec::UpstreamTls, _alpn: &[&str]) -> Result<Self, TlsError> {
        unimplemented!()
    }

    /// The handshake; `host` is used where the configuration names no server. True: ALPN chose `h2`.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn connect(
        &self,
        _socket: Socket,
        _host: ServerName<'static>,
    ) -> Result<(Stream, bool), HandshakeError> {
        unimplemented!()
    }
}
