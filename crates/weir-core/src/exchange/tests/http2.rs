//! HTTP/2 on either side with a peer that does not go along: raw clients and upstreams, built on the `h2` crate.

use std::future::poll_fn;
use std::net::SocketAddr;

use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::error::Kind;
use crate::log::{AccessLog, Record};

/// Nothing waits for it to pass.
const LONG: Duration = Duration::from_secs(3600);
/// Waited for, where a wait must end by its time.
const SHORT: Duration = Duration::from_millis(50);

/// Of each exchange, its status and why it broke off.
#[derive(Debug)]
struct Log(UnboundedSender<(u16, Option<Kind>)>);

impl AccessLog for Log {
    fn record(&self, record: &Record<'_>) {
        let _ = self.0.send((record.exchange.status.as_u16(), record.reason));
    }
}

struct Running {
    _server: Server,
    address: SocketAddr,
    log: UnboundedReceiver<(u16, Option<Kind>)>,
}

impl Running {
    /// A server with one listener and one route.
    fn new(http: HttpLimits, action: Action, upstreams: Vec<Upstream>) -> Self {
        let spec = Spec {
            listeners: vec![Listener { http, ..listener() }],
            routes: vec![Route::new("all", action)],
            upstreams,
            ..Spec::default()
        };
        let (tell, log) = unbounded_channel();
        let snapshot = Snapshot::assemble(&spec, Some(Arc::new(Log(tell))), None).unwrap();
        let server = Server::start(snapshot, 1).unwrap();
        let address = server.addresses()[0].1.unwrap();
        Running { _server: server, address, log }
    }

    /// In front of an HTTP/2 upstream.
    fn before(origin: SocketAddr, client: Duration, response: Duration) -> Self {
        let http = HttpLimits { idle_timeout: client, ..HttpLimits::default() };
        let mut upstream = Upstream { protocol: Protocol::Http2, ..upstream("a", origin) };
        upstream.timeouts.response = response;
        Running::new(http, Action::Upstream("a".into()), vec![upstream])
    }

    async fn logged(&mut self) -> (u16, Option<Kind>) {
        self.log.recv().await.unwrap()
    }

    /// The response to a GET over HTTP/2, on a connection with windows of this size.
    async fn get(&self, window: u32) -> Response<RecvStream> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window);
        let (mut sender, connection) = builder.handshake::<_, Bytes>(socket).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("http://x/").body(()).unwrap();
        sender.send_request(request, true).unwrap().0.await.unwrap()
    }

    /// A connection on which this was sent.
    async fn send(&self, bytes: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        client.write_all(bytes.as_bytes()).await.unwrap();
        client
    }
}

/// Sends without an end, and tells when it is not wanted any more.
async fn endless() -> (SocketAddr, UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (gone, told) = unbounded_channel();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while socket.write_all(&[0; 4096]).await.is_ok() {}
        gone.send(()).unwrap();
    });
    (address, told)
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_not_waited_for() {
    for (idle, request, reason) in
        [(SHORT, Duration::ZERO, Kind::ClientGone), (LONG, SHORT, Kind::ExchangeTimeout)]
    {
        let (origin, mut gone) = endless().await;
        let limits = HttpLimits { idle_timeout: idle, request_timeout: request, ..HttpLimits::default() };
        let mut server = Running::new(limits, Action::Upstream("a".into()), vec![upstream("a", origin)]);
        let mut body = server.get(65535).await.into_body();
        let broke_off = loop {
            match body.data().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        };
        assert_eq!(broke_off.unwrap().unwrap_err().reason(), Some(Reason::CANCEL));
        gone.recv().await.unwrap();
        assert_eq!(server.logged().await, (200, Some(reason)));
    }
}

#[tokio::test]
async fn what_a_client_never_took_is_not_logged_as_sent() {
    let limits = HttpLimits { idle_timeout: SHORT, ..HttpLimits::default() };
    let body = Bytes::from_static(b"hello");
    let action = Action::Respond { status: StatusCode::OK, headers: HeaderMap::new(), body };
    let mut server = Running::new(limits, action, Vec::new());
    let mut response = server.get(0).await;
    assert!(response.body_mut().data().await.unwrap().is_err());
    assert_eq!(server.logged().await, (200, Some(Kind::ClientGone)));
    let mut response = server.get(5).await;
    assert_eq!(response.body_mut().data().await.unwrap().unwrap(), "hello");
    assert_eq!(server.logged().await, (200, None));
}

/// What an upstream tells: of each request that it came, and how its stream was reset.
struct Told {
    came: UnboundedReceiver<()>,
    reset: UnboundedReceiver<Reason>,
}

/// An HTTP/2 upstream that lets clients send this much of a body and takes none of it. Answers at once, and all of it;
/// or not at all.
async fn stubborn(window: u32, answer: Option<(u16, &'static str)>) -> (SocketAddr, Told) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (reset, resets) = unbounded_channel();
    let (came, requests) = unbounded_channel();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(window);
        let mut connection = builder.handshake::<_, Bytes>(socket).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let reset = reset.clone();
            let _ = came.send(());
            tokio::spawn(async move {
                let mut body = request.into_body();
                if let Some((status, text)) = answer {
                    let response = Response::builder().status(status).body(()).unwrap();
                    let mut stream = respond.send_response(response, text.is_empty()).unwrap();
                    if !text.is_empty() {
                        stream.send_data(text.into(), true).unwrap();
                    }
                }
                loop {
                    match body.data().await {
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return reset.send(error.reason().unwrap()).unwrap(),
                        None => break,
                    }
                }
                if answer.is_none() {
                    reset.send(poll_fn(|cx| respond.poll_reset(cx)).await.unwrap()).unwrap();
                }
            });
        }
    });
    (address, Told { came: requests, reset: resets })
}

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const WHOLE: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nhell";
const HALF: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\nhell";

/// An upload of which more is on its way than an upstream takes and hyper holds, and still more is to come.
fn large() -> String {
    format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n{}", "x".repeat(400_000))
}

#[tokio::test]
async fn an_upload_that_an_answer_overtakes_is_given_up() {
    // A large one waits for the upstream's window, a small one for the client.
    let large = large();
    for request in [&*large, HALF] {
        let (origin, mut told) = stubborn(65535, Some((413, "too much"))).await;
        let mut server = Running::before(origin, LONG, LONG);
        let mut client = server.send(request).await;
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 413 ") && response.contains("too much"), "{response}");
        assert!(response.contains("connection: close\r\n"), "{response}");
        assert_eq!(told.reset.recv().await, Some(Reason::CANCEL));
        assert_eq!(server.logged().await, (413, None));
    }
}

#[tokio::test]
async fn a_client_goes_on_after_what_little_was_left_of_an_upload() {
    let (origin, mut told) = stubborn(65535, Some((413, ""))).await;
    let mut server = Running::before(origin, LONG, LONG);
    let mut client = server.send(HALF).await;
    for rest in ["hell", ""] {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 413 ") && !head.contains("connection:"), "{head}");
        assert_eq!(server.logged().await, (413, None));
        client.write_all(format!("{rest}{GET}").as_bytes()).await.unwrap();
    }
    assert_eq!(told.reset.recv().await, Some(Reason::CANCEL));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_takes_its_stream_along() {
    for request in [GET, WHOLE] {
        let (origin, mut told) = stubborn(65535, None).await;
        let mut server = Running::before(origin, LONG, LONG);
        let client = server.send(request).await;
        told.came.recv().await.unwrap();
        drop(client);
        assert_eq!(told.reset.recv().await, Some(Reason::CANCEL));
        assert_eq!(server.logged().await, (499, Some(Kind::ClientGone)));
    }
}

#[tokio::test]
async fn who_stalls_an_upload_is_to_blame() {
    let large = large();
    for (request, client, response, status, reason) in [
        // The upstream would take more, and the client does not send it.
        (HALF, SHORT, LONG, 408, Kind::RequestTimeout),
        // The other way round.
        (&*large, LONG, SHORT, 504, Kind::ResponseTimeout),
    ] {
        let (origin, mut told) = stubborn(65535, None).await;
        let mut server = Running::before(origin, client, response);
        let mut stream = server.send(request).await;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(head, *format!("HTTP/1.1 {status}").as_bytes());
        assert_eq!(told.reset.recv().await, Some(Reason::CANCEL));
        assert_eq!(server.logged().await, (status, Some(reason)));
    }
}
