//! Bytes both ways between two streams, without looking at them.
//!
//! In reading order: this file (both directions, time, orders), `registry` (which relays there are, and what they are
//! told), `live` and `groups` (what plugins and other relays ask of those whose frames are read), `lent` (how they
//! get at them), `tap` and `totals` (what operators see), `framed`
//! (relays whose frames are read), `flow` (one direction), `buffer` and `pipe` (what bytes are in while they wait).

mod buffer;
mod flow;
pub(crate) mod framed;
mod groups;
mod lent;
mod live;
pub(crate) mod pipe;
mod registry;
mod tap;
#[cfg(test)]
mod tests;
mod totals;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use weir_plugin::websocket::Direction;

use crate::error::Kind;
use crate::net::Stream;
use flow::{Broken, Flow};

pub use lent::WorkerRelays;
pub use registry::Held;
pub(crate) use registry::{Carrier, Control, Entering, Order, Registry};
pub use tap::{Passed, RelayFilter, RelayInfo, RelayKind, TapError, Tapped};
pub use totals::Totals;

/// How long the other side has to take a farewell and close.
const LINGER: Duration = Duration::from_millis(500);

/// Close code 1001.
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();
/// Close code 1012, of IANA's registry of close codes.
const SERVICE_RESTART: [u8; 2] = 1012_u16.to_be_bytes();

thread_local! {
    static FAREWELLS: Cell<usize> = const { Cell::new(0) };
}

/// How a relay ended, and what it carried.
#[derive(Debug, Default)]
pub struct Carried {
    /// Bytes from the client to the upstream.
    pub to_upstream: u64,
    /// Bytes from the upstream to the client.
    pub to_client: u64,
}

/// Why a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both sides closed.
    Closed,
    /// No byte passed either way for the idle timeout.
    Idle,
    /// The drain time was over.
    Stopped,
    /// A changed configuration asked for it.
    Reloaded,
    /// An operator asked for it.
    Ordered,
    /// It was as old as it may be.
    Aged,
    /// The client did not answer a ping.
    Silent,
    /// Too much waited that was sent into it.
    Slow,
    /// The client sent no message for which its upstream would have been opened.
    Wordless,
    /// The upstream was opened late, and could not be.
    NotOpened(Kind, &'static str),
    /// A plugin failed that must not be left out.
    PluginFailed,
    /// A side broke a rule of WebSockets, or went over a limit: true if it was the client.
    Broke(&'static str, bool),
    /// Reading or writing failed: true if on the client's side.
    Failed(io::Error, bool),
}

impl End {
    /// What the access log is told; `None`: it ended as it should.
    pub fn reason(&self) -> Option<(Kind, &'static str)> {
        match self {
            End::Closed => None,
            End::Idle => Some((Kind::Idle, "no byte passed for the idle timeout")),
            End::Stopped => Some((Kind::Stopped, "the drain time was over")),
            End::Reloaded => Some((Kind::Reloaded, "a changed configuration asked the client to come again")),
            End::Ordered => Some((Kind::Stopped, "an operator closed it")),
            End::Aged => Some((Kind::Idle, "it was as old as it may be")),
            End::Silent => Some((Kind::ClientGone, "the client did not answer a ping")),
            End::Slow => Some((Kind::Overloaded, "too much waited that was sent into it")),
            End::Wordless => Some((Kind::RequestTimeout, "the client sent no message in time")),
            End::NotOpened(kind, detail) => Some((*kind, detail)),
            End::PluginFailed => Some((Kind::Plugin, "a plugin failed")),
            End::Broke(detail, true) => Some((Kind::BadRequest, detail)),
            End::Broke(detail, false) => Some((Kind::UpstreamInvalid, detail)),
            End::Failed(_, true) => Some((Kind::ClientGone, "the connection to the client broke off")),
            End::Failed(_, false) => Some((Kind::UpstreamClosed, "the connection to the upstream broke off")),
        }
    }
}

/// What a client is told whose upstream was opened late, and could not be because of this: a close code, and its reason.
/// 1013 (try again later, IANA) where another time may do.
pub fn not_opened(kind: Kind) -> (u16, &'static str) {
    match kind {
        Kind::UpstreamInvalid => (1011, "the upstream took no WebSocket"),
        Kind::Plugin | Kind::Internal => (1011, ""),
        _ => (1013, "the upstream is not there"),
    }
}

/// What is done to a client when its relay is told to end, before its stream is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Nothing: layer 4.
    None,
    /// A WebSocket close frame: 1001 when the process ends, 1012 for a changed configuration.
    WebSocket,
}

/// Carries bytes both ways until both sides have closed, nothing passes for `idle`, `age` is over (zero: no bound), or there
/// is an order to end. A side that closes for writing is closed for writing on the other (half-close). While no
/// bytes wait it holds neither buffer nor pipe. `head` are bytes already read from each side (client, upstream).
///
/// The future is small; give it a task of its own ([`crate::worker::Worker::spawn_for`]), so that what came before
/// the relay does not stay in memory beside it. Dropping it closes both streams.
pub(crate) fn relay(
    client: Stream,
    upstream: Stream,
    head: (Bytes, Bytes),
    (idle, age): (Duration, Duration),
    farewell: Farewell,
    control: Control,
) -> impl Future<Output = (Carried, End)> {
    let mut relay = Relay {
        client,
        upstream,
        up: Flow::new(head.0),
        down: Flow::new(head.1),
        idle,
        until: Some(age).filter(|age| !age.is_zero()).and_then(|age| Instant::now().checked_add(age)),
        passed: Instant::now(),
        timer: None,
        control,
        waker: None,
    };
    async move {
        let end = poll_fn(|cx| relay.poll(cx)).await;
        let code = match end {
            End::Stopped => {
                if farewell == Farewell::WebSocket {
                    count_farewell();
                }
                Some(GOING_AWAY)
            }
            End::Reloaded | End::Ordered => Some(SERVICE_RESTART),
            End::Aged => Some(GOING_AWAY),
            _ => None,
        };
        if let Some(code) = code.filter(|_| farewell == Farewell::WebSocket) {
            Box::pin(relay.say_farewell(code)).await;
        }
        let carried = Carried { to_upstream: relay.up.carried(), to_client: relay.down.carried() };
        (carried, end)
    }
}

/// A relay of this thread was told farewell.
fn count_farewell() {
    FAREWELLS.set(FAREWELLS.get() + 1);
}

/// How many relays of this thread were told farewell.
pub(crate) fn farewells() -> usize {
    FAREWELLS.get()
}

struct Relay {
    client: Stream,
    upstream: Stream,
    up: Flow,
    down: Flow,
    idle: Duration,
    /// When it is as old as it may be.
    until: Option<Instant>,
    /// When the last byte passed.
    passed: Instant,
    /// Armed for the end of the idle time as it was when it last fired: a message does not touch it.
    timer: Option<Pin<Box<Sleep>>>,
    control: Control,
    /// What the timer and an order wake.
    waker: Option<Waker>,
}

impl Relay {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // A message must not cost the registration of a waker with the timer and for orders: theirs is still good.
        let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            self.waker = Some(cx.waker().clone());
            self.control.register(cx.waker());
        }
        match self.control.order() {
            Some(Order::Stop) => return Poll::Ready(End::Stopped),
            Some(Order::Close) => return Poll::Ready(End::Ordered),
            Some(Order::Restart) => return Poll::Ready(End::Reloaded),
            None => {}
        }
        let before = self.up.carried() + self.down.carried();
        let up = self.up.poll(cx, &mut self.client, &mut self.upstream);
        if let Poll::Ready(Err(Broken { error, reading })) = up {
            return Poll::Ready(End::Failed(error, reading));
        }
        let down = self.down.poll(cx, &mut self.upstream, &mut self.client);
        if let Poll::Ready(Err(Broken { error, reading })) = down {
            return Poll::Ready(End::Failed(error, !reading));
        }
        let passed = self.up.carried() + self.down.carried() != before;
        if passed {
            self.control.passed(Direction::ToUpstream, self.up.carried(), 0);
            self.control.passed(Direction::ToClient, self.down.carried(), 0);
        }
        if self.up.has_ended() && self.down.has_ended() {
            return Poll::Ready(End::Closed);
        }
        if passed && !self.idle.is_zero() {
            self.passed = Instant::now();
        }
        self.poll_time(cx, known)
    }

    fn poll_time(&mut self, cx: &mut Context<'_>, known: bool) -> Poll<End> {
        let idle = Some(self.idle).filter(|idle| !idle.is_zero());
        let idle = idle.and_then(|idle| self.passed.checked_add(idle));
        let Some(at) = idle.into_iter().chain(self.until).min() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if known && !timer.is_elapsed() {
            return Poll::Pending;
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(if self.until == Some(at) { End::Aged } else { End::Idle });
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }

    /// Tells both sides of a WebSocket why it ends (RFC 6455, section 7.4.1), unless bytes of a message are
    /// held up on the way to them, and gives them a moment to close.
    async fn say_farewell(&mut self, code: [u8; 2]) {
        let (to_client, to_upstream) = (self.down.is_between(), self.up.is_between());
        let mask: [u8; 4] = fastrand::u32(..).to_ne_bytes();
        let [a, b, c, d] = mask;
        let [high, low] = code;
        let masked = [0x88, 0x82, a, b, c, d, high ^ a, low ^ b];
        let unmasked = [0x88, 0x02, high, low];
        let client = depart(&mut self.client, to_client.then_some(&unmasked));
        let upstream = depart(&mut self.upstream, to_upstream.then_some(&masked));
        let _ = timeout(LINGER, async { tokio::join!(client, upstream) }).await;
    }
}

/// Writes a last frame, closes for writing and reads what still comes: were it left in the socket, closing would
/// reset the connection and the frame might be lost with it.
async fn depart(stream: &mut Stream, frame: Option<&[u8]>) {
    if let Some(frame) = frame
        && (stream.write_all(frame).await.is_err() || stream.flush().await.is_err())
    {
        return;
    }
    if poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx)).await.is_err() {
        return;
    }
    let mut rest = [0; 512];
    while stream.read(&mut rest).await.is_ok_and(|n| n > 0) {}
}
