//! Whole servers on loopback. Their traffic is layer 4, which needs nothing else.

mod challenges;
mod connect;
mod listeners;
mod live;
mod messages;
mod passed;
mod relays;
mod stop;
mod tickets;
mod traffic;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::error::Kind;
use crate::log::{AccessLog, Record};
use crate::spec::{
    AcceptBalance, Balance, EndpointAddress, EndpointSpec, HostPattern, HttpLimits, Listener, OnReload,
    Protocol, ProxyProtocol, Retry, Serve, Spec, TcpRoute, Upstream, UpstreamTimeouts,
};

/// Long enough for the slowest machine; nothing waits for it to pass.
const LONG: Duration = Duration::from_secs(60);

fn listener(name: &str, address: ListenAddress) -> Listener {
    Listener {
        name: name.into(),
        address,
        backlog: 128,
        serve: Serve::Tcp,
        tls: None,
        proxy_protocol: None,
        balance: AcceptBalance::Kernel,
        max_connections: 1000,
        max_connections_per_client: 1000,
        handshake_timeout: LONG,
        http: HttpLimits::default(),
    }
}

fn loopback() -> ListenAddress {
    ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)))
}

fn upstream(name: &str, endpoints: &[SocketAddr]) -> Upstream {
    let endpoints =
        endpoints.iter().map(|a| EndpointSpec { address: EndpointAddress::Ip(*a), weight: 1 }).collect();
    Upstream {
        name: name.into(),
        endpoints,
        balance: Balance::RoundRobin,
        protocol: Protocol::Http1,
        tls: None,
        timeouts: UpstreamTimeouts::default(),
        max_idle: 1,
        idle_timeout: LONG,
        retry: Retry::default(),
        skip_refused: LONG,
        resolve_every: LONG,
        replay_body: 0,
    }
}

fn route(name: &str, sni: &[&str]) -> TcpRoute {
    TcpRoute {
        name: name.into(),
        listener: "main".into(),
        sni: sni.iter().map(|name| HostPattern::Exact((*name).into())).collect(),
        upstream: name.into(),
        idle_timeout: LONG,
        on_reload: OnReload::Pin,
        identity: 0,
    }
}

/// A listener `main` with one route to a server that greets with `hello`.
fn greeting(change: impl FnOnce(&mut Listener)) -> Spec {
    let mut main = listener("main", loopback());
    change(&mut main);
    Spec {
        listeners: vec![main],
        tcp_routes: vec![route("hello", &[])],
        upstreams: vec![upstream("hello", &[greeter("hello")])],
        ..Spec::default()
    }
}

/// What the access log was told.
#[derive(Debug)]
struct Seen {
    worker: u64,
    peer: String,
    route: String,
    attempts: u32,
    bytes: (u64, u64),
    reason: Option<Kind>,
}

#[derive(Debug)]
struct Log(Mutex<Sender<Seen>>);

impl AccessLog for Log {
    fn record(&self, record: &Record<'_>) {
        let exchange = record.exchange;
        let seen = Seen {
            worker: exchange.connection.id >> 48,
            peer: exchange.connection.peer.to_string(),
            route: exchange.route.to_string(),
            attempts: exchange.attempts,
            bytes: (record.bytes_in, record.bytes_out),
            reason: record.reason,
        };
        let _ = self.0.lock().unwrap().send(seen);
    }
}

struct Running {
    server: Option<Server>,
    log: Receiver<Seen>,
}

impl Running {
    fn new(spec: &Spec, workers: usize) -> Self {
        let (tell, log) = channel();
        let log_to: Arc<dyn AccessLog> = Arc::new(Log(Mutex::new(tell)));
        let snapshot = Snapshot::assemble(spec, Some(log_to), None).unwrap();
        Running { server: Some(Server::start(snapshot, workers).unwrap()), log }
    }

    fn address(&self, name: &str) -> SocketAddr {
        let all = self.server.as_ref().unwrap().addresses();
        all.into_iter().find(|(n, _)| &**n == name).and_then(|(_, address)| address).unwrap()
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address("main")).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    fn seen(&self) -> Seen {
        self.log.recv_timeout(LONG).unwrap()
    }

    fn drain(&mut self, time: Duration) -> Drained {
        block_on(self.server.take().unwrap().drain(time))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The one listener that could not be bound.
fn unbound(spec: &Spec) -> BindError {
    match Server::start(Snapshot::assemble(spec, None, None).unwrap(), 2).err() {
        Some(StartError::Bind(mut errors)) if errors.len() == 1 => errors.remove(0),
        other => panic!("{other:?}"),
    }
}

/// A server that greets each client before it hears anything, then sends back what it hears.
fn greeter(greeting: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut stream, mut buffer) = (stream, [0; 1024]);
                let _ = stream.write_all(greeting.as_bytes());
                while let Ok(n @ 1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(&buffer[..n]);
                }
            });
        }
    });
    address
}

/// Reads exactly this, or says what came instead.
fn expect(stream: &mut impl Read, text: &str) {
    let mut got = vec![0; text.len()];
    let read = stream.read_exact(&mut got);
    assert!(read.is_ok() && got == text.as_bytes(), "{read:?} after {:?}", String::from_utf8_lossy(&got));
}

/// Whether the other side closes without a byte.
fn is_closed(stream: &mut impl Read) -> bool {
    matches!(stream.read(&mut [0]), Ok(0))
        || stream.read(&mut [0]).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset)
}
