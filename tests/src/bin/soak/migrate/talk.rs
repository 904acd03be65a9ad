//! Both ends of a relay: each sends numbered messages all the time, and checks those of the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::check::{self, Watch};
use super::count::{Counts, End};
use crate::certificates::NAME;
use crate::client::{Door, PATIENCE, Soak};

/// Between two messages one way: from this on, and up to twice as much.
const PAUSE_MS: u64 = 70;
/// One message in so many is sent in two frames, with a pause between.
const IN_PIECES: u64 = 8;
/// That pause.
const INSIDE: Duration = Duration::from_millis(15);

/// The client's end, from the handshake until the soak is stopped. It is told when this relay carries messages both ways.
pub(super) async fn client(soak: Arc<Soak>, counts: Arc<Counts>, relay: usize) {
    let talked = async {
        let door = if relay.is_multiple_of(2) { Door::Web } else { Door::Tls };
        let stream = soak.connect(door).await.map_err(|error| format!("connecting: {error}"))?;
        let opened = tokio_tungstenite::client_async(format!("ws://{NAME}/ws"), stream);
        let opened = timeout(PATIENCE, opened).await.map_err(|_| "no handshake in time".to_owned())?;
        let (mut socket, _) = opened.map_err(|error| format!("opening: {error}"))?;
        talk(&mut socket, &counts, End::Client, Some(relay), soak.stopped()).await?;
        let closed = async {
            socket.close(None).await.map_err(|error| format!("closing: {error}"))?;
            match socket.next().await {
                Some(Ok(Message::Close(_))) => Ok(()),
                other => Err(format!("closing: {other:?}")),
            }
        };
        timeout(PATIENCE, closed).await.map_err(|_| "no answer to a close frame".to_owned())?
    };
    match talked.await {
        Ok(()) => counts.closed(),
        Err(reason) => counts.broke(format!("relay {relay}, at the client: {reason}")),
    }
}

/// Starts the other end; it serves until the runtime ends.
pub(super) async fn upstream(counts: Arc<Counts>) -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                // Out of file descriptors: some are freed as connections end.
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            tokio::spawn(serve(socket, counts.clone()));
        }
    });
    Ok(address)
}

async fn serve(socket: TcpStream, counts: Arc<Counts>) {
    let _ = socket.set_nodelay(true);
    // What comes without a handshake is of who looks whether the proxy serves.
    let Ok(mut socket) = tokio_tungstenite::accept_async(socket).await else { return };
    if let Err(reason) = talk(&mut socket, &counts, End::Upstream, None, std::future::pending()).await {
        counts.broke(format!("at the upstream: {reason}"));
    }
    // The client closes.
    while let Ok(Some(Ok(_))) = timeout(PATIENCE, socket.next()).await {}
}

/// Sends and checks until both ends have said their last: the client when it is `stopped`, the upstream after it. The
/// upstream is told by the first message which `relay` it is.
async fn talk<S>(
    socket: &mut WebSocketStream<S>,
    counts: &Counts,
    end: End,
    mut relay: Option<usize>,
    stopped: impl Future<Output = ()>,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stopped = std::pin::pin!(stopped);
    let (mut watch, mut number) = (Watch::default(), 0);
    let (mut ends, mut heard_last, mut said_last) = (false, false, false);
    let mut patience = Instant::now() + PATIENCE;
    while !(heard_last && said_last) {
        let pause = Duration::from_millis(fastrand::u64(PAUSE_MS..2 * PAUSE_MS));
        tokio::select! {
            () = &mut stopped, if !ends => ends = true,
            () = sleep(pause), if relay.is_some() && !said_last => {
                number += 1;
                said_last = ends || heard_last;
                let text = check::message(relay.unwrap_or_default(), number, said_last);
                let sent = timeout(PATIENCE, send(socket, text, number.is_multiple_of(IN_PIECES)));
                sent.await.map_err(|_| "a message could not be sent in time")??;
            }
            came = socket.next() => {
                let text = match came {
                    Some(Ok(Message::Text(text))) => text,
                    other => return Err(format!("in place of a message came {other:?}")),
                };
                if let Some(taken) = counts.came(end, &mut watch, &text) {
                    if relay.is_none() && end == End::Upstream {
                        counts.opened();
                    }
                    relay = relay.or(Some(taken.relay));
                    heard_last = taken.last;
                }
                patience = Instant::now() + PATIENCE;
            }
            () = tokio::time::sleep_until(patience) => return Err(format!("nothing came for {PATIENCE:?}")),
        }
    }
    Ok(())
}

async fn send<S>(socket: &mut WebSocketStream<S>, text: String, in_pieces: bool) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |error| format!("sending: {error}");
    if !in_pieces {
        return socket.send(Message::from(text)).await.map_err(failed);
    }
    let (one, two) = text.split_at(text.len() / 2);
    let first = Frame::message(one.as_bytes().to_vec(), OpCode::Data(Data::Text), false);
    let second = Frame::message(two.as_bytes().to_vec(), OpCode::Data(Data::Continue), true);
    socket.send(Message::Frame(first)).await.map_err(failed)?;
    sleep(INSIDE).await;
    socket.send(Message::Frame(second)).await.map_err(failed)
}
