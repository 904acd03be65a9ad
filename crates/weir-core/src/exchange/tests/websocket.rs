//! WebSockets between any two versions of HTTP (RFC 6455, RFC 8441), with peers on raw sockets and the `h2` crate.

mod peers;

use h2::Reason;
use http::{Request, Version};

use super::*;
use crate::error::{AttemptFailure, Kind};
use crate::log::{AccessLog, Record};
use peers::{ACCEPT, Asked, Origin, Speaks, Told};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Nothing waits for it to pass.
const LONG: Duration = Duration::from_secs(3600);
/// Waited for, where a wait must end by its time.
const SHORT: Duration = Duration::from_millis(50);

/// Of each exchange what the log is told.
#[derive(Debug, PartialEq, Eq)]
struct Logged {
    method: String,
    status: u16,
    upgraded: bool,
    reason: Option<Kind>,
    bytes: (u64, u64),
}

#[derive(Debug)]
struct Log(UnboundedSender<(Logged, Option<String>)>);

impl AccessLog for Log {
    fn record(&self, record: &Record<'_>) {
        let logged = Logged {
            method: record.exchange.method.to_string(),
            status: record.exchange.status.as_u16(),
            upgraded: record.upgraded,
            reason: record.reason,
            bytes: (record.bytes_in, record.bytes_out),
        };
        let _ = self.0.send((logged, record.detail.map(str::to_owned)));
    }
}

struct Running {
    server: Server,
    address: std::net::SocketAddr,
    log: UnboundedReceiver<(Logged, Option<String>)>,
    /// Requests as a plugin saw them.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Running {
    fn new(origin: &Origin) -> Self {
        Running::with(origin, HttpLimits::default())
    }

    fn with(origin: &Origin, http: HttpLimits) -> Self {
        let mut upstream = upstream("a", origin.address);
        if origin.speaks != Speaks::Http1 {
            upstream.protocol = Protocol::Http2;
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = seen.clone();
        let plugin = Native::new("sees").on_request(move |x| {
            let (websocket, fields) = (x.is_websocket, x.headers.contains_key("sec-websocket-version"));
            sees.lock().unwrap().push(format!("{} {} {:?} {websocket} {fields}", x.method, x.uri, x.version));
            match x.uri.path() {
                "/answered" => Verdict::Respond(Reply {
                    status: StatusCode::OK,
                    headers: HeaderMap::new(),
                    body: Bytes::from_static(b"no"),
                }),
                _ => Verdict::Proceed,
            }
        });
        let mut route = Route::new("all", Action::Upstream("a".into()));
        route.plugins = vec![Arc::new(plugin)];
        let spec = Spec {
            listeners: vec![Listener { http, ..listener() }],
            routes: vec![route],
            upstreams: vec![upstream],
            ..Spec::default()
        };
        let (tell, log) = unbounded_channel();
        let server = Server::start(Snapshot::assemble(&spec, Some(Arc::new(Log(tell))), None).unwrap(), 1);
        let server = server.unwrap();
        let address = server.addresses()[0].1.unwrap();
        Running { server, address, log, seen }
    }

    async fn ask(&self, speaks: Speaks, path: &str) -> Asked {
        peers::ask(self.address, speaks, path, &[("sec-websocket-protocol", "a, b")]).await
    }

    /// A raw client of HTTP/2.
    async fn connect(&self) -> h2::client::SendRequest<Bytes> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn logged(&mut self) -> (Logged, Option<String>) {
        self.log.recv().await.unwrap()
    }
}

const BOTH: [Speaks; 2] = [Speaks::Http1, Speaks::Http2];

/// More than windows and buffers hold.
fn large() -> Vec<u8> {
    (0..1_000_000_u32).map(|i| (i >> 4) as u8).collect()
}

#[tokio::test]
async fn bytes_go_both_ways_between_all_versions() {
    for (client, upstream) in BOTH.into_iter().flat_map(|client| BOTH.map(|upstream| (client, upstream))) {
        let mut origin = Origin::start(upstream).await;
        let mut server = Running::new(&origin);
        let Asked { status, headers, mut peer } = server.ask(client, "/echo?a=b").await;
        let switched = if client == Speaks::Http1 { 101 } else { 200 };
        assert_eq!(status, switched, "{client:?} {upstream:?}");
        assert_eq!(headers["sec-websocket-protocol"], "b");
        let accept = headers.get("sec-websocket-accept").map(|accept| accept.to_str().unwrap());
        assert_eq!(accept, (client == Speaks::Http1).then_some(ACCEPT));

        let (top, fields) = origin.asked().await;
        let key = fields.get("sec-websocket-key").is_some();
        match upstream {
            Speaks::Http1 => assert_eq!((&*top, key), ("GET /echo?a=b HTTP/1.1", true)),
            _ => {
                let expected = format!("CONNECT http://x/echo?a=b {:?}", Some("websocket"));
                assert_eq!((top, key), (expected, false));
            }
        }
        assert_eq!(
            (fields["sec-websocket-protocol"].as_bytes(), fields["sec-websocket-version"].as_bytes()),
            (&b"a, b"[..], &b"13"[..])
        );
        let version = if client == Speaks::Http1 { Version::HTTP_11 } else { Version::HTTP_2 };
        assert_eq!(*server.seen.lock().unwrap(), [format!("GET /echo?a=b {version:?} true true")]);

        peer.send(b"hello").await;
        peer.expect(b"hello").await;
        peer.finish().await;
        assert_eq!(origin.told().await, Told::Ended(None));
        assert_eq!(peer.rest().await.unwrap(), b"bye");
        let logged =
            Logged { method: "GET".into(), status: switched, upgraded: true, reason: None, bytes: (5, 8) };
        assert_eq!(server.logged().await.0, logged);
    }
}

/// What only looks like one goes on as any other request.
#[tokio::test]
async fn plugins_are_told_what_is_no_handshake() {
    let origin = Origin::start(Speaks::Http1).await;
    let server = Running::new(&origin);
    let fields = "host: x\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for upgrade in ["upgrade: websocket", "connection: upgrade", "connection: upgrade\r\nupgrade: h2c"] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET /answered HTTP/1.1\r\n{fields}{upgrade}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    let request = Request::get("http://x/answered").header("sec-websocket-version", "13").body(()).unwrap();
    let mut sender = server.connect().await.ready().await.unwrap();
    assert_eq!(sender.send_request(request, true).unwrap().0.await.unwrap().status(), 200);
    let plain = |version| format!("GET /answered {version} false true");
    let expected = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/2.0"].map(plain);
    assert_eq!(*server.seen.lock().unwrap(), expected);
}

/// What h2 keeps of each is more than its bytes, which is all that windows count: half of the connection's window is what
/// that may be.
#[tokio::test]
async fn small_frames_may_wait_as_far_as_the_connections_window_has_room_for_them() {
    // It never answers, so nothing is read.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (window, frames, stays) in [(1 << 20, 2000, true), (1 << 20, 2500, false), (4 << 20, 6000, true)] {
        let mut origin = Origin::start(Speaks::Http1).await;
        origin.address = silent.local_addr().unwrap();
        let mut http = HttpLimits::default();
        http.http2.connection_window = window;
        let server = Running::with(&origin, http);
        let socket = TcpStream::connect(server.address).await.unwrap();
        assert_eq!(peers::crowd(socket, frames).await, stays, "{frames} of {window}");
    }
}

#[tokio::test]
async fn a_flow_over_any_windows_is_whole() {
    for (client, upstream) in BOTH.into_iter().flat_map(|client| BOTH.map(|upstream| (client, upstream))) {
        let origin = Origin::start(upstream).await;
        let server = Running::new(&origin);
        let mut peer = server.ask(client, "/echo").await.peer;
        let all = large();
        for part in all.chunks(50_000) {
            peer.send(part).await;
            peer.expect(part).await;
        }
        peer.finish().await;
        assert_eq!(peer.rest().await.unwrap(), b"bye", "{client:?} {upstream:?}");
    }
}

#[tokio::test]
async fn an_answer_that_opens_nothing_is_an_ordinary_one() {
    for (client, upstream) in BOTH.into_iter().flat_map(|client| BOTH.map(|upstream| (client, upstream))) {
        let origin = Origin::start(upstream).await;
        let mut server = Running::new(&origin);
        let Asked { status, mut peer, .. } = server.ask(client, "/refuse").await;
        assert_eq!(status, 403);
        peer.expect(b"no").await;
        let logged =
            Logged { method: "GET".into(), status: 403, upgraded: false, reason: None, bytes: (0, 2) };
        assert_eq!(server.logged().await.0, logged, "{client:?} {upstream:?}");
    }
}

#[tokio::test]
async fn no_2xx_opens_a_websocket_that_is_none() {
    let origin = Origin::start(Speaks::Http1).await;
    let mut server = Running::new(&origin);
    for path in ["/ignore", "/answered"] {
        assert_eq!(server.ask(Speaks::Http1, path).await.status, 200, "{path}");
        assert_eq!(server.logged().await.0.status, 200);
        assert_eq!(server.ask(Speaks::Http2, path).await.status, 502, "{path}");
        assert_eq!(server.logged().await.0.reason, Some(Kind::UpstreamInvalid));
    }
}

#[tokio::test]
async fn a_websocket_of_a_length_is_none() {
    let mut origin = Origin::start(Speaks::Http2).await;
    let mut server = Running::new(&origin);
    for client in BOTH {
        assert_eq!(server.ask(client, "/length").await.status, 502, "{client:?}");
        assert_eq!(server.logged().await.0.reason, Some(Kind::UpstreamInvalid));
        origin.asked().await;
        assert_eq!(origin.told().await, Told::Ended(Some(Reason::INTERNAL_ERROR)), "tried once");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let origin = Origin::start(Speaks::Http1).await;
    let mut server = Running::new(&origin);
    let mut sender = server.connect().await;
    for (uri, protocol, fields, status) in [
        ("http://x/", "connect-udp", &[][..], 501),
        ("http://x/", "websocket", &[("sec-websocket-version", "8")][..], 426),
        ("ws://x/", "websocket", &[][..], 400),
        ("http://x/", "websocket", &[("host", "y")][..], 400),
        ("http://x/%00", "websocket", &[][..], 400),
    ] {
        let request = peers::extended(uri, protocol, fields);
        let response = sender.send_request(request, false).unwrap().0.await.unwrap();
        assert_eq!(response.status(), status, "{uri} {protocol} {fields:?}");
        let versions = response.headers().get("sec-websocket-version");
        assert_eq!(versions.is_some_and(|version| version == "13"), status == 426);
        assert_eq!(response.headers().get("upgrade"), None);
        assert_eq!(server.logged().await.0.status, status);
    }
    // Without scheme and path; and a CONNECT without a protocol.
    let malformed = peers::extended("x:80", "websocket", &[]);
    let error = sender.send_request(malformed, false).unwrap().0.await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
    let request = http::Request::connect("x:80").body(()).unwrap();
    let response = sender.send_request(request, false).unwrap().0.await.unwrap();
    assert_eq!(response.status(), 405);
    assert!(server.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_upstream_along() {
    for upstream in BOTH {
        let mut origin = Origin::start(upstream).await;
        let mut server = Running::new(&origin);
        let mut peer = server.ask(Speaks::Http2, "/stay").await.peer;
        origin.asked().await;
        peer.send(b"hello").await;
        peer.expect(b"hello").await;
        let peers::Peer::Http2 { mut sends, .. } = peer else { unreachable!("over HTTP/2") };
        sends.send_reset(Reason::CANCEL);
        let reason = (upstream == Speaks::Http2).then_some(Reason::CANCEL);
        assert_eq!(origin.told().await, Told::Ended(reason));
        let logged = Logged {
            method: "GET".into(),
            status: 200,
            upgraded: true,
            reason: Some(Kind::ClientGone),
            bytes: (5, 5),
        };
        assert_eq!(server.logged().await.0, logged, "{upstream:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_leaves_ends_the_stream() {
    for (client, upstream) in BOTH.into_iter().flat_map(|client| BOTH.map(|upstream| (client, upstream))) {
        let origin = Origin::start(upstream).await;
        let mut server = Running::new(&origin);
        let mut peer = server.ask(client, "/leave").await.peer;
        assert_eq!(peer.rest().await.unwrap(), b"so long", "{client:?} {upstream:?}");
        peer.finish().await;
        let logged = server.logged().await.0;
        assert_eq!((logged.reason, logged.bytes), (None, (0, 7)), "{client:?} {upstream:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_resets_its_stream_ends_both_ways() {
    for client in BOTH {
        let origin = Origin::start(Speaks::Http2).await;
        let mut server = Running::new(&origin);
        let mut peer = server.ask(client, "/reset").await.peer;
        peer.send(b"hello").await;
        assert!(peer.rest().await.is_ok(), "{client:?}");
        // Though the client says no end.
        let logged = server.logged().await.0;
        assert_eq!((logged.upgraded, logged.reason), (true, Some(Kind::UpstreamClosed)), "{client:?}");
    }
}

#[tokio::test]
async fn a_refused_stream_is_tried_on_another_connection() {
    let mut origin = Origin::start(Speaks::Http2).await;
    let server = Running::new(&origin);
    assert_eq!(server.ask(Speaks::Http1, "/again").await.status, 101);
    assert_eq!(origin.asked().await, origin.asked().await);
}

#[tokio::test]
async fn an_upstream_that_takes_none_over_http2_is_told_of_by_the_log() {
    let origin = Origin::start(Speaks::PlainHttp2).await;
    let mut server = Running::new(&origin);
    for client in BOTH {
        assert_eq!(server.ask(client, "/echo").await.status, 502);
        let (logged, detail) = server.logged().await;
        assert_eq!((logged.status, logged.reason), (502, Some(Kind::UpstreamInvalid)));
        assert_eq!(detail.as_deref(), Some(AttemptFailure::NO_WEBSOCKETS));
    }
}

#[tokio::test]
async fn an_idle_websocket_keeps_its_connection() {
    let origin = Origin::start(Speaks::Http1).await;
    let limits = HttpLimits { keep_alive_timeout: SHORT, idle_timeout: SHORT, ..HttpLimits::default() };
    let server = Running::with(&origin, limits);
    let mut peer = server.ask(Speaks::Http2, "/echo").await.peer;
    // One that came later has been idle for too long.
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (sender, idle) = h2::client::handshake::<_>(socket).await.unwrap();
    idle.await.unwrap();
    drop(sender);
    peer.send(b"hello").await;
    peer.expect(b"hello").await;
}

#[tokio::test]
async fn a_drain_waits_for_a_websocket_and_then_says_farewell() {
    for upstream in BOTH {
        let origin = Origin::start(upstream).await;
        let server = Running::new(&origin);
        let socket = TcpStream::connect(server.address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake::<_>(socket).await.unwrap();
        let connection = tokio::spawn(connection);
        let request = peers::extended("http://x/echo", "websocket", &[]);
        let (answer, sends) = sender.send_request(request, false).unwrap();
        let mut peer = peers::Peer::on(sends, answer.await.unwrap().into_body());
        let stopper = server.server.stopper();
        let drain = tokio::spawn(server.server.drain(LONG));
        // GOAWAY: no more streams.
        while std::future::poll_fn(|cx| sender.poll_ready(cx)).await.is_ok() {
            tokio::task::yield_now().await;
        }
        peer.send(b"hello").await;
        peer.expect(b"hello").await;
        stopper.stop();
        peer.expect(&[0x88, 2, 0x03, 0xe9]).await;
        peer.finish().await;
        assert!(peer.rest().await.unwrap().is_empty());
        connection.await.unwrap().unwrap();
        assert_eq!(drain.await.unwrap().cut, 0);
    }
}
