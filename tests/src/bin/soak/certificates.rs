//! Certificates made at run time, and what a client of the soak believes.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest, Sha256};

/// The name in every certificate, and the host that is asked for.
pub(crate) const NAME: &str = "localhost";

/// SHA-256 of a certificate.
pub(crate) type Fingerprint = [u8; 32];

/// A certificate and a key, as PEM; they belong together unless it was [`broken`](Pair::mismatched) on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) certificate: String,
    /// The private key.
    pub(crate) key: String,
    /// Of the certificate.
    pub(crate) fingerprint: Fingerprint,
}

impl Pair {
    /// A fresh self-signed certificate.
    pub(crate) fn new() -> Result<Self> {
        let made =
            rcgen::generate_simple_self_signed([NAME.to_owned()]).context("a certificate cannot be made")?;
        Ok(Pair {
            certificate: made.cert.pem(),
            key: made.signing_key.serialize_pem(),
            fingerprint: fingerprint(made.cert.der()),
        })
    }

    /// A fresh certificate beside a key that is not its own.
    pub(crate) fn mismatched() -> Result<Self> {
        Ok(Pair { key: Self::new()?.key, ..Self::new()? })
    }
}

/// SHA-256 of a certificate in DER.
pub(crate) fn fingerprint(certificate: &[u8]) -> Fingerprint {
    Sha256::digest(certificate).into()
}

/// Takes the certificates that the soak has made and means to be served, and no other: so every handshake of the load
/// also proves that no broken certificate is served.
#[derive(Debug)]
pub(crate) struct Known {
    good: Mutex<HashSet<Fingerprint>>,
    /// Handshakes with any other.
    strangers: AtomicU64,
    provider: Arc<CryptoProvider>,
}

impl Known {
    /// Knows none.
    pub(crate) fn new() -> Arc<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Arc::new(Known { good: Mutex::default(), strangers: AtomicU64::new(0), provider })
    }

    /// From now on this one may be served.
    pub(crate) fn allow(&self, fingerprint: Fingerprint) {
        self.good.lock().unwrap_or_else(PoisonError::into_inner).insert(fingerprint);
    }

    /// How many handshakes there were with a certificate that must not be served.
    pub(crate) fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// A client that speaks this protocol. Only `resuming` ones skip handshakes by tickets.
    pub(crate) fn client(self: &Arc<Self>, alpn: &str, resuming: bool) -> Result<Arc<ClientConfig>> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(self.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        if !resuming {
            config.resumption = Resumption::disabled();
        }
        Ok(Arc::new(config))
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        if good.contains(&fingerprint(certificate)) {
            Ok(ServerCertVerified::assertion())
        } else {
            self.strangers.fetch_add(1, Ordering::Relaxed);
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
