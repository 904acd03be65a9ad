//! A stream of HTTP/2 that a WebSocket goes on (RFC 8441), as bytes both ways.
//!
//! hyper makes a pair of it: what is read and written here, and a task that sends what was written. Between the two
//! it tells too little: a reset with CANCEL, by which clients leave, reads as an end, and a task that waits for a
//! window waits on when nobody is left who wrote. hyper starts the task by our executors, so the two are tethered to
//! each other there.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::Deadline;

/// How long bytes that were written may wait for a window when nobody is left who wrote them.
const LINGER: Duration = Duration::from_secs(2);

/// Most that is taken at once: what hyper holds for a receiver that is slow is a few times as much.
const MOST: usize = 16 << 10;

/// The bytes of a stream of HTTP/2. Its end is the end of what is read, its reset an error (RFC 8441, section 5). Shut
/// down, the stream is ended; dropped, it is ended behind what was written, and reset if the peer has not ended it.
#[derive(Debug)]
pub struct Tunnel {
    io: TokioIo<Upgraded>,
    tether: Tether,
    phase: Phase,
}

/// How far the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// hyper says that it has ended, or was reset.
    Doubtful,
    /// It was shut down from here.
    Shut,
}

/// The tunnel's end of what ties it to the task that sends its bytes.
#[derive(Debug)]
pub(crate) struct Tether {
    /// None once that has ended.
    sending: Option<oneshot::Receiver<Infallible>>,
    _held: oneshot::Sender<Infallible>,
}

/// The other end.
pub(crate) struct Leash<K> {
    over: oneshot::Sender<Infallible>,
    held: oneshot::Receiver<Infallible>,
    keeps: K,
}

/// Both ends. `keeps` is dropped when tunnel and task have ended.
pub(crate) fn tether<K>(keeps: K) -> (Tether, Leash<K>) {
    let (over, sending) = oneshot::channel();
    let (owner, held) = oneshot::channel();
    (Tether { sending: Some(sending), _held: owner }, Leash { over, held, keeps })
}

impl<K> Leash<K> {
    /// hyper's task on it.
    pub(crate) fn lead<F: Future<Output = ()>>(self, task: F) -> Sending<F, K> {
        let Leash { over, held, keeps } = self;
        Sending { task: Some(task), over: Some(over), held: Some(held), deadline: Deadline::default(), keeps }
    }
}

pin_project! {
    /// hyper's task that sends the bytes of a tunnel.
    pub(crate) struct Sending<F, K> {
        // None once it has ended.
        #[pin]
        task: Option<F>,
        over: Option<oneshot::Sender<Infallible>>,
        // None once the tunnel was dropped.
        held: Option<oneshot::Receiver<Infallible>>,
        deadline: Deadline,
        keeps: K,
    }
}

impl<F: Future<Output = ()>, K> Future for Sending<F, K> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.task.as_mut().as_pin_mut().is_some_and(|task| task.poll(cx).is_ready()) {
            this.task.set(None);
            *this.over = None;
        }
        if let Some(held) = this.held {
            ready!(Pin::new(held).poll(cx)).ok();
            *this.held = None;
            this.deadline.set(LINGER);
        }
        if this.task.is_some() {
            // Its end resets the stream.
            ready!(this.deadline.poll(cx));
        }
        Poll::Ready(())
    }
}

impl Tunnel {
    /// Of what hyper hands over.
    pub(crate) fn new(io: Upgraded, tether: Tether) -> Self {
        Tunnel { io: TokioIo::new(io), tether, phase: Phase::Open }
    }

    /// Whether nothing more can be sent.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if self.tether.sending.as_mut().is_some_and(|sending| Pin::new(sending).poll(cx).is_ready()) {
            self.tether.sending = None;
        }
        self.tether.sending.is_none()
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let room = buf.remaining();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if buf.remaining() < room || room == 0 || this.phase == Phase::Shut {
            return Poll::Ready(Ok(()));
        }
        if this.phase == Phase::Open {
            // The task that sends was woken by a reset before this one was: it has its turn now, and ends.
            this.phase = Phase::Doubtful;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !this.is_over(cx) {
            return Poll::Ready(Ok(()));
        }
        match ready!(Pin::new(&mut this.io).poll_shutdown(cx)) {
            Err(error) if !is_clean(&error) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, data.get(..MOST).unwrap_or(data))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = ready!(Pin::new(&mut this.io).poll_shutdown(cx));
        this.phase = Phase::Shut;
        Poll::Ready(shut.or_else(|error| if is_clean(&error) { Ok(()) } else { Err(error) }))
    }
}

/// Whether a stream was reset as one that is over (RFC 9113, section 8.1): a server may do so behind its end.
fn is_clean(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|error| error.downcast_ref::<hyper::Error>());
    let reset = cause.and_then(|error| error.source()).and_then(|error| error.downcast_ref::<h2::Error>());
    reset.and_then(h2::Error::reason) == Some(h2::Reason::NO_ERROR)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    /// A task that sends until it is told to end, on its leash; and what is kept.
    fn sending() -> (oneshot::Sender<()>, Tether, Pin<Box<impl Future<Output = ()>>>, Rc<()>) {
        let (end, ended) = oneshot::channel();
        let kept = Rc::new(());
        let (tether, leash) = tether(kept.clone());
        let sending = leash.lead(async move { ended.await.unwrap() });
        (end, tether, Box::pin(sending), kept)
    }

    /// Whether it has ended.
    fn has_ended(sending: &mut Pin<Box<impl Future<Output = ()>>>) -> bool {
        sending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[tokio::test]
    async fn a_task_that_has_ended_keeps_what_it_kept_until_the_tunnel_is_gone() {
        let (end, mut tether, mut task, kept) = sending();
        assert!(!has_ended(&mut task));
        let over = tether.sending.as_mut().unwrap();
        assert!(over.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Empty));
        end.send(()).unwrap();
        assert!(!has_ended(&mut task));
        assert!(over.try_recv().is_err_and(|e| e == oneshot::error::TryRecvError::Closed));
        assert_eq!(Rc::strong_count(&kept), 2);
        drop(tether);
        assert!(has_ended(&mut task));
        drop(task);
        assert_eq!(Rc::strong_count(&kept), 1);
    }

    #[tokio::test]
    async fn what_was_written_may_still_be_sent_when_the_tunnel_is_gone() {
        let (end, tether, mut task, _) = sending();
        assert!(!has_ended(&mut task));
        drop(tether);
        assert!(!has_ended(&mut task));
        end.send(()).unwrap();
        assert!(has_ended(&mut task));
    }

    #[tokio::test]
    async fn a_window_is_not_waited_for_for_long() {
        let (_end, tether, task, _) = sending();
        drop(tether);
        let begun = std::time::Instant::now();
        task.await;
        assert!(begun.elapsed() >= LINGER.mul_f32(0.9), "{:?}", begun.elapsed());
    }
}
