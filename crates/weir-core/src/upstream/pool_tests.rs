use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use arc_swap::ArcSwap;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::net::deadline::Coarse;
use crate::relay::Registry;
use crate::snapshot::Snapshot;
use crate::spec::{Balance, Spec, TlsVersion, UpstreamTls};
use crate::upstream::group::tests::upstream;

/// Runs a test as a worker would.
pub(in crate::upstream) fn on_worker(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime =
        builder.enable_all().build_local(tokio::runtime::LocalOptions::default()).expect("a runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(30), test).await.expect("the test hangs");
    });
}

/// A worker and a group of one endpoint.
pub(in crate::upstream) struct Client {
    pub(in crate::upstream) worker: Rc<Worker>,
    pub(in crate::upstream) group: Arc<Group>,
    stage: watch::Sender<Stage>,
}

impl Client {
    pub(in crate::upstream) fn new(
        address: SocketAddr,
        protocol: Protocol,
        tls: Option<UpstreamTls>,
    ) -> Self {
        let mut spec = upstream(&[&address.to_string()], Balance::Random);
        (spec.protocol, spec.tls) = (protocol, tls);
        let snapshot = Snapshot::assemble(&Spec::default(), None, None).expect("a snapshot of nothing");
        let (stage, follow) = watch::channel(Stage::Serving);
        let worker = Worker::new(0, Arc::new(ArcSwap::from_pointee(snapshot)), follow, Registry::new(1));
        Client { worker, group: Arc::new(Group::new(&spec, None).expect("a good group")), stage }
    }

    pub(in crate::upstream) async fn lease(&self, fresh: bool) -> Result<Lease, Error> {
        let endpoint = &self.group.endpoints[0];
        lease(&self.worker, &self.group, endpoint, fresh, &mut Deadline::default()).await
    }

    /// A lease over HTTP/1.1, and whether the connection was used before.
    async fn http1(&self, fresh: bool) -> (Connection, bool) {
        match self.lease(fresh).await.expect("a connection") {
            Lease::Http1 { connection, reused } => (connection, reused),
            Lease::Http2(_) => panic!("not HTTP/1.1"),
        }
    }

    /// Does what a connection does when its exchange is over.
    fn put(&self, connection: Connection) {
        self.worker.pools.slot(&self.group, &self.group.endpoints[0]).home.put(connection);
    }
}

pub(in crate::upstream) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[test]
fn a_connection_that_came_home_is_used_again_unless_a_fresh_one_is_asked_for() {
    on_worker(async {
        let (_listener, address) = listen().await;
        let client = Client::new(address, Protocol::Http1, None);
        let (connection, reused) = client.http1(false).await;
        assert!(!reused);
        client.put(connection);
        let (connection, reused) = client.http1(false).await;
        assert!(reused);
        client.put(connection);
        assert!(!client.http1(true).await.1);
    });
}

#[test]
fn a_connection_that_the_upstream_closed_is_not_given_out() {
    on_worker(async {
        let (listener, address) = listen().await;
        let client = Client::new(address, Protocol::Http1, None);
        let (connection, _) = client.http1(false).await;
        client.put(connection);
        drop(listener.accept().await);
        while !client.worker.pools.is_empty() {
            client.worker.pools.sweep(Instant::now(), Coarse::now());
            tokio::task::yield_now().await;
        }
        assert!(!client.http1(false).await.1);
    });
}

#[test]
fn a_lease_takes_little_room_in_its_task() {
    let client = Client::new(([127, 0, 0, 1], 80).into(), Protocol::Auto, None);
    let mut deadline = Deadline::default();
    let future = lease(&client.worker, &client.group, &client.group.endpoints[0], false, &mut deadline);
    assert!(size_of_val(&future) <= 128, "{}", size_of_val(&future));
    drop(future);
    let future = crate::upstream::connect(&client.group, &client.group.endpoints[0], &mut deadline);
    assert!(size_of_val(&future) <= 64, "{}", size_of_val(&future));
}

#[test]
fn a_slot_is_kept_while_a_connection_of_it_is_out() {
    on_worker(async {
        let (_listener, address) = listen().await;
        let client = Client::new(address, Protocol::Http1, None);
        let (connection, _) = client.http1(false).await;
        client.worker.pools.sweep(Instant::now(), Coarse::now());
        client.put(connection);
        assert!(client.http1(false).await.1);
        client.worker.pools.sweep(Instant::now(), Coarse::now());
        assert!(client.worker.pools.slots.borrow().iter().flatten().next().is_none());
    });
}

#[test]
fn the_end_of_the_worker_closes_what_is_idle() {
    on_worker(async {
        let (listener, address) = listen().await;
        let client = Client::new(address, Protocol::Http1, None);
        let (connection, _) = client.http1(false).await;
        client.put(connection);
        let sweeper = tokio::task::spawn_local(sweep(client.worker.clone()));
        client.stage.send_replace(Stage::Draining);
        client.stage.send_replace(Stage::Ending);
        sweeper.await.expect("the sweeper ends");
        let (mut accepted, _) = listener.accept().await.expect("a connection");
        assert_eq!(accepted.read(&mut [0]).await.expect("an end"), 0);
    });
}

/// Takes TLS connections and keeps them; ALPN offers only `protocol`.
async fn serve_tls(listener: TcpListener, protocol: &str) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
    let mut config = config.with_single_cert(vec![made.cert.der().clone()], key).expect("a certificate");
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let mut open = Vec::new();
    while let Ok((socket, _)) = listener.accept().await {
        open.push(acceptor.accept(socket).await);
    }
}

/// What a group of this protocol speaks to a TLS endpoint that offers `alpn`, asked twice.
fn spoken(protocol: Protocol, alpn: &'static str) -> Vec<String> {
    let said = Rc::new(RefCell::new(Vec::new()));
    let told = said.clone();
    on_worker(async move {
        let (listener, address) = listen().await;
        tokio::task::spawn_local(serve_tls(listener, alpn));
        let tls = UpstreamTls {
            roots: Arc::new(rustls::RootCertStore::empty()),
            verify: false,
            server_name: None,
            client_certificate: None,
            min_version: TlsVersion::Tls12,
        };
        let client = Client::new(address, protocol, Some(tls));
        for _ in 0..2 {
            let lease = client.lease(false).await;
            told.borrow_mut().push(match &lease {
                Ok(Lease::Http1 { .. }) => "http/1.1".to_owned(),
                Ok(Lease::Http2(_)) => "h2".to_owned(),
                Err(error) => error.kind().reason().to_owned(),
            });
        }
    });
    said.take()
}

#[test]
fn over_tls_both_sides_settle_what_is_spoken() {
    assert_eq!(spoken(Protocol::Auto, "h2"), ["h2", "h2"]);
    assert_eq!(spoken(Protocol::Auto, "http/1.1"), ["http/1.1", "http/1.1"]);
    assert_eq!(spoken(Protocol::Http1, "http/1.1"), ["http/1.1", "http/1.1"]);
    assert_eq!(spoken(Protocol::Http2, "h2"), ["h2", "h2"]);
    assert_eq!(spoken(Protocol::Http2, "http/1.1"), ["upstream_tls", "upstream_tls"]);
}

/// A connection that is stale when told so.
#[derive(Clone, Debug)]
struct Fake(u32, Rc<Cell<bool>>);

impl Idle for Fake {
    fn is_stale(&mut self) -> bool {
        self.1.get()
    }
}

fn fake(number: u32) -> Fake {
    Fake(number, Rc::default())
}

fn list(max: usize) -> IdleList<Fake> {
    let mut list = IdleList::new();
    list.set_bounds(max, Duration::from_secs(60));
    list
}

fn numbers(list: &IdleList<Fake>) -> Vec<u32> {
    list.connections.iter().map(|(fake, _)| fake.0).collect()
}

#[test]
fn the_last_to_come_is_the_first_to_go() {
    let (mut list, now) = (list(8), Coarse::now());
    (1..=3).for_each(|n| assert!(list.put(fake(n), now).is_none()));
    let order: Vec<u32> = std::iter::from_fn(|| list.take(|| now)).map(|f| f.0).collect();
    assert_eq!(order, [3, 2, 1]);
}

#[test]
fn one_too_many_costs_the_longest_idle() {
    let (mut list, now) = (list(2), Coarse::now());
    assert!(list.put(fake(1), now).is_none());
    assert!(list.put(fake(2), now).is_none());
    assert_eq!(list.put(fake(3), now).map(|f| f.0), Some(1));
    assert_eq!(numbers(&list), [2, 3]);
    list.set_bounds(0, Duration::from_secs(60));
    assert_eq!(list.put(fake(4), now).map(|f| f.0), Some(4));
}

#[test]
fn stale_and_expired_ones_are_not_given_out() {
    let (mut list, now) = (list(8), Coarse::now());
    let (old, stale) = (fake(1), fake(3));
    list.put(old, now);
    list.put(fake(2), now.after(Duration::from_secs(30)));
    list.put(stale.clone(), now.after(Duration::from_secs(30)));
    stale.1.set(true);
    assert_eq!(list.take(|| now.after(Duration::from_secs(70))).map(|f| f.0), Some(2));
    assert!(list.take(|| now.after(Duration::from_secs(70))).is_none(), "the last one is too old");
    assert!(list.connections.is_empty());
}

#[test]
fn a_sweep_closes_what_is_stale_or_expired_and_keeps_the_order() {
    let (mut list, now) = (list(8), Coarse::now());
    let stale = fake(3);
    list.put(fake(1), now);
    list.put(fake(2), now.after(Duration::from_secs(30)));
    list.put(stale.clone(), now.after(Duration::from_secs(30)));
    list.put(fake(4), now.after(Duration::from_secs(30)));
    stale.1.set(true);
    list.sweep(now.after(Duration::from_secs(60)));
    assert_eq!(numbers(&list), [2, 4]);
    list.sweep(now.after(Duration::from_secs(90)));
    assert!(list.connections.is_empty());
}
