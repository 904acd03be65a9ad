//! Client certificates: who must show one, who is refused, what is told of them.

use http::HeaderName;

use super::*;

/// A listener with `open.test`, `optional.test` and `*.secure.test`, the last two by `ca`.
fn listener(ca: &Ca) -> ServerTls {
    let mut spec = server(vec![Ca::new("server").server(&["open.test"])]);
    spec.client_auth = vec![
        auth(&["optional.test"], ClientAuthMode::Optional, ca),
        auth(&["*.secure.test", "secure.test"], ClientAuthMode::Required, ca),
    ];
    spec
}

#[tokio::test]
async fn clients_are_asked_by_server_name() {
    let ca = Ca::new("clients");
    let acceptor = Acceptor::new(&listener(&ca), None).unwrap();
    for version in [TLS12, TLS13] {
        let anonymous = Arc::new(client(version, None));
        let alice = Arc::new(client(version, Some(ca.client("alice.test", 0xa11ce))));
        for (name, config, policy, subject) in [
            ("open.test", &anonymous, 0, None),
            ("open.test", &alice, 0, None),
            ("unknown.test", &alice, 0, None),
            ("optional.test", &anonymous, 1, None),
            ("optional.test", &alice, 1, Some("CN=alice.test")),
            ("secure.test", &alice, 2, Some("CN=alice.test")),
            ("a.b.SECURE.test", &alice, 2, Some("CN=alice.test")),
        ] {
            let tls = visit(&acceptor, config, name).await.tls();
            assert_eq!(tls.policy, policy, "{name}");
            assert_eq!(tls.client.as_ref().map(|c| c.subject.as_str()), subject, "{name}");
            if let Some(client) = &tls.client {
                assert_eq!((client.issuer.as_str(), client.serial.as_str()), ("CN=clients", "0a11ce"));
                assert_eq!(client.names, ["alice.test"]);
                assert_eq!(client.fingerprint, fingerprint(&client.der));
            }
        }
    }
}

#[tokio::test]
async fn who_shows_none_or_a_wrong_one_is_refused() {
    let (ca, other) = (Ca::new("clients"), Ca::new("others"));
    let mut spec = listener(&ca);
    for auth in &mut spec.client_auth {
        auth.crls = vec![ca.crl(&[13])];
    }
    let acceptor = Acceptor::new(&spec, None).unwrap();
    let anonymous = client(TLS13, None);
    let good = client(TLS13, Some(ca.client("good.test", 12)));
    let revoked = client(TLS13, Some(ca.client("revoked.test", 13)));
    // It says that it was issued by the same authority, or clients would not even show it.
    let forged = client(TLS13, Some(Ca::new("clients").client("forged.test", 1)));
    let foreign = client(TLS13, Some(other.client("foreign.test", 1)));
    for (config, name, alert) in [
        (anonymous, "secure.test", Some(AlertDescription::CertificateRequired)),
        (good, "secure.test", None),
        (revoked.clone(), "secure.test", Some(AlertDescription::CertificateRevoked)),
        (revoked, "optional.test", Some(AlertDescription::CertificateRevoked)),
        (forged, "secure.test", Some(AlertDescription::DecryptError)),
        (foreign.clone(), "secure.test", Some(AlertDescription::UnknownCA)),
        (foreign, "optional.test", Some(AlertDescription::UnknownCA)),
    ] {
        let outcome = visit(&acceptor, &Arc::new(config), name).await;
        match alert {
            Some(alert) => assert_eq!(outcome.alert(), alert),
            None => assert!(outcome.tls().client.is_some()),
        }
    }
}

#[test]
fn hosts_have_policies() {
    let ca = Ca::new("clients");
    let acceptor = Acceptor::new(&listener(&ca), None).unwrap();
    for (host, policy) in [
        ("open.test", 0),
        ("optional.test", 1),
        ("secure.test", 2),
        ("x.secure.test", 2),
        ("X.Secure.Test.", 2),
        ("insecure.test", 0),
        ("", 0),
        ("[::1]", 0),
    ] {
        assert_eq!(acceptor.policy_for(host), policy, "{host}");
    }
}

#[test]
fn a_policy_is_the_same_in_another_generation_if_it_asks_for_the_same() {
    let ca = Ca::new("clients");
    let spec = listener(&ca);
    let old = Acceptor::new(&spec, None).unwrap();
    let mut swapped = spec.clone();
    swapped.client_auth.swap(0, 1);
    swapped.client_auth[0].headers.subject = Some(HeaderName::from_static("x-subject"));
    let mut revoked = spec.clone();
    revoked.client_auth[1].crls = vec![ca.crl(&[13])];
    let mut another = spec.clone();
    another.client_auth[0].roots = Ca::new("others").roots();
    for (spec, now) in [
        (&spec, [Some(0), Some(1), Some(2), None]),
        (&swapped, [Some(0), Some(2), Some(1), None]),
        (&revoked, [Some(0), Some(1), None, None]),
        (&another, [Some(0), None, Some(2), None]),
    ] {
        let new = Acceptor::new(spec, Some(&old)).unwrap();
        assert_eq!([0, 1, 2, 3].map(|policy| new.policy_now(&old, policy)), now);
    }
}

#[test]
fn identity_headers_are_told_by_policy_and_all_together() {
    let ca = Ca::new("clients");
    let mut spec = listener(&ca);
    let [subject, print] = ["x-subject", "x-fingerprint"].map(HeaderName::from_static);
    spec.client_auth[0].headers.subject = Some(subject.clone());
    spec.client_auth[1].headers = ClientAuthHeaders {
        subject: Some(subject.clone()),
        fingerprint: Some(print.clone()),
        certificate: None,
    };
    let acceptor = Acceptor::new(&spec, None).unwrap();
    assert_eq!(acceptor.all_identity_headers(), [subject.clone(), print.clone()]);
    assert!(acceptor.identity_headers(0).is_none());
    assert_eq!(acceptor.identity_headers(1).unwrap().fingerprint, None);
    assert_eq!(acceptor.identity_headers(2).unwrap().fingerprint, Some(print));
    assert!(acceptor.identity_headers(3).is_none());
}

#[test]
fn a_policy_without_authorities_is_an_error() {
    let mut spec = listener(&Ca::new("clients"));
    spec.client_auth[1].roots = Arc::new(RootCertStore::empty());
    let error = Acceptor::new(&spec, None).unwrap_err();
    assert!(error.to_string().starts_with("client authentication 1: no root"), "{error}");
}
