//! A timer that is cheap to move: it is armed once and looks at the clock again when it fires.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The bound on what a connection waits for now.
///
/// Setting it costs a read of the clock. The timer behind it is only touched when the new bound is earlier than
/// what it is armed for; when it fires early, it is armed again for what is left.
#[derive(Debug, Default)]
pub struct Deadline {
    at: Option<Instant>,
    /// However `at` is moved, it never ends later than this.
    cap: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The wait was over its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Deadline {
    /// From now on at most this long; zero: no bound.
    pub fn set(&mut self, after: Duration) {
        self.at = if after.is_zero() { None } else { Instant::now().checked_add(after) };
    }

    /// From now on until then.
    pub fn set_at(&mut self, at: Option<Instant>) {
        self.at = at;
    }

    /// Sets a bound over all that follow; None takes it away.
    pub fn set_cap(&mut self, cap: Option<Instant>) {
        self.cap = cap;
    }

    /// Whether the bound over all of them has passed.
    pub fn is_over_cap(&self) -> bool {
        self.cap.is_some_and(|cap| Instant::now() >= cap)
    }

    /// When it ends.
    pub fn at(&self) -> Option<Instant> {
        match (self.at, self.cap) {
            (Some(at), Some(cap)) => Some(at.min(cap)),
            (at, cap) => at.or(cap),
        }
    }

    /// No bound.
    pub fn clear(&mut self) {
        self.at = None;
    }

    /// Ready once the bound has passed; otherwise the task is woken then at the latest.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Elapsed> {
        let Some(at) = self.at() else { return Poll::Pending };
        loop {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() > at {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= at {
                return Poll::Ready(Elapsed);
            }
            timer.as_mut().reset(at);
        }
    }

    /// Runs `future` for at most `after` (zero: no bound). Cancel safe if the future is.
    ///
    /// # Errors
    /// [`Elapsed`] if the time was over first.
    pub async fn bound<F: Future>(&mut self, after: Duration, future: F) -> Result<F::Output, Elapsed> {
        self.set(after);
        self.run(future).await
    }

    /// Runs `future` until the bound that is set.
    ///
    /// # Errors
    /// [`Elapsed`] if the time was over first.
    pub async fn run<F: Future>(&mut self, future: F) -> Result<F::Output, Elapsed> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(out) => Poll::Ready(Ok(out)),
            Poll::Pending => self.poll(cx).map(Err),
        })
        .await
    }
}
