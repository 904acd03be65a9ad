//! Handshakes with real clients and servers over a socket pair. Certificates are made at run time.

mod client_auth;
mod clients;
mod resumption;
mod upstreams;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{AlertDescription, ClientConfig, ProtocolVersion, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::connector::AnyCertificate;
use super::*;
use crate::net::{Rewind, Socket};
use crate::spec::{Certificate, ClientAuth, ClientAuthHeaders, ClientAuthMode, HostPattern, ServerTls};

/// An authority.
pub(crate) struct Ca(pub(crate) CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ca(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A certificate for these names, by a key of this kind.
    fn issue(&self, names: &[&str], serial: u64, key: KeyPair) -> Arc<CertifiedKey> {
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name.push(DnType::CommonName, names.first().unwrap().as_str());
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        let issuer: &Issuer<'_, KeyPair> = &self.0;
        let der = params.signed_by(&key, issuer).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Arc::new(CertifiedKey::from_der(vec![der], key, &provider()).unwrap())
    }

    pub(crate) fn server(&self, names: &[&str]) -> Certificate {
        Certificate { key: self.issue(names, 1, KeyPair::generate().unwrap()), names: patterns(names) }
    }

    pub(crate) fn client(&self, name: &str, serial: u64) -> Arc<CertifiedKey> {
        self.issue(&[name], serial, KeyPair::generate().unwrap())
    }

    pub(crate) fn crl(&self, revoked: &[u64]) -> CertificateRevocationListDer<'static> {
        let now = SystemTime::now();
        let revoked_certs = revoked.iter().map(|&serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_secs(3600)).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().der().clone()
    }
}

fn patterns(names: &[&str]) -> Vec<HostPattern> {
    let pattern = |name: &&str| match name.strip_prefix('*') {
        Some(suffix) => HostPattern::Suffix(suffix.into()),
        None => HostPattern::Exact((*name).into()),
    };
    names.iter().map(pattern).collect()
}

/// TLS as a listener has it by default, with these certificates, the first for unknown names.
fn server(certificates: Vec<Certificate>) -> ServerTls {
    ServerTls {
        certificates,
        default_certificate: Some(0),
        min_version: TlsVersion::Tls12,
        alpn: vec!["h2".into(), "http/1.1".into()],
        tickets: true,
        ticket_rotation: Duration::from_secs(6 * 3600),
        client_auth: Vec::new(),
        challenges: None,
    }
}

/// Clients of these names are to show a certificate of this authority.
fn auth(names: &[&str], mode: ClientAuthMode, ca: &Ca) -> ClientAuth {
    ClientAuth {
        names: patterns(names),
        mode,
        roots: ca.roots(),
        crls: Vec::new(),
        headers: ClientAuthHeaders::default(),
    }
}

/// A client that takes any certificate and remembers sessions. Its configuration is its own.
fn client(version: TlsVersion, certificate: Option<Arc<CertifiedKey>>) -> ClientConfig {
    let versions = match version {
        TlsVersion::Tls12 => &[&rustls::version::TLS12][..],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate));
    let mut config = match certificate {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(16);
    config
}

const TLS13: TlsVersion = TlsVersion::Tls13;
const TLS12: TlsVersion = TlsVersion::Tls12;

/// What a client saw.
#[derive(Debug)]
struct Seen {
    /// Of the server's certificate.
    fingerprint: String,
    version: ProtocolVersion,
    tickets: u32,
}

/// Both sides of a connection.
struct Outcome {
    server: Result<weir_plugin::Tls, HandshakeError>,
    client: Result<Seen, io::Error>,
}

impl Outcome {
    /// What the server says of a connection that both sides are content with.
    fn tls(self) -> weir_plugin::Tls {
        self.client.expect("the client is content");
        self.server.expect("the server is content")
    }

    /// The alert by which the client was refused.
    fn alert(&self) -> AlertDescription {
        assert!(self.server.is_err());
        let error = self.client.as_ref().expect_err("the client was refused");
        match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => *alert,
            _ => panic!("no alert: {error:?}"),
        }
    }
}

/// A client comes to a listener by this name, the server greets it, and the client leaves.
async fn visit(acceptor: &Acceptor, config: &Arc<ClientConfig>, name: &str) -> Outcome {
    let (a, b) = UnixStream::pair().unwrap();
    let server = async move {
        let (mut stream, tls) = acceptor.accept(Rewind::new(Bytes::new(), Socket::Unix(a))).await?;
        stream.write_all(b"hi").await?;
        stream.flush().await?;
        stream.read_to_end(&mut Vec::new()).await?;
        Ok(tls)
    };
    let client = async move {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(config.clone()).connect(name, b).await?;
        stream.read_exact(&mut [0; 2]).await?;
        let session = stream.get_ref().1;
        let seen = Seen {
            fingerprint: fingerprint(session.peer_certificates().and_then(<[_]>::first).unwrap()),
            version: session.protocol_version().unwrap(),
            tickets: session.tls13_tickets_received(),
        };
        stream.shutdown().await?;
        Ok(seen)
    };
    let (server, client) = tokio::join!(server, client);
    Outcome { server, client }
}
