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
    /// Who wants to know of the next that comes to wait.
    watchers: Vec<Waker>,
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

    /// Wakes a task when somebody else comes to wait, once: whoever moves the clock cannot see that by what it polls itself.
    pub fn watch(&self, waker: &Waker) {
        let mut times = self.times();
        if !times.watchers.iter().any(|known| known.will_wake(waker)) {
            times.watchers.push(waker.clone());
        }
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
        let known = times.sleepers.len();
        times.sleepers.retain(|(number, ..)| *number != self.number);
        if times.now >= self.until {
            return Poll::Ready(());
        }
        if times.sleepers.len() == known {
            times.watchers.drain(..).for_each(Waker::wake);
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

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

    #[test]
    fn who_watches_is_told_of_each_that_comes_to_wait() {
        #[derive(Default)]
        struct Told(AtomicUsize);

        impl Wake for Told {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }

        let (clock, told) = (ManualClock::default(), Arc::new(Told::default()));
        let mut cx = Context::from_waker(Waker::noop());
        let mut sleep = clock.sleep(Duration::from_secs(5));
        for _ in 0..2 {
            clock.watch(&Waker::from(told.clone()));
        }
        for _ in 0..3 {
            assert!(sleep.as_mut().poll(&mut cx).is_pending());
            assert_eq!(told.0.load(Ordering::Relaxed), 1);
            // It waits already: that is nothing new.
            clock.watch(&Waker::from(told.clone()));
        }
        assert!(clock.sleep(Duration::from_secs(1)).as_mut().poll(&mut cx).is_pending());
        assert_eq!(told.0.load(Ordering::Relaxed), 2);
    }
}
