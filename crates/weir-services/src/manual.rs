//! A clock that a test moves.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use weir_plugin::services::Clock;

/// Where the clock begins: 2025-01-01 UTC, so that tests see the same times on every day.
const BEGIN: Duration = Duration::from_secs(1_735_689_600);

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<Mutex<Times>>);

#[derive(Debug, Default)]
struct Times {
    /// Since the begin.
    now: Duration,
    /// Who waits, and until when; by number.
    sleepers: Vec<(u64, Duration, Waker)>,
    next: u64,
}

impl ManualClock {
    /// Goes on by so much, and wakes who waited for that.
    pub fn advance(&self, time: Duration) {
        let mut times = self.times();
        times.now = times.now.saturating_add(time);
        let now = times.now;
        times
            .sleepers
            .iter()
            .filter(|(_, until, _)| *until <= now)
            .for_each(|(.., waker)| waker.wake_by_ref());
    }

    /// For how long whoever is the first to be woken still waits; `None` where nobody does.
    pub fn next_wake(&self) -> Option<Duration> {
        let times = self.times();
        let first = times.sleepers.iter().map(|(_, until, _)| *until).min();
        first.map(|until| until.saturating_sub(times.now))
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        BEGIN + self.times().now
    }

    fn monotonic(&self) -> Duration {
        self.times().now
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
        let mut times = self.times();
        times.next += 1;
        let until = times.now.saturating_add(time);
        Box::pin(Sleep { clock: self.clone(), number: times.next, until })
    }
}

/// Ready once the clock has come to a time.
struct Sleep {
    clock: ManualClock,
    number: u64,
    until: Duration,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut times = self.clock.times();
        times.sleepers.retain(|(number, ..)| *number != self.number);
        if times.now >= self.until {
            return Poll::Ready(());
        }
        times.sleepers.push((self.number, self.until, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.clock.times().sleepers.retain(|(number, ..)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_end_when_the_clock_is_moved() {
        let clock = ManualClock::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut long = clock.sleep(Duration::from_secs(60));
        let mut short = clock.sleep(Duration::from_secs(5));
        assert_eq!(clock.next_wake(), None, "nobody has waited yet");
        assert!(long.as_mut().poll(&mut cx).is_pending() && short.as_mut().poll(&mut cx).is_pending());
        assert_eq!(clock.next_wake(), Some(Duration::from_secs(5)));
        clock.advance(Duration::from_secs(5));
        assert!(long.as_mut().poll(&mut cx).is_pending() && short.as_mut().poll(&mut cx).is_ready());
        assert_eq!(clock.next_wake(), Some(Duration::from_secs(55)));
        drop(long);
        assert_eq!(clock.next_wake(), None);
        assert_eq!(
            (clock.monotonic(), clock.now()),
            (Duration::from_secs(5), BEGIN + Duration::from_secs(5))
        );
    }
}
