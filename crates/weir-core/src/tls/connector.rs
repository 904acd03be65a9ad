//! TLS with upstreams.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::{BUFFER_LIMIT, HandshakeError, TlsError, provider, versions};
use crate::net::{Socket, Stream};
use crate::spec;

/// Sessions that are remembered for resumption, over all servers of a group.
const SESSIONS: usize = 256;

/// TLS to an upstream group, ready to serve. Sessions to resume are shared by all workers.
pub struct Connector {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

impl Connector {
    /// Compiles TLS to an upstream group that offers these protocols by ALPN.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(spec: &spec::UpstreamTls, alpn: &[&str]) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(spec.min_version))?;
        let builder = if spec.verify {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(spec.roots.clone(), provider()).build()?;
            builder.with_webpki_verifier(verifier)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate))
        };
        let mut config = match &spec.client_certificate {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Connector { connector: Arc::new(config).into(), server_name: spec.server_name.clone() })
    }

    /// The handshake; `host` is used where the configuration names no server. True: ALPN chose `h2`. Not bounded
    /// in time: the caller does that.
    ///
    /// Cancel safety: dropped before its end, the connection is lost.
    ///
    /// # Errors
    /// See [`HandshakeError`].
    pub async fn connect(
        &self,
        socket: Socket,
        host: ServerName<'static>,
    ) -> Result<(Stream, bool), HandshakeError> {
        let name = self.server_name.clone().unwrap_or(host);
        let limit = |connection: &mut ClientConnection| connection.set_buffer_limit(Some(BUFFER_LIMIT));
        // On the heap, or every task that connects would keep its 1 KiB.
        let stream = Box::pin(self.connector.connect_with(name, socket, limit)).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Stream::ClientTls(Box::new(stream)), http2))
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Accepts whatever certificate a server shows, as long as it has the key of it: protects from listeners, not from
/// impostors. Only where the configuration says `verify = false`.
#[derive(Debug)]
pub(super) struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
