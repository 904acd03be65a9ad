//! Clients and upstreams of WebSockets in both versions of HTTP. What goes over them is text, not frames.

use std::net::SocketAddr;

use bytes::{Buf, Bytes};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::exchange::websocket::accept_of;

/// The key of RFC 6455, section 1.3, and what it is answered with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
    /// But takes no WebSockets.
    PlainHttp2,
}

/// Either side's bytes.
pub(super) enum Peer {
    Http1(TcpStream),
    Http2 { sends: SendStream<Bytes>, receives: RecvStream, buffer: Bytes },
}

impl Peer {
    /// On a stream of HTTP/2.
    pub(super) fn on(sends: SendStream<Bytes>, receives: RecvStream) -> Self {
        Peer::Http2 { sends, receives, buffer: Bytes::new() }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        match self {
            Peer::Http1(socket) => socket.write_all(bytes).await.unwrap(),
            Peer::Http2 { sends, .. } => {
                let mut left = Bytes::copy_from_slice(bytes);
                while !left.is_empty() {
                    sends.reserve_capacity(left.len());
                    let room = std::future::poll_fn(|cx| sends.poll_capacity(cx)).await.unwrap().unwrap();
                    sends.send_data(left.split_to(room.min(left.len())), false).unwrap();
                }
            }
        }
    }

    /// What comes next; `None`: it has ended. An error is the reason of a reset.
    async fn next(&mut self) -> Result<Option<Bytes>, Reason> {
        match self {
            Peer::Http1(socket) => {
                let mut some = vec![0; 4096];
                // A socket that was reset is one that is gone.
                let n = socket.read(&mut some).await.unwrap_or(0);
                some.truncate(n);
                Ok((n > 0).then(|| some.into()))
            }
            Peer::Http2 { receives, buffer, .. } => {
                if !buffer.is_empty() {
                    return Ok(Some(std::mem::take(buffer)));
                }
                let Some(data) = receives.data().await else { return Ok(None) };
                let data = data.map_err(|error| error.reason().expect("a reset"))?;
                receives.flow_control().release_capacity(data.len()).unwrap();
                Ok(Some(data))
            }
        }
    }

    /// As many bytes as `expected` has.
    pub(super) async fn expect(&mut self, expected: &[u8]) {
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let mut more = self.next().await.unwrap().expect("more bytes");
            let part = more.split_to(more.len().min(expected.len() - got.len()));
            got.extend_from_slice(&part);
            if let Peer::Http2 { buffer, .. } = self {
                *buffer = more;
            } else {
                assert!(!more.has_remaining(), "more than was expected");
            }
        }
        assert!(got == expected, "{} bytes that are not what was sent", got.len());
    }

    /// All that still comes.
    pub(super) async fn rest(&mut self) -> Result<Vec<u8>, Reason> {
        let mut all = Vec::new();
        while let Some(more) = self.next().await? {
            all.extend_from_slice(&more);
        }
        Ok(all)
    }

    /// Says no more.
    pub(super) async fn finish(&mut self) {
        match self {
            Peer::Http1(socket) => socket.shutdown().await.unwrap(),
            Peer::Http2 { sends, .. } => sends.send_data(Bytes::new(), true).unwrap(),
        }
    }
}

/// What a client was answered.
pub(super) struct Asked {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) peer: Peer,
}

/// Asks for a WebSocket, with these fields besides.
pub(super) async fn ask(web: SocketAddr, speaks: Speaks, path: &str, fields: &[(&str, &str)]) -> Asked {
    let socket = TcpStream::connect(web).await.unwrap();
    socket.set_nodelay(true).unwrap();
    if speaks == Speaks::Http1 {
        return ask_http1(socket, path, fields).await;
    }
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(4096);
    let (mut sender, connection) = builder.handshake::<_, Bytes>(socket).await.unwrap();
    tokio::spawn(connection);
    let request = extended(&format!("http://x{path}"), "websocket", fields);
    let (answer, sends) = sender.send_request(request, false).unwrap();
    let (parts, receives) = answer.await.unwrap().into_parts();
    Asked { status: parts.status, headers: parts.headers, peer: Peer::on(sends, receives) }
}

/// An extended CONNECT.
pub(super) fn extended(uri: &str, protocol: &'static str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::connect(uri).header("sec-websocket-version", "13");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.extension(Protocol::from_static(protocol)).body(()).unwrap()
}

/// Asks for a WebSocket and at once sends so many frames of ten bytes on it, each in a DATA frame. Whether the
/// connection stays open.
pub(super) async fn crowd(mut socket: TcpStream, frames: usize) -> bool {
    let mut fields = Vec::new();
    for (name, value) in [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "x"),
        (":path", "/"),
        ("sec-websocket-version", "13"),
    ] {
        // A literal that is in no table (RFC 7541, section 6.2.2).
        fields.push(0);
        for text in [name, value] {
            fields.push(u8::try_from(text.len()).unwrap());
            fields.extend_from_slice(text.as_bytes());
        }
    }
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    all.extend(frame(4, 0, 0, &[]));
    all.extend(frame(1, 4, 1, &fields));
    all.extend(frame(0, 0, 1, &[b'x'; 10]).repeat(frames));
    // Answered once all that is before it was taken.
    all.extend(frame(6, 0, 0, &[7; 8]));
    // The word why may be lost where a socket is closed on which something was left.
    if socket.write_all(&all).await.is_err() {
        return false;
    }
    loop {
        let mut head = [0; 9];
        if socket.read_exact(&mut head).await.is_err() {
            return false;
        }
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        socket.read_exact(&mut payload).await.unwrap();
        match (head[3], head[4]) {
            (6, 1) => return true,
            (7, _) => {
                assert_eq!(&payload[4..], b"\0\0\0\x0btoo_many_data_frames");
                return false;
            }
            _ => {}
        }
    }
}

async fn ask_http1(mut socket: TcpStream, path: &str, fields: &[(&str, &str)]) -> Asked {
    let more: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n{more}\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let head = head(&mut socket).await.unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    Asked { status, headers, peer: Peer::Http1(socket) }
}

/// A head; `None`: the connection has ended.
async fn head(socket: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// What an upstream tells of its WebSockets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A handshake came: what stands at the top of it, and its fields.
    Asked(String, HeaderMap),
    /// The client's side ended, or was reset.
    Ended(Option<Reason>),
}

/// An upstream. By the path it says no (`/refuse`), says yes with a length (`/length`, on HTTP/2), has had enough of its first connection (`/again`), or answers as if
/// nothing had been asked for (`/ignore`). Else it talks back until the end, and then says `bye` (`/echo`); says all that
/// it has to say first (`/leave`); stays when the client has left (`/stay`); resets the stream after what it heard first
/// (`/reset`).
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    pub(super) speaks: Speaks,
    told: UnboundedReceiver<Told>,
}

impl Origin {
    pub(super) async fn start(speaks: Speaks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, told) = unbounded_channel();
        tokio::spawn(async move {
            let mut first = true;
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).unwrap();
                let tell = tell.clone();
                match speaks {
                    Speaks::Http1 => drop(tokio::spawn(serve_http1(socket, tell))),
                    _ => drop(tokio::spawn(serve_http2(socket, tell, speaks == Speaks::Http2, first))),
                }
                first = false;
            }
        });
        Origin { address, speaks, told }
    }

    pub(super) async fn told(&mut self) -> Told {
        self.told.recv().await.unwrap()
    }

    /// A handshake came.
    pub(super) async fn asked(&mut self) -> (String, HeaderMap) {
        match self.told().await {
            Told::Asked(top, headers) => (top, headers),
            told => panic!("{told:?}"),
        }
    }
}

async fn serve_http1(mut socket: TcpStream, tell: UnboundedSender<Told>) {
    let Some(head) = head(&mut socket).await else { return };
    let mut headers = HeaderMap::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        headers.append(http::HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    let top = head.lines().next().unwrap().to_owned();
    let path = top.split([' ', '?']).nth(1).unwrap().to_owned();
    let accept = headers.get("sec-websocket-key").map(accept_of);
    tell.send(Told::Asked(top, headers)).unwrap();
    match (&*path, accept) {
        ("/refuse", _) => {
            socket.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await.unwrap();
        }
        ("/ignore", _) | (_, None) => {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        }
        (_, Some(accept)) => {
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-accept: {accept}\r\nsec-websocket-protocol: b\r\n\r\n"
            );
            socket.write_all(response.as_bytes()).await.unwrap();
            talk(Peer::Http1(socket), &path, tell).await;
        }
    }
}

async fn serve_http2(socket: TcpStream, tell: UnboundedSender<Told>, connects: bool, first: bool) {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(4096);
    if connects {
        builder.enable_connect_protocol();
    }
    let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (parts, receives) = request.into_parts();
        let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
        let top = format!("{} {} {protocol:?}", parts.method, parts.uri);
        tell.send(Told::Asked(top, parts.headers)).unwrap();
        let path = parts.uri.path().to_owned();
        if path == "/refuse" {
            let response = Response::builder().status(403).header("content-length", 2).body(()).unwrap();
            respond.send_response(response, false).unwrap().send_data("no".into(), true).unwrap();
            continue;
        }
        if path == "/again" && first {
            respond.send_reset(Reason::REFUSED_STREAM);
            continue;
        }
        let mut response = Response::builder().header("sec-websocket-protocol", "b");
        if path == "/length" {
            response = response.header("content-length", 5);
        }
        let response = response.body(()).unwrap();
        let sends = respond.send_response(response, false).unwrap();
        let (peer, tell) = (Peer::on(sends, receives), tell.clone());
        tokio::spawn(async move { talk(peer, &path, tell).await });
    }
}

async fn talk(mut peer: Peer, path: &str, tell: UnboundedSender<Told>) {
    if path == "/leave" {
        peer.send(b"so long").await;
        peer.finish().await;
    }
    let ended = loop {
        match peer.next().await {
            Ok(Some(more)) => peer.send(&more).await,
            Ok(None) => break None,
            Err(reason) => break Some(reason),
        }
        if let (Peer::Http2 { sends, .. }, "/reset") = (&mut peer, path) {
            sends.send_reset(Reason::CANCEL);
        }
    };
    tell.send(Told::Ended(ended)).unwrap();
    match path {
        "/stay" => std::future::pending().await,
        "/echo" if ended.is_none() => {
            peer.send(b"bye").await;
            peer.finish().await;
        }
        _ => {}
    }
}
