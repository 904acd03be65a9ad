//! `/ws`: sends every message back.

use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::body::DemoBody;
use super::service::{Answer, text};

/// The largest message.
const MESSAGE_LIMIT: usize = 16 << 20;

pub(super) fn answer(mut request: Request<Incoming>) -> Answer {
    let headers = request.headers();
    let is = |name, value: &str| {
        headers.get(name).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(value.as_bytes()))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| {
        request.method() == Method::GET && is(UPGRADE, "websocket") && is(SEC_WEBSOCKET_VERSION, "13")
    });
    let Some(accept) = key.and_then(|k| HeaderValue::try_from(derive_accept_key(k.as_bytes())).ok()) else {
        let mut answer =
            text(StatusCode::UPGRADE_REQUIRED, "This is a WebSocket echo: connect with ws:// or wss://\n");
        answer.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        return answer;
    };
    let protocol = headers
        .get(SEC_WEBSOCKET_PROTOCOL)
        .and_then(|offered| HeaderValue::try_from(offered.to_str().ok()?.split(',').next()?.trim()).ok());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(echo(upgrade));

    let mut answer = Response::new(DemoBody::Full(bytes::Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    answer
}

async fn echo(upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut socket = accepted(upgraded).await;
    while let Some(message) = socket.next().await {
        let Ok(message) = message else { return };
        let echoed = message.is_text() || message.is_binary();
        if echoed && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn accepted(upgraded: Upgraded) -> WebSocketStream<TokioIo<Upgraded>> {
    let mut limits = WebSocketConfig::default();
    limits.max_message_size = Some(MESSAGE_LIMIT);
    limits.max_frame_size = Some(MESSAGE_LIMIT);
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(limits)).await
}
