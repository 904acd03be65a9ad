//! The streams of a client's connection, and the bound on how long each of them waits for its client.
//!
//! hyper asks the body of a response for more only when the client has a window for what it got before. A client that
//! opens none is waited for without the body being polled, so the body cannot watch the time. The task of the stream
//! can, and it is ours: hyper starts it by our executor. The body tells in each poll whether data was handed over or is
//! waited for, and so its task knows, when hyper then has nothing more to do, whom the stream waits for.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::spawn_local;

use crate::error::{Error, Kind};
use crate::net::Deadline;
use crate::net::deadline::Coarse;
use crate::net::tunnel::Leash;

/// The streams of one connection. Starts their tasks for hyper.
#[derive(Clone)]
pub(super) struct Streams(Rc<Shared>);

struct Shared {
    /// Those that are under way.
    active: Cell<usize>,
    /// How long a client may take none of what is ready for it.
    idle: Duration,
    /// Written and read while the task of one stream is polled, or dropped.
    said: Cell<Said>,
    /// Set while the task of one stream is polled: what hyper starts next sends the bytes of its tunnel.
    opening: Cell<Option<Leash<()>>>,
}

/// What a stream's body, polled by its task, has said in that poll; and what the task says when it drops the body.
#[derive(Clone, Copy, Default)]
enum Said {
    /// Not polled: the stream waits for what it waited for.
    #[default]
    Nothing,
    /// There is nothing to send for now.
    Waiting,
    /// Here is data; the exchange must end then.
    Data(Option<Coarse>),
    /// The client took too long; or so did the whole exchange.
    TooLate { exchange: bool },
}

/// A stream that is under way until this is dropped.
pub(super) struct Active(Streams);

impl Streams {
    /// Of a client that may take none of a response for `idle`.
    pub(super) fn new(idle: Duration) -> Self {
        Streams(Rc::new(Shared {
            active: Cell::new(0),
            idle,
            said: Cell::default(),
            opening: Cell::default(),
        }))
    }

    pub(super) fn enter(&self) -> Active {
        self.0.active.set(self.0.active.get() + 1);
        Active(self.clone())
    }

    /// Whether any is under way.
    pub(super) fn are_active(&self) -> bool {
        self.0.active.get() > 0
    }
}

impl Active {
    /// The body has nothing to send for now.
    pub(super) fn waits(&self) {
        self.0.0.said.set(Said::Waiting);
    }

    /// The body has handed over data, for the client to take; the exchange must end at `cap`.
    pub(super) fn hands_over(&self, cap: Option<Coarse>) {
        self.0.0.said.set(Said::Data(cap));
    }

    /// hyper is about to be given the response that makes a tunnel of the stream.
    pub(super) fn opens(&self, leash: Leash<()>) {
        self.0.0.opening.set(Some(leash));
    }

    /// Why the body is being dropped, if that is because the client did not take it in time.
    pub(super) fn too_late(&self) -> Option<Error> {
        match self.0.0.said.get() {
            Said::TooLate { exchange: true } => {
                Some(Error::new(Kind::ExchangeTimeout, "the request timeout is over"))
            }
            Said::TooLate { .. } => {
                Some(Error::new(Kind::ClientGone, "the client took no more of the response"))
            }
            _ => None,
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let active = &self.0.0.active;
        active.set(active.get() - 1);
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, task: F) {
        if let Some(leash) = self.0.opening.take() {
            spawn_local(leash.lead(task));
            return;
        }
        spawn_local(Task {
            task: Some(task),
            streams: self.clone(),
            waits_for_client: false,
            deadline: Deadline::default(),
        });
    }
}

pin_project! {
    /// The task of a stream. Ended before hyper has ended it, it resets the stream.
    struct Task<F> {
        #[pin]
        task: Option<F>,
        streams: Streams,
        waits_for_client: bool,
        // Touched only while the client is waited for.
        deadline: Deadline,
    }
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let shared = &this.streams.0;
        shared.said.set(Said::Nothing);
        let polled = this.task.as_mut().as_pin_mut().map(|task| task.poll(cx));
        // The client may have left before hyper could answer.
        drop(shared.opening.take());
        match polled {
            Some(Poll::Pending) => {}
            Some(Poll::Ready(())) | None => return Poll::Ready(()),
        }
        match shared.said.get() {
            Said::Data(cap) => {
                *this.waits_for_client = true;
                this.deadline.cap_at(cap);
                this.deadline.set(shared.idle);
            }
            Said::Waiting => *this.waits_for_client = false,
            Said::Nothing | Said::TooLate { .. } => {}
        }
        if !*this.waits_for_client || this.deadline.poll(cx).is_pending() {
            return Poll::Pending;
        }
        shared.said.set(Said::TooLate { exchange: this.deadline.is_over_cap() });
        this.task.set(None);
        shared.said.set(Said::Nothing);
        Poll::Ready(())
    }
}
