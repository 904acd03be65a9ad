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
/// One that was lost is opened again within this time.
const BACK_MS: u64 = 1000;
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
            Err(reason) => {
                soak.sockets.lost(reason);
                // As clients do it, so that they do not all come back at once.
                soak.pause(Duration::from_millis(fastrand::u64(..BACK_MS))).await;
            }
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::net::{TcpListener, TcpStream};
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

    use super::*;
    use crate::upstream;

    /// Waits for something that the soak counts.
    async fn eventually(soak: &Soak, what: impl Fn(&crate::count::SocketFigures) -> bool) {
        let begun = Instant::now();
        while !what(&soak.sockets.figures()) {
            assert!(begun.elapsed() < PATIENCE, "{:?}", soak.sockets.figures());
            tokio::task::yield_now().await;
        }
    }

    /// A proxy that carries bytes, and cuts its first connection when it is told to.
    async fn cutting_proxy(upstream: SocketAddr, cut: tokio::sync::oneshot::Receiver<()>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut cut = Some(cut);
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let cut = cut.take();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(upstream).await.unwrap();
                    let cut = async {
                        match cut {
                            Some(cut) => drop(cut.await),
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        () = cut => {}
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn one_that_is_cut_is_lost_and_the_others_are_not() {
        let (cut, is_cut) = tokio::sync::oneshot::channel();
        let proxy = cutting_proxy(upstream::start().await.unwrap(), is_cut).await;
        let soak = Soak::new(proxy, proxy, proxy).unwrap();
        let held: Vec<_> = (0..3).map(|_| tokio::spawn(hold(soak.clone(), Door::Web, true))).collect();
        eventually(&soak, |figures| figures.opened == 3).await;
        cut.send(()).unwrap();
        eventually(&soak, |figures| figures.lost == 1 && figures.opened == 4).await;
        soak.stop();
        for task in held {
            task.await.unwrap();
        }
        let figures = soak.sockets.figures();
        assert_eq!((figures.opened, figures.closed, figures.lost), (4, 3, 1), "{figures:?}");
        assert_eq!((figures.open(), figures.unopened), (0, 0));
    }

    /// What a proxy may do to a WebSocket.
    #[derive(Debug, Clone, Copy)]
    enum Harm {
        Close,
        Drop,
        Talk,
        Garble,
    }

    async fn harmful(harm: Harm) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            match harm {
                Harm::Close => {
                    let frame = CloseFrame { code: CloseCode::Restart, reason: "".into() };
                    socket.close(Some(frame)).await.unwrap();
                }
                Harm::Drop => return,
                Harm::Talk => socket.send(Message::from("hello")).await.unwrap(),
                Harm::Garble => {
                    socket.next().await.unwrap().unwrap();
                    socket.send(Message::from("another")).await.unwrap();
                }
            }
            while socket.next().await.is_some_and(|came| came.is_ok()) {}
        });
        address
    }

    #[tokio::test]
    async fn whatever_is_done_to_one_is_seen() {
        for (harm, reason) in [
            (Harm::Close, "closed by the proxy with 1012"),
            (Harm::Drop, "broken off: "),
            (Harm::Talk, "a message came that nobody had asked for"),
            (Harm::Garble, "another message came back"),
        ] {
            let proxy = harmful(harm).await;
            let soak = Soak::new(proxy, proxy, proxy).unwrap();
            let held = tokio::spawn(hold(soak.clone(), Door::Web, true));
            eventually(&soak, |figures| figures.lost == 1).await;
            soak.stop();
            held.abort();
            let figures = soak.sockets.figures();
            assert!(figures.reasons[0].starts_with(reason), "{harm:?}: {figures:?}");
        }
    }
}
