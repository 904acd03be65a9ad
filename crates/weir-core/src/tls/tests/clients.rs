//! Certificates by name, versions, protocols, and what is not TLS.

use super::*;
use crate::challenges::{ALPN, Challenges};

#[tokio::test]
async fn the_server_name_chooses_the_certificate() {
    let ca = Ca::new("ca");
    let named = [&["default.test"][..], &["a.test", "c.test"], &["*.b.test"], &["x.b.test"]];
    let certificates: Vec<_> = named.iter().map(|names| ca.server(names)).collect();
    let prints: Vec<_> = certificates.iter().map(|c| fingerprint(&c.key.cert[0])).collect();
    let acceptor = Acceptor::new(&server(certificates), None).unwrap();
    let config = Arc::new(client(TLS13, None));
    for (name, expected) in [
        ("default.test", 0),
        ("a.test", 1),
        ("C.test", 1),
        ("y.b.test", 2),
        ("x.b.test", 3),
        ("y.x.b.test", 0),
        ("b.test", 0),
        ("unknown.test", 0),
        ("127.0.0.1", 0),
    ] {
        let Outcome { server, client } = visit(&acceptor, &config, name).await;
        assert_eq!(client.unwrap().fingerprint, prints[expected], "{name}");
        let sni = server.unwrap().sni;
        let told = (name != "127.0.0.1").then(|| name.to_lowercase());
        assert_eq!(sni.as_deref(), told.as_deref());
    }
}

#[tokio::test]
async fn without_a_default_certificate_unknown_names_are_refused() {
    let mut spec = server(vec![Ca::new("ca").server(&["a.test"])]);
    spec.default_certificate = None;
    let acceptor = Acceptor::new(&spec, None).unwrap();
    let config = Arc::new(client(TLS13, None));
    for (name, told) in [("b.test", Some("b.test")), ("127.0.0.1", None)] {
        let outcome = visit(&acceptor, &config, name).await;
        assert_eq!(outcome.alert(), AlertDescription::UnrecognisedName);
        match outcome.server.unwrap_err() {
            HandshakeError::UnknownName(name) => assert_eq!(name.as_deref(), told),
            other => panic!("{other}"),
        }
    }
    assert!(visit(&acceptor, &config, "a.test").await.server.is_ok());
}

#[tokio::test]
async fn of_two_certificates_for_a_name_the_client_gets_one_that_it_can_verify() {
    let ca = Ca::new("ca");
    let ed25519 = ca.issue(&["a.test"], 1, KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    let ecdsa = ca.issue(&["a.test"], 2, KeyPair::generate().unwrap());
    let print = fingerprint(&ecdsa.cert[0]);
    let certificate = |key| Certificate { key, names: patterns(&["a.test"]) };
    let acceptor = Acceptor::new(&server(vec![certificate(ed25519), certificate(ecdsa)]), None).unwrap();
    // Ed25519 is not among what this client verifies.
    #[derive(Debug)]
    struct OnlyEcdsa;
    impl rustls::client::danger::ServerCertVerifier for OnlyEcdsa {
        fn verify_server_cert(
            &self,
            _: &rustls::pki_types::CertificateDer<'_>,
            _: &[rustls::pki_types::CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            m: &[u8],
            c: &rustls::pki_types::CertificateDer<'_>,
            d: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            AnyCertificate.verify_tls12_signature(m, c, d)
        }
        fn verify_tls13_signature(
            &self,
            m: &[u8],
            c: &rustls::pki_types::CertificateDer<'_>,
            d: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            AnyCertificate.verify_tls13_signature(m, c, d)
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
    let mut config = client(TLS13, None);
    config.dangerous().set_certificate_verifier(Arc::new(OnlyEcdsa));
    assert_eq!(visit(&acceptor, &Arc::new(config), "a.test").await.client.unwrap().fingerprint, print);
    let any = visit(&acceptor, &Arc::new(client(TLS13, None)), "a.test").await.client.unwrap();
    assert_ne!(any.fingerprint, print, "the first is preferred");
}

#[tokio::test]
async fn a_version_below_the_floor_is_refused() {
    let mut spec = server(vec![Ca::new("ca").server(&["a.test"])]);
    let both = Acceptor::new(&spec, None).unwrap();
    spec.min_version = TLS13;
    let only13 = Acceptor::new(&spec, None).unwrap();
    let (client12, client13) = (Arc::new(client(TLS12, None)), Arc::new(client(TLS13, None)));

    let Outcome { server, client } = visit(&both, &client12, "a.test").await;
    assert_eq!(client.unwrap().version, ProtocolVersion::TLSv1_2);
    let tls = server.unwrap();
    assert_eq!((tls.version, tls.cipher), ("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"));
    for acceptor in [&both, &only13] {
        assert_eq!(visit(acceptor, &client13, "a.test").await.tls().version, "TLSv1.3");
    }
    let outcome = visit(&only13, &client12, "a.test").await;
    assert_eq!(outcome.alert(), AlertDescription::ProtocolVersion);
    assert!(matches!(outcome.server, Err(HandshakeError::Tls(_))));
}

#[tokio::test]
async fn alpn_chooses_what_weir_wants_most() {
    let acceptor = Acceptor::new(&server(vec![Ca::new("ca").server(&["a.test"])]), None).unwrap();
    for (offered, chosen) in
        [(&["http/1.1", "h2"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let mut config = client(TLS13, None);
        config.alpn_protocols = offered.iter().map(|p| p.as_bytes().to_vec()).collect();
        let tls = visit(&acceptor, &Arc::new(config), "a.test").await.tls();
        assert_eq!(tls.alpn.as_deref(), chosen);
    }
    let mut config = client(TLS13, None);
    config.alpn_protocols = vec![b"spdy/1".to_vec()];
    let outcome = visit(&acceptor, &Arc::new(config), "a.test").await;
    assert_eq!(outcome.alert(), AlertDescription::NoApplicationProtocol);
}

#[tokio::test]
async fn aes_128_is_preferred_unless_the_client_wants_chacha_most() {
    let acceptor = Acceptor::new(&server(vec![Ca::new("ca").server(&["a.test"])]), None).unwrap();
    for (first, chosen) in [
        ("TLS13_AES_256", "TLS_AES_128_GCM_SHA256"),
        ("TLS13_AES_128", "TLS_AES_128_GCM_SHA256"),
        ("TLS13_CHACHA20", "TLS_CHACHA20_POLY1305_SHA256"),
    ] {
        let mut provider = (*provider()).clone();
        provider.cipher_suites.sort_by_key(|s| !s.suite().as_str().unwrap().starts_with(first));
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate))
            .with_no_client_auth();
        assert_eq!(visit(&acceptor, &Arc::new(config), "a.test").await.tls().cipher, chosen);
    }
}

#[tokio::test]
async fn what_is_not_tls_gets_an_alert_and_a_silent_end_is_an_io_error() {
    let acceptor = Acceptor::new(&server(vec![Ca::new("ca").server(&["a.test"])]), None).unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    // More than is read before it is refused: were it left unread, the client would see a reset and no alert.
    let request =
        [&b"POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 32768\r\n\r\n"[..], &[b'x'; 32768]].concat();
    b.write_all(&request).await.unwrap();
    let client = async {
        let mut answer = Vec::new();
        b.read_to_end(&mut answer).await.unwrap();
        drop(b);
        answer
    };
    let (result, answer) = tokio::join!(acceptor.accept(Rewind::new(Bytes::new(), Socket::Unix(a))), client);
    assert!(matches!(result, Err(HandshakeError::Tls(_))), "{:?}", result.err());
    assert_eq!(answer.first(), Some(&21), "an alert");

    let (a, b) = UnixStream::pair().unwrap();
    drop(b);
    let result = acceptor.accept(Rewind::new(Bytes::new(), Socket::Unix(a))).await;
    assert!(matches!(result, Err(HandshakeError::Io(_))), "{:?}", result.err());
}

#[tokio::test]
async fn bytes_that_were_peeked_at_are_not_lost() {
    let acceptor = Acceptor::new(&server(vec![Ca::new("ca").server(&["a.test"])]), None).unwrap();
    let (mut a, b) = UnixStream::pair().unwrap();
    let server = async {
        let mut peeked = [0; 9];
        a.read_exact(&mut peeked).await.unwrap();
        acceptor
            .accept(Rewind::new(Bytes::copy_from_slice(&peeked), Socket::Unix(a)))
            .await
            .map(|(_, tls)| tls)
    };
    let name = ServerName::try_from("a.test").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client(TLS13, None)));
    let (server, client) = tokio::join!(server, connector.connect(name, b));
    assert_eq!(server.unwrap().sni.as_deref(), Some("a.test"));
    assert!(client.is_ok());
}

#[test]
fn what_cannot_be_served_is_an_error() {
    let error = Acceptor::new(&server(Vec::new()), None).unwrap_err();
    assert_eq!(error.to_string(), "it has no certificate");
    let mut spec = server(vec![Ca::new("ca").server(&["a.test"])]);
    spec.default_certificate = Some(1);
    let error = Acceptor::new(&spec, None).unwrap_err();
    assert_eq!(error.to_string(), "default certificate 1 does not exist");
}

#[tokio::test]
async fn a_handshake_leaves_no_room_taken_in_the_task_of_its_connection() {
    let ca = Ca::new("ca");
    let acceptor = Acceptor::new(&server(vec![ca.server(&["a.test"])]), None).unwrap();
    let upstream = crate::spec::UpstreamTls {
        roots: ca.roots(),
        verify: true,
        server_name: None,
        client_certificate: None,
        min_version: TLS12,
    };
    let connector = Connector::new(&upstream, &[]).unwrap();
    let (a, b) = UnixStream::pair().unwrap();
    let accept = size_of_val(&acceptor.accept(Rewind::new(Bytes::new(), Socket::Unix(a))));
    let connect = size_of_val(&connector.connect(Socket::Unix(b), ServerName::try_from("a.test").unwrap()));
    assert!(accept <= 256, "{accept} bytes");
    assert!(connect <= 384, "{connect} bytes");
}

#[tokio::test]
async fn an_authority_gets_the_answer_to_its_challenge_and_clients_do_not() {
    let ca = Ca::new("ca");
    let (mut spec, challenges) = (server(vec![ca.server(&["a.test"])]), Arc::<Challenges>::default());
    spec.challenges = Some(challenges.clone());
    spec.default_certificate = None;
    let acceptor = Acceptor::new(&spec, None).unwrap();
    let answer = ca.issue(&["new.test"], 7, KeyPair::generate().unwrap());
    let print = fingerprint(&answer.cert[0]);
    let offering = |protocols: &[&[u8]]| {
        let mut config = client(TLS13, None);
        config.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
        Arc::new(config)
    };
    let authority = offering(&[ALPN]);
    let seen = async |config: &Arc<ClientConfig>, name: &str| {
        let (a, b) = UnixStream::pair().unwrap();
        let accept = acceptor.accept(Rewind::new(Bytes::new(), Socket::Unix(a)));
        let connector = tokio_rustls::TlsConnector::from(config.clone());
        let connect = async {
            let mut stream = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), b).await?;
            let print = fingerprint(stream.get_ref().1.peer_certificates().unwrap().first().unwrap());
            stream.shutdown().await?;
            Ok::<_, io::Error>(print)
        };
        let (server, client) = tokio::join!(accept, connect);
        (server.err().map(|error| error.to_string()), client.ok())
    };
    let refused = |name: &str| format!("no certificate for {name}");
    assert_eq!(seen(&authority, "new.test").await, (Some(refused("new.test")), None));
    let pending = challenges.answer_tls("new.test", Arc::unwrap_or_clone(answer)).unwrap();
    let answered = Some("an authority's challenge was answered".to_owned());
    for version in [TLS12, TLS13] {
        let mut config = client(version, None);
        config.alpn_protocols = vec![ALPN.to_vec()];
        assert_eq!(seen(&Arc::new(config), "NEW.test").await, (answered.clone(), Some(print.clone())));
    }
    assert_eq!(seen(&authority, "other.test").await, (Some(refused("other.test")), None));
    for protocols in [&[ALPN, b"h2"][..], &[b"h2"], &[]] {
        assert_eq!(seen(&offering(protocols), "new.test").await, (Some(refused("new.test")), None));
    }
    drop(pending);
    assert_eq!(seen(&authority, "new.test").await, (Some(refused("new.test")), None));
}
