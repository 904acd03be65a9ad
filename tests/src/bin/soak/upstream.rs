//! The servers behind the proxy: a small answer, an echo, 10 MiB, and a WebSocket that sends every message back.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

use anyhow::Result;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Bytes of a download.
pub(crate) const LARGE: usize = 10 << 20;
/// What `/small` answers.
pub(crate) static SMALL: LazyLock<Bytes> = LazyLock::new(|| BLOCK.slice(..1024));
/// What a download consists of, again and again. Its length is a prime, so that no cut at a round place goes unseen.
pub(crate) static BLOCK: LazyLock<Bytes> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(4);
    (0..65_521).map(|_| random.u8(..)).collect()
});

type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

/// Starts a server; it serves until the runtime ends.
pub(crate) async fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                // Out of file descriptors: some are freed as connections end.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            };
            let _ = socket.set_nodelay(true);
            tokio::spawn(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service_fn(serve))
                    .with_upgrades(),
            );
        }
    });
    Ok(address)
}

async fn serve(request: Request<Incoming>) -> Result<Answer, Infallible> {
    Ok(match request.uri().path() {
        "/ws" => upgrade(request),
        "/echo" => Response::new(request.into_body().boxed_unsync()),
        "/large" => large(),
        _ => Response::new(Full::new(SMALL.clone()).map_err(|never| match never {}).boxed_unsync()),
    })
}

fn large() -> Answer {
    let mut left = LARGE;
    let pieces = std::iter::from_fn(move || {
        let piece = BLOCK.slice(..left.min(BLOCK.len()));
        left -= piece.len();
        (!piece.is_empty()).then(|| Ok(Frame::data(piece)))
    });
    let mut answer = Response::new(StreamBody::new(stream::iter(pieces)).boxed_unsync());
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(LARGE));
    answer
}

fn upgrade(mut request: Request<Incoming>) -> Answer {
    let key = request.headers().get(SEC_WEBSOCKET_KEY);
    let accept = key.and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok());
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    let Some(accept) = accept else {
        *answer.status_mut() = StatusCode::BAD_REQUEST;
        return answer;
    };
    tokio::spawn(echo(hyper::upgrade::on(&mut request)));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

async fn echo(upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    while let Some(Ok(message)) = socket.next().await {
        let echoed = message.is_text() || message.is_binary();
        if echoed && socket.send(message).await.is_err() {
            return;
        }
    }
}
