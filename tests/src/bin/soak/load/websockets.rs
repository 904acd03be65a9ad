//! WebSockets that are held, and talk a little: each message must come back as it was sent.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::certificates::NAME;
use crate::client::{Door, PATIENCE, Soak, Stream};

type Socket = WebSocketStream<Box<dyn Stream>>;

/// Between two messages: at most so long.
const PAUSE_MS: u64 = 2000;
/// How long one lives that comes and goes.
const LIFE_MS: std::ops::Range<u64> = 2_000..20_000;
/// The longest message; most are short.
const LONG: usize = 128 << 10;

/// Holds one WebSocket, or one after the other where it is not a `lasting` one; one that was lost is opened again.
pub(crate) async fn hold(soak: Arc<Soak>, door: Door, lasting: bool) {
    while !soak.is_stopped() {
        let mut socket = match open(&soak, door).await {
            Ok(socket) => socket,
            Err(reason) => {
                soak.sockets.unopened(reason);
                soak.pause(Duration::from_millis(500)).await;
                continue;
            }
        };
        soak.sockets.opened();
        let life = (!lasting).then(|| Instant::now() + Duration::from_millis(fastrand::u64(LIFE_MS)));
        match live(&soak, &mut socket, life).await {
            Ok(()) => soak.sockets.closed(),
            Err(reason) => soak.sockets.lost(reason),
        }
    }
}

async fn open(soak: &Soak, door: Door) -> Result<Socket, String> {
    let stream = soak.connect(door).await.map_err(|error| format!("connecting: {error}"))?;
    let url = format!("ws://{NAME}/ws");
    let opened = tokio::time::timeout(PATIENCE, tokio_tungstenite::client_async(url, stream)).await;
    match opened {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no handshake within {PATIENCE:?}")),
    }
}

/// Talks until the soak is stopped or the time is over, then closes. An error says how it was lost.
async fn live(soak: &Soak, socket: &mut Socket, until: Option<Instant>) -> Result<(), String> {
    loop {
        let pause = Duration::from_millis(fastrand::u64(PAUSE_MS / 2..PAUSE_MS));
        let ends = tokio::select! {
            () = tokio::time::sleep(pause) => until.is_some_and(|until| Instant::now() >= until),
            () = soak.stopped() => true,
            unasked = socket.next() => return Err(described(unasked)),
        };
        let long = fastrand::u8(..50) == 0;
        echo(socket, fastrand::usize(1..if long { LONG } else { 500 })).await?;
        soak.sockets.message();
        if ends {
            return close(socket).await;
        }
    }
}

async fn echo(socket: &mut Socket, length: usize) -> Result<(), String> {
    let text: String = std::iter::repeat_with(fastrand::alphanumeric).take(length).collect();
    let message = Message::from(text);
    soon("sending", socket.send(message.clone())).await?.map_err(|error| format!("sending: {error}"))?;
    match soon("an echo", socket.next()).await? {
        Some(Ok(back)) if back == message => Ok(()),
        Some(Ok(Message::Text(_))) => Err("another message came back".to_owned()),
        other => Err(described(other)),
    }
}

async fn close(socket: &mut Socket) -> Result<(), String> {
    soon("closing", socket.close(None)).await?.map_err(|error| format!("closing: {error}"))?;
    match soon("the answer to a close", socket.next()).await? {
        Some(Ok(Message::Close(_))) => Ok(()),
        other => Err(format!("closing: {}", described(other))),
    }
}

async fn soon<T>(what: &str, doing: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, doing).await.map_err(|_| format!("{what} took over {PATIENCE:?}"))
}

/// What came in place of what was waited for.
fn described(came: Option<Result<Message, Error>>) -> String {
    match came {
        Some(Ok(Message::Close(Some(frame)))) => format!("closed by the proxy with {}", frame.code),
        Some(Ok(Message::Close(None))) => "closed by the proxy without a code".to_owned(),
        Some(Ok(_)) => "a message came that nobody had asked for".to_owned(),
        Some(Err(error)) => format!("broken off: {error}"),
        None => "ended".to_owned(),
    }
}
