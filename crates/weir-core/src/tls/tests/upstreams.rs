//! TLS with upstreams; a listener's [`Acceptor`] plays the upstream.

use super::*;
use crate::spec::UpstreamTls;

fn upstream(ca: &Ca) -> UpstreamTls {
    UpstreamTls {
        roots: ca.roots(),
        verify: true,
        server_name: None,
        client_certificate: None,
        min_version: TLS12,
    }
}

/// What the connector says (true: HTTP/2), and what the upstream says.
type Both = (Result<bool, HandshakeError>, Result<weir_plugin::Tls, HandshakeError>);

/// The connector goes to the upstream at `host`, is greeted, and leaves.
async fn go(connector: &Connector, acceptor: &Acceptor, host: &str) -> Both {
    let (a, b) = UnixStream::pair().unwrap();
    let host = ServerName::try_from(host.to_owned()).unwrap();
    let server = async move {
        let (mut stream, tls) = acceptor.accept(Rewind::new(Bytes::new(), Socket::Unix(a))).await?;
        stream.write_all(b"hi").await?;
        stream.flush().await?;
        stream.read_to_end(&mut Vec::new()).await?;
        Ok(tls)
    };
    let client = async move {
        let (mut stream, http2) = connector.connect(Socket::Unix(b), host).await?;
        stream.read_exact(&mut [0; 2]).await?;
        stream.shutdown().await?;
        Ok(http2)
    };
    tokio::join!(client, server)
}

#[tokio::test]
async fn the_upstream_is_verified_by_authority_and_name() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let acceptor = Acceptor::new(&server(vec![ca.server(&["up.test", "10.0.0.1"])]), None).unwrap();
    let unverified = UpstreamTls { verify: false, ..upstream(&other) };
    let named = UpstreamTls { server_name: Some(ServerName::try_from("up.test").unwrap()), ..upstream(&ca) };
    for (what, spec, host, good) in [
        ("by name", upstream(&ca), "up.test", true),
        ("by address", upstream(&ca), "10.0.0.1", true),
        ("another name", upstream(&ca), "down.test", false),
        ("another address", upstream(&ca), "10.0.0.2", false),
        ("another name, but one is configured", named, "down.test", true),
        ("another authority", upstream(&other), "up.test", false),
        ("not verified", unverified, "down.test", true),
    ] {
        let connector = Connector::new(&spec, &[]).unwrap();
        let (client, server) = go(&connector, &acceptor, host).await;
        assert_eq!(client.is_ok(), good, "{what}: {client:?}");
        assert_eq!(server.is_ok(), good, "{what}: {server:?}");
        if !good {
            assert!(matches!(client, Err(HandshakeError::Tls(rustls::Error::InvalidCertificate(_)))));
        }
    }
}

#[tokio::test]
async fn alpn_settles_the_protocol() {
    let ca = Ca::new("ca");
    let mut spec = server(vec![ca.server(&["up.test"])]);
    let both = Acceptor::new(&spec, None).unwrap();
    spec.alpn = vec!["http/1.1".into()];
    let only1 = Acceptor::new(&spec, None).unwrap();
    for (offered, acceptor, http2) in [
        (&["h2", "http/1.1"][..], &both, true),
        (&["http/1.1"], &both, false),
        (&["h2", "http/1.1"], &only1, false),
    ] {
        let connector = Connector::new(&upstream(&ca), offered).unwrap();
        assert_eq!(go(&connector, acceptor, "up.test").await.0.unwrap(), http2);
    }
}

#[tokio::test]
async fn weir_shows_its_certificate_where_it_is_asked_to() {
    let (ca, clients) = (Ca::new("ca"), Ca::new("clients"));
    let mut spec = server(vec![ca.server(&["up.test"])]);
    spec.client_auth = vec![auth(&[], ClientAuthMode::Required, &clients)];
    let acceptor = Acceptor::new(&spec, None).unwrap();
    let connector = Connector::new(&upstream(&ca), &[]).unwrap();
    let (client, server) = go(&connector, &acceptor, "up.test").await;
    assert!(client.is_err() && server.is_err());
    let certificate = Some(clients.client("weir.test", 1));
    let spec = UpstreamTls { client_certificate: certificate, ..upstream(&ca) };
    let (client, server) = go(&Connector::new(&spec, &[]).unwrap(), &acceptor, "up.test").await;
    client.unwrap();
    assert_eq!(server.unwrap().client.unwrap().subject, "CN=weir.test");
}

#[tokio::test]
async fn sessions_are_resumed_and_old_versions_refused() {
    let ca = Ca::new("ca");
    let acceptor = Acceptor::new(&server(vec![ca.server(&["up.test"])]), None).unwrap();
    let connector = Connector::new(&upstream(&ca), &[]).unwrap();
    for resumed in [false, true, true] {
        assert_eq!(go(&connector, &acceptor, "up.test").await.1.unwrap().resumed, resumed);
    }
    // A server that speaks TLS 1.2 only.
    let key = ca.server(&["up.test"]).key;
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    let old = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    for (min_version, good) in [(TLS12, true), (TLS13, false)] {
        let connector = Connector::new(&UpstreamTls { min_version, ..upstream(&ca) }, &[]).unwrap();
        let (a, b) = UnixStream::pair().unwrap();
        let host = ServerName::try_from("up.test").unwrap();
        let (client, server) = tokio::join!(connector.connect(Socket::Unix(b), host), old.accept(a));
        assert_eq!((client.is_ok(), server.is_ok()), (good, good));
    }
}

#[test]
fn verification_needs_authorities() {
    let spec = UpstreamTls { roots: Arc::new(RootCertStore::empty()), ..upstream(&Ca::new("ca")) };
    let error = Connector::new(&spec, &[]).unwrap_err();
    assert!(error.to_string().starts_with("upstream certificates cannot be verified"), "{error}");
}
