use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::pipe::moved;
use super::*;
use crate::net::{Rewind, Socket};
use crate::route::CompiledRoute;
use crate::snapshot::Snapshot;
use crate::spec::{Action, Certificate, HostPattern, Reload, Route, ServerTls, Spec, TlsVersion};

const LONG: Duration = Duration::from_secs(60);

/// A connection: the end of a test's peer, and that of the relay.
async fn tcp() -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (socket, _) = listener.accept().await.unwrap();
    for socket in [socket2::SockRef::from(&peer), socket2::SockRef::from(&socket)] {
        socket.set_tcp_nodelay(true).unwrap();
        socket.set_send_buffer_size(128 << 10).unwrap();
        socket.set_recv_buffer_size(128 << 10).unwrap();
    }
    (peer, socket.into())
}

fn unix() -> (UnixStream, Stream) {
    let (peer, socket) = UnixStream::pair().unwrap();
    (peer, Stream::Plain(Socket::Unix(socket)))
}

/// Relays of one worker.
struct Stages(Arc<Registry>);

impl Stages {
    fn new() -> Self {
        Stages(Registry::new(1))
    }

    /// Another snapshot, which has no routes.
    fn reload(&self) {
        let reload = Reload { spread: Duration::ZERO, grace: Duration::ZERO, generations: 0 };
        let spec = Spec { reload, ..Spec::default() };
        self.0.reconcile(&Snapshot::assemble(&spec, None, None).unwrap());
        let registry = self.0.clone();
        tokio::spawn(async move { registry.run().await });
    }

    fn control(&self) -> Control {
        let spec = Route::new("test", Action::Upstream("test".into()));
        let route = CompiledRoute { spec, group: None };
        let (id, carrier) = (fastrand::u64(..), Carrier::Http(Arc::new(route)));
        self.0.enter(0, Entering { id, client: None, carrier, generation: 1, frames: false })
    }

    fn relay(&self, client: Stream, upstream: Stream) -> impl Future<Output = (Carried, End)> + use<> {
        self.relay_for(client, upstream, LONG, Farewell::None)
    }

    fn relay_for(
        &self,
        client: Stream,
        upstream: Stream,
        idle: Duration,
        farewell: Farewell,
    ) -> impl Future<Output = (Carried, End)> + use<> {
        relay(client, upstream, Default::default(), (idle, Duration::ZERO), farewell, self.control())
    }
}

#[tokio::test]
async fn carries_both_ways_and_counts() {
    for idle in [LONG, Duration::ZERO] {
        let stages = Stages::new();
        let ((mut client, a), (mut upstream, b)) = (tcp().await, tcp().await);
        let relay = stages.relay_for(a, b, idle, Farewell::None);
        let talk = async {
            for text in ["one", "two", "three"] {
                let mut got = vec![0; text.len()];
                client.write_all(text.as_bytes()).await.unwrap();
                upstream.read_exact(&mut got).await.unwrap();
                assert_eq!(got, text.as_bytes());
                upstream.write_all(&got[..1]).await.unwrap();
                client.read_exact(&mut got[..1]).await.unwrap();
            }
            drop((client, upstream));
        };
        let ((carried, end), ()) = tokio::join!(relay, talk);
        assert!(matches!(end, End::Closed), "{end:?}");
        assert_eq!((carried.to_upstream, carried.to_client), (11, 3));
    }
}

#[tokio::test]
async fn heads_go_first() {
    let stages = Stages::new();
    let ((mut client, a), (mut upstream, b)) = (unix(), tcp().await);
    let head = (Bytes::from_static(b"head "), Bytes::from_static(b"hello "));
    let relay = relay(a, b, head, (LONG, Duration::ZERO), Farewell::None, stages.control());
    let talk = async {
        client.write_all(b"up").await.unwrap();
        client.shutdown().await.unwrap();
        upstream.write_all(b"down").await.unwrap();
        upstream.shutdown().await.unwrap();
        let (mut up, mut down) = (String::new(), String::new());
        upstream.read_to_string(&mut up).await.unwrap();
        client.read_to_string(&mut down).await.unwrap();
        assert_eq!((up.as_str(), down.as_str()), ("head up", "hello down"));
    };
    let ((carried, end), ()) = tokio::join!(relay, talk);
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!((carried.to_upstream, carried.to_client), (7, 10));
}

#[tokio::test]
async fn one_side_may_close_and_still_be_answered() {
    for client_first in [true, false] {
        let stages = Stages::new();
        let ((client, a), (upstream, b)) = (tcp().await, tcp().await);
        let relay = stages.relay(a, b);
        let (mut first, mut second) = if client_first { (client, upstream) } else { (upstream, client) };
        let talk = async move {
            first.write_all(b"question").await.unwrap();
            first.shutdown().await.unwrap();
            let mut text = String::new();
            // Ends only if the end is passed on.
            second.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "question");
            second.write_all(b"answer").await.unwrap();
            second.shutdown().await.unwrap();
            text.clear();
            first.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "answer");
        };
        let ((_, end), ()) = tokio::join!(relay, talk);
        assert!(matches!(end, End::Closed), "{end:?}");
    }
}

/// Sends `total` bytes whose values tell their place, telling `sent` how far it is, then closes.
async fn send(to: &mut (impl AsyncWrite + Unpin), total: usize, sent: &Cell<usize>) {
    let pattern: Vec<u8> = (0..251).cycle().take(251 << 8).collect();
    while sent.get() < total {
        let at = sent.get() % 251;
        let end = pattern.len().min(at + total - sent.get());
        sent.set(sent.get() + to.write(&pattern[at..end]).await.unwrap());
    }
    to.shutdown().await.unwrap();
}

/// Reads to the end; the most bytes that were under way at once.
async fn receive(from: &mut (impl tokio::io::AsyncRead + Unpin), total: usize, sent: &Cell<usize>) -> usize {
    let (mut got, mut most) = (0, 0);
    let mut buffer = vec![0; 48 << 10];
    loop {
        // The sender runs whenever this waits: let it get as far ahead as it can.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        most = most.max(sent.get() - got);
        let n = from.read(&mut buffer).await.unwrap();
        if n == 0 {
            break;
        }
        let right = buffer[..n].iter().enumerate().all(|(i, &b)| usize::from(b) == (got + i) % 251);
        assert!(right, "wrong bytes after {got}");
        got += n;
    }
    assert_eq!(got, total);
    most
}

#[tokio::test]
async fn much_goes_both_ways_at_once_in_bounded_memory() {
    const MUCH: usize = 100 << 20;
    let stages = Stages::new();
    let ((client, a), (upstream, b)) = (tcp().await, tcp().await);
    let (mut client_in, mut client_out) = client.into_split();
    let (mut upstream_in, mut upstream_out) = upstream.into_split();
    let (up, down) = (Cell::new(0), Cell::new(0));
    let before = moved::CALLS.get();
    let talk = async {
        tokio::join!(
            send(&mut client_out, MUCH, &up),
            send(&mut upstream_out, MUCH, &down),
            receive(&mut upstream_in, MUCH, &up),
            receive(&mut client_in, MUCH, &down),
        )
    };
    let ((carried, end), (_, _, up, down)) = tokio::join!(stages.relay(a, b), talk);
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!((carried.to_upstream, carried.to_client), (MUCH as u64, MUCH as u64));
    assert!(up < 8 << 20 && down < 8 << 20, "{up} and {down} bytes were held up");
    assert!(moved::CALLS.get() > before + 10, "the kernel should have moved the bytes itself");
}

#[tokio::test]
async fn little_is_copied_and_leaves_nothing_behind() {
    let stages = Stages::new();
    let ((mut client, a), (mut upstream, b)) = (tcp().await, tcp().await);
    let before = moved::CALLS.get();
    let relay = stages.relay(a, b);
    assert!(size_of_val(&relay) <= 384, "an idle relay is {} bytes", size_of_val(&relay));
    let talk = async {
        let mut message = [7; 1000];
        for _ in 0..100 {
            client.write_all(&message).await.unwrap();
            upstream.read_exact(&mut message).await.unwrap();
        }
        assert_eq!(buffer::idle(), 1, "an idle relay holds its buffer");
        drop((client, upstream));
    };
    let ((_, end), ()) = tokio::join!(relay, talk);
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!(moved::CALLS.get(), before);
}

#[tokio::test(start_paused = true)]
async fn nothing_for_too_long_ends_it() {
    let stages = Stages::new();
    let ((mut client, a), (mut upstream, b)) = (unix(), unix());
    let relay = stages.relay_for(a, b, LONG, Farewell::None);
    let start = Instant::now();
    let talk = async {
        tokio::time::sleep(LONG / 2).await;
        client.write_all(b"x").await.unwrap();
        upstream.read_exact(&mut [0]).await.unwrap();
        // Half a relay is idle too.
        client.shutdown().await.unwrap();
        assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(upstream.read(&mut [0]).await.unwrap(), 0);
    };
    let ((carried, end), ()) = tokio::join!(relay, talk);
    assert!(matches!(end, End::Idle), "{end:?}");
    assert_eq!(carried.to_upstream, 1);
    let after = start.elapsed();
    assert!(after >= LONG * 3 / 2 && after < LONG * 2, "ended after {after:?}");
}

#[tokio::test]
async fn websockets_are_told_why_they_end() {
    for (code, counted) in [(1001_u16, 1), (1012, 0)] {
        let stages = Stages::new();
        let ((mut client, a), (mut upstream, b)) = (tcp().await, tcp().await);
        let relay = stages.relay_for(a, b, LONG, Farewell::WebSocket);
        let told = farewells();
        let talk = async {
            client.write_all(b"x").await.unwrap();
            upstream.read_exact(&mut [0]).await.unwrap();
            if code == 1001 {
                stages.0.stop()
            } else {
                stages.reload()
            }
            let (mut down, mut up) = (Vec::new(), Vec::new());
            client.read_to_end(&mut down).await.unwrap();
            upstream.read_to_end(&mut up).await.unwrap();
            let [high, low] = code.to_be_bytes();
            assert_eq!(down, [0x88, 2, high, low]);
            assert_eq!(up[..2], [0x88, 0x82]);
            assert_eq!([up[6] ^ up[2], up[7] ^ up[3]], [high, low]);
            drop((client, upstream));
        };
        let ((_, end), ()) = tokio::join!(relay, talk);
        assert_eq!(matches!(end, End::Stopped), code == 1001, "{end:?}");
        assert_eq!(matches!(end, End::Reloaded), code == 1012, "{end:?}");
        assert_eq!(farewells(), told + counted);
        assert_eq!(stages.0.len(), 0);
    }
}

#[tokio::test]
async fn a_stop_ends_a_relay_that_is_held_up() {
    let stages = Stages::new();
    let ((mut client, a), (upstream, b)) = (tcp().await, tcp().await);
    let relay = stages.relay(a, b);
    let flood = async {
        // Nobody reads: it ends only by the stop.
        let bytes = vec![0; 1 << 20];
        let mut n = 0;
        while let Ok(Ok(more)) = timeout(Duration::from_millis(50), client.write(&bytes)).await {
            n += more;
        }
        stages.0.stop();
        n
    };
    let ((carried, end), sent) = tokio::join!(relay, flood);
    assert!(matches!(end, End::Stopped), "{end:?}");
    assert!((carried.to_upstream as usize) < sent, "{carried:?} of {sent}");
    drop(upstream);
}

#[tokio::test]
async fn a_reset_says_whose() {
    let stages = Stages::new();
    let ((client, a), (_upstream, b)) = (tcp().await, tcp().await);
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let (_, end) = stages.relay(a, b).await;
    assert!(matches!(end, End::Failed(_, true)), "{end:?}");
    assert_eq!(end.reason().map(|(kind, _)| kind), Some(Kind::ClientGone));
}

/// A TLS connection: the client's end, and that of the relay.
async fn tls() -> (tokio_rustls::client::TlsStream<TcpStream>, Stream) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = crate::tls::provider();
    let key = Arc::new(CertifiedKey::from_der(vec![der.clone()], key, &provider).unwrap());
    let spec = ServerTls {
        certificates: vec![Certificate { key, names: vec![HostPattern::Exact("localhost".into())] }],
        default_certificate: Some(0),
        min_version: TlsVersion::Tls12,
        alpn: Vec::new(),
        tickets: false,
        ticket_rotation: LONG,
        client_auth: Vec::new(),
        challenges: None,
    };
    let acceptor = crate::tls::Acceptor::new(&spec, None).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (client, server) = tcp().await;
    let Stream::Plain(server) = server else { unreachable!("it was made plain") };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let accept = acceptor.accept(Rewind::new(Bytes::new(), server));
    let (client, server) = tokio::join!(connector.connect(name, client), accept);
    (client.unwrap(), server.unwrap().0)
}

#[tokio::test]
async fn tls_is_carried_like_any_stream() {
    const MUCH: usize = 4 << 20;
    let stages = Stages::new();
    let ((client, a), (upstream, b)) = (tls().await, tcp().await);
    let (mut client_in, mut client_out) = tokio::io::split(client);
    let (mut upstream_in, mut upstream_out) = upstream.into_split();
    let (up, down) = (Cell::new(0), Cell::new(0));
    let talk = async {
        tokio::join!(
            send(&mut client_out, MUCH, &up),
            send(&mut upstream_out, MUCH, &down),
            receive(&mut upstream_in, MUCH, &up),
            receive(&mut client_in, MUCH, &down),
        )
    };
    let ((carried, end), _) = tokio::join!(stages.relay(a, b), talk);
    assert!(matches!(end, End::Closed), "{end:?}");
    assert_eq!((carried.to_upstream, carried.to_client), (MUCH as u64, MUCH as u64));
}

#[tokio::test]
async fn a_splice_keeps_to_its_limit() {
    let ((mut client, a), (mut upstream, b)) = (tcp().await, tcp().await);
    let mut pipe = pipe::Pipe::take().unwrap();
    client.write_all(b"one and two").await.unwrap();
    let (Some(from), Some(to)) = (a.as_plain(), b.as_plain()) else { unreachable!("both are plain") };
    let n = poll_fn(|cx| pipe.poll_fill(cx, from, 3)).await.unwrap();
    assert_eq!((n, pipe.waiting()), (3, 3));
    let n = poll_fn(|cx| pipe.poll_drain(cx, to)).await.unwrap();
    assert_eq!((n, pipe.waiting()), (3, 0));
    let mut got = [0; 3];
    upstream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"one");
    let n = poll_fn(|cx| pipe.poll_fill(cx, from, 100)).await.unwrap();
    assert_eq!(n, 8);
    poll_fn(|cx| pipe.poll_drain(cx, to)).await.unwrap();
    client.shutdown().await.unwrap();
    let n = poll_fn(|cx| pipe.poll_fill(cx, from, 100)).await.unwrap();
    assert_eq!((n, pipe.waiting()), (0, 0));
}
