//! Tickets of TLS when another snapshot is published: a real client on a whole server.

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};

use super::*;
use crate::spec::{ClientAuth, ClientAuthHeaders, ClientAuthMode, ServerTls, TlsVersion};
use crate::tls::provider;
use crate::tls::tests::Ca;

/// A server for `a.test` whose clients have certificates of an authority.
struct World {
    servers: Ca,
    clients: Ca,
    alice: Arc<CertifiedKey>,
}

impl World {
    fn new() -> Self {
        let clients = Ca::new("clients");
        World { servers: Ca::new("servers"), alice: clients.client("alice.test", 1), clients }
    }

    /// TLS with a fresh certificate; clients are asked for theirs by these.
    fn tls(&self, client_auth: Vec<ClientAuth>) -> ServerTls {
        ServerTls {
            certificates: vec![self.servers.server(&["a.test"])],
            default_certificate: None,
            min_version: TlsVersion::Tls12,
            alpn: Vec::new(),
            tickets: true,
            ticket_rotation: Duration::from_secs(3600),
            client_auth,
            challenges: None,
        }
    }

    fn auth(&self, mode: ClientAuthMode) -> ClientAuth {
        ClientAuth {
            names: Vec::new(),
            mode,
            roots: self.clients.roots(),
            crls: Vec::new(),
            headers: ClientAuthHeaders::default(),
        }
    }

    /// A client that verifies the server, has a certificate, and remembers its sessions.
    fn client(&self, version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.servers.roots())
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(self.alice.clone())));
        config.resumption = Resumption::in_memory_sessions(4);
        Arc::new(config)
    }
}

/// A visit of a client: whether its session was resumed.
fn resumed(server: &Running, config: &Arc<ClientConfig>) -> bool {
    let name = ServerName::try_from("a.test").unwrap();
    let client = ClientConnection::new(config.clone(), name).unwrap();
    let mut stream = StreamOwned::new(client, server.connect());
    // The ticket comes before it.
    expect(&mut stream, "hello");
    stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
}

fn publish(server: &Running, spec: &Spec) {
    let publisher = server.server.as_ref().unwrap().publisher();
    let next = Snapshot::assemble(spec, None, Some(&publisher.current())).unwrap();
    block_on(publisher.publish(next)).unwrap();
}

#[test]
fn tickets_survive_a_swap_of_certificates_and_no_change_of_who_may_come() {
    let world = World::new();
    let (optional, required) = (ClientAuthMode::Optional, ClientAuthMode::Required);
    let mut revocable = world.auth(required);
    revocable.crls = vec![world.clients.crl(&[])];
    let mut wider = world.auth(required);
    let mut roots = RootCertStore::clone(&world.clients.roots());
    roots.add(Ca::new("more").0.der().clone()).unwrap();
    wider.roots = Arc::new(roots);
    // Each comes after the one before it. Every one has a certificate and a key of its own.
    let generations = [
        ("at first", vec![], false),
        ("another certificate", vec![], true),
        ("clients may show a certificate", vec![world.auth(optional)], false),
        ("another certificate", vec![world.auth(optional)], true),
        ("clients must show one", vec![world.auth(required)], false),
        ("another certificate", vec![world.auth(required)], true),
        ("revocations are looked at", vec![revocable.clone()], false),
        ("another certificate", vec![revocable], true),
        ("more authorities", vec![wider], false),
        ("nobody is asked", vec![], false),
        ("another certificate", vec![], true),
    ];
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = world.client(version);
        let mut server: Option<Running> = None;
        let mut spec = greeting(|_| ());
        for (at, (what, client_auth, survives)) in generations.iter().enumerate() {
            spec.listeners[0].tls = Some(world.tls(client_auth.clone()));
            match &server {
                Some(server) => publish(server, &spec),
                None => server = Some(Running::new(&spec, 2)),
            }
            let server = server.as_ref().unwrap();
            assert_eq!(resumed(server, &client), *survives, "{:?}, {at}: {what}", version.version);
            assert!(resumed(server, &client), "{:?}, {at}: {what}: the session of just now", version.version);
        }
    }
}

#[test]
fn a_ticket_of_a_policy_that_was_gone_is_worth_nothing_when_it_comes_back() {
    let world = World::new();
    let with = vec![world.auth(ClientAuthMode::Required)];
    let mut stricter = with.clone();
    stricter[0].crls = vec![world.clients.crl(&[])];
    let mut spec = greeting(|main| main.tls = Some(world.tls(with.clone())));
    let server = Running::new(&spec, 2);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = world.client(version);
        assert!(!resumed(&server, &client));
        for client_auth in [stricter.clone(), with.clone()] {
            spec.listeners[0].tls = Some(world.tls(client_auth));
            publish(&server, &spec);
        }
        assert!(!resumed(&server, &client), "{:?}", version.version);
    }
}
