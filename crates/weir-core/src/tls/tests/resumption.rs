//! Tickets: who may resume what, and what is left of them after a reload.

use std::sync::Mutex;

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};

use super::*;

/// Offers the newest session to any server: what no decent client does.
#[derive(Debug, Default)]
struct Indecent {
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Option<Tls13ClientSessionValue>>,
}

impl ClientSessionStore for Indecent {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        *self.tls12.lock().unwrap() = Some(value);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap().clone()
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        *self.tls12.lock().unwrap() = None;
    }
    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        *self.tls13.lock().unwrap() = Some(value);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap().take()
    }
}

/// A listener where `optional.test` asks for a certificate of `ca`.
fn listener(ca: &Ca) -> ServerTls {
    let mut spec = server(vec![Ca::new("server").server(&["open.test"])]);
    spec.client_auth = vec![auth(&["optional.test"], ClientAuthMode::Optional, ca)];
    spec
}

#[tokio::test]
async fn a_session_is_resumed_with_what_it_knew() {
    let ca = Ca::new("clients");
    let acceptor = Acceptor::new(&listener(&ca), None).unwrap();
    for version in [TLS12, TLS13] {
        let config = Arc::new(client(version, Some(ca.client("alice.test", 7))));
        for (visits, resumed) in [(1, false), (2, true), (3, true)] {
            let outcome = visit(&acceptor, &config, "optional.test").await;
            assert_eq!(outcome.client.as_ref().unwrap().tickets, u32::from(version == TLS13));
            let tls = outcome.tls();
            assert_eq!(tls.resumed, resumed, "{version:?}, visit {visits}");
            assert_eq!(tls.client.map(|c| c.subject).as_deref(), Some("CN=alice.test"));
            assert_eq!(tls.policy, 1);
        }
    }
}

#[tokio::test]
async fn without_tickets_nothing_is_resumed() {
    let mut spec = listener(&Ca::new("clients"));
    spec.tickets = false;
    let acceptor = Acceptor::new(&spec, None).unwrap();
    for version in [TLS12, TLS13] {
        let config = Arc::new(client(version, None));
        for _ in 0..2 {
            let outcome = visit(&acceptor, &config, "open.test").await;
            assert_eq!(outcome.client.as_ref().unwrap().tickets, 0);
            assert!(!outcome.tls().resumed);
        }
    }
}

#[tokio::test]
async fn a_ticket_of_one_name_is_worth_nothing_under_another() {
    let ca = Ca::new("clients");
    let mut spec = listener(&ca);
    spec.client_auth.push(auth(&["secure.test"], ClientAuthMode::Required, &ca));
    let acceptor = Acceptor::new(&spec, None).unwrap();
    for version in [TLS12, TLS13] {
        let mut config = client(version, None);
        config.resumption = Resumption::store(Arc::new(Indecent::default()));
        let config = Arc::new(config);
        assert!(!visit(&acceptor, &config, "open.test").await.tls().resumed);
        assert!(visit(&acceptor, &config, "open.test").await.tls().resumed, "it does offer its session");
        assert!(!visit(&acceptor, &config, "optional.test").await.tls().resumed);
        assert!(visit(&acceptor, &config, "secure.test").await.server.is_err());
    }
}

/// Whether a client that came under the first specification resumes its session under the second.
async fn survives(before: &ServerTls, after: &ServerTls, config: ClientConfig, name: &str) -> bool {
    let first = Acceptor::new(before, None).unwrap();
    let second = Acceptor::new(after, Some(&first)).unwrap();
    let config = Arc::new(config);
    assert!(!visit(&first, &config, name).await.tls().resumed);
    visit(&second, &config, name).await.tls().resumed
}

#[tokio::test]
async fn a_reload_keeps_tickets_of_policies_that_did_not_change() {
    let ca = Ca::new("clients");
    let before = listener(&ca);
    let alice = ca.client("alice.test", 7);
    type Change = fn(&mut ServerTls, &Ca);
    // What changes, and whether `open.test` and `optional.test` still resume.
    let changes: [(&str, Change, bool, bool); 9] = [
        ("nothing", |_, _| {}, true, true),
        ("the authorities, read again", |s, ca| s.client_auth[0].roots = ca.roots(), true, true),
        (
            "a header",
            |s, _| s.client_auth[0].headers.subject = Some("x-subject".parse().unwrap()),
            true,
            true,
        ),
        (
            "a policy before it",
            |s, ca| {
                s.client_auth.insert(0, auth(&["other.test"], ClientAuthMode::Required, ca));
            },
            true,
            true,
        ),
        (
            "the authorities",
            |s, _| {
                let mut roots = (*s.client_auth[0].roots).clone();
                roots.add(Ca::new("more").0.der().clone()).unwrap();
                s.client_auth[0].roots = Arc::new(roots);
            },
            true,
            false,
        ),
        ("revocations", |s, ca| s.client_auth[0].crls = vec![ca.crl(&[])], true, false),
        ("the mode", |s, _| s.client_auth[0].mode = ClientAuthMode::Required, true, false),
        ("the names", |s, _| s.client_auth[0].names.extend(patterns(&["more.test"])), true, false),
        ("the rotation", |s, _| s.ticket_rotation = Duration::from_secs(3600), false, false),
    ];
    for version in [TLS12, TLS13] {
        for (what, change, open, optional) in changes {
            let mut after = before.clone();
            change(&mut after, &ca);
            let config = client(version, Some(alice.clone()));
            assert_eq!(survives(&before, &after, config.clone(), "open.test").await, open, "{what}");
            let config = client(version, Some(alice.clone()));
            assert_eq!(survives(&before, &after, config, "optional.test").await, optional, "{what}");
        }
    }
}

#[tokio::test]
async fn a_name_that_gets_another_policy_gets_new_sessions() {
    let ca = Ca::new("clients");
    let with = listener(&ca);
    let mut without = with.clone();
    without.client_auth.clear();
    for version in [TLS12, TLS13] {
        assert!(!survives(&without, &with, client(version, None), "optional.test").await);
        assert!(!survives(&with, &without, client(version, None), "optional.test").await);
        assert!(survives(&without, &with, client(version, None), "open.test").await);
    }
}
