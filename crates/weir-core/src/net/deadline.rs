//! A timer that is cheap to move: it is armed once and looks at the clock again when it fires.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Sleep, sleep_until};

/// The coarse clock's step, and a little.
const TICK: Duration = Duration::from_millis(11);
/// What a timer is armed for at the most.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// The bound on what a connection waits for now, to about ten milliseconds either way.
///
/// Setting it costs a read of the kernel's coarse clock. The timer behind it is only touched when the new bound is
/// earlier than what it is armed for; when it fires early, it is armed again for what is left.
#[derive(Debug, Default)]
pub struct Deadline {
    at: Option<Coarse>,
    /// However `at` is moved, it never ends later than this.
    cap: Option<Coarse>,
    armed: Option<Armed>,
}

/// A time of the kernel's coarse clock, in nanoseconds. It lags the exact one by up to a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Coarse(u64);

/// A timer that will wake a task.
#[derive(Debug)]
struct Armed {
    timer: Pin<Box<Sleep>>,
    at: Coarse,
    wakes: Waker,
}

/// The wait was over its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Coarse {
    /// The time of now.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::MonotonicCoarse);
        let nanos = |part: i64| u64::try_from(part).unwrap_or(0);
        Coarse(nanos(now.tv_sec).saturating_mul(1_000_000_000).saturating_add(nanos(now.tv_nsec)))
    }

    /// So much later.
    pub fn after(self, time: Duration) -> Self {
        Coarse(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The same in milliseconds.
    pub fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long it is from then to now; zero if then is later.
    pub fn since(self, then: Coarse) -> Duration {
        then.until(self)
    }

    /// How long it is until then; zero if then is over.
    fn until(self, then: Coarse) -> Duration {
        Duration::from_nanos(then.0.saturating_sub(self.0))
    }
}

impl Deadline {
    /// From now on at most this long; zero: no bound.
    pub fn set(&mut self, after: Duration) {
        self.at = (!after.is_zero()).then(|| Coarse::now().after(after));
    }

    /// Until then.
    pub fn set_at(&mut self, at: Coarse) {
        self.at = Some(at);
    }

    /// Sets a bound over all that follow, from now on this long; zero takes it away.
    pub fn set_cap(&mut self, after: Duration) {
        self.cap = (!after.is_zero()).then(|| Coarse::now().after(after));
    }

    /// The bound over all that follow.
    pub fn cap(&self) -> Option<Coarse> {
        self.cap
    }

    /// Sets the bound over all that follow to one that another deadline has.
    pub fn cap_at(&mut self, cap: Option<Coarse>) {
        self.cap = cap;
    }

    /// Whether the bound over all of them has passed.
    pub fn is_over_cap(&self) -> bool {
        self.cap.is_some_and(|cap| Coarse::now() >= cap)
    }

    /// No bound, but for the one over all.
    pub fn clear(&mut self) {
        self.at = None;
    }

    /// Ready once the bound has passed; otherwise the task is woken then, not much later.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Elapsed> {
        let at = match (self.at, self.cap) {
            (Some(at), Some(cap)) => at.min(cap),
            (None, None) => return Poll::Pending,
            (at, cap) => at.or(cap).unwrap_or(Coarse(u64::MAX)),
        };
        let now = Coarse::now();
        if now >= at {
            return Poll::Ready(Elapsed);
        }
        if let Some(armed) = &self.armed
            && armed.at <= at
            && now < armed.at
            && !armed.timer.is_elapsed()
            && armed.wakes.will_wake(cx.waker())
        {
            return Poll::Pending;
        }
        self.arm(cx, now, at)
    }

    /// Sets the timer to `at`.
    fn arm(&mut self, cx: &mut Context<'_>, now: Coarse, at: Coarse) -> Poll<Elapsed> {
        // A tick later, so that the coarse clock has come there too.
        let wait = now.until(at).min(FAR);
        let (at, fires) = (now.after(wait), Instant::now() + wait + TICK);
        let armed = match &mut self.armed {
            Some(armed) => {
                armed.timer.as_mut().reset(fires);
                armed
            }
            None => self.armed.insert(Armed {
                timer: Box::pin(sleep_until(fires)),
                at,
                wakes: cx.waker().clone(),
            }),
        };
        armed.at = at;
        armed.wakes.clone_from(cx.waker());
        armed.timer.as_mut().poll(cx).map(|()| Elapsed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bound_may_be_moved_both_ways() {
        let mut deadline = Deadline::default();
        deadline.set(Duration::from_secs(3600));
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await.is_pending());
        deadline.set(Duration::from_millis(20));
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await.is_pending());
        let started = Instant::now();
        assert_eq!(poll_fn(|cx| deadline.poll(cx)).await, Elapsed);
        assert!(started.elapsed() >= Duration::from_millis(9), "early by more than a tick");
        deadline.clear();
        assert!(poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await.is_pending());
    }

    #[tokio::test]
    async fn the_earlier_of_bound_and_cap_holds() {
        let mut deadline = Deadline::default();
        deadline.set_cap(Duration::from_millis(20));
        assert!(!deadline.is_over_cap());
        let never = std::future::pending::<()>();
        assert_eq!(deadline.bound(Duration::from_secs(3600), never).await, Err(Elapsed));
        assert!(deadline.is_over_cap());
        deadline.set_cap(Duration::ZERO);
        assert_eq!(deadline.bound(Duration::from_secs(3600), std::future::ready(7)).await, Ok(7));
    }
}
