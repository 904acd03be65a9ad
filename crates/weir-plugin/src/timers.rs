//! Timers that a plugin sets on an instance.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker, ready};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::services::Clock;

/// The most timers of one instance.
const MOST: usize = 1000;
/// The longest name, in bytes.
const LONGEST: usize = 128;

type Sleep = Pin<Box<dyn Future<Output = ()>>>;

/// The timers of one instance, by name.
#[derive(Debug)]
pub struct Timers {
    clock: Arc<dyn Clock>,
    due: RefCell<BTreeMap<String, Duration>>,
    waker: RefCell<Option<Waker>>,
}

impl Timers {
    /// None yet, on this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Timers { clock, due: RefCell::default(), waker: RefCell::default() }
    }

    /// What a plugin is told that sets a timer and has no hook for it.
    pub fn unwanted() -> Error {
        Error::denied("a plugin that sets timers has a hook on_timer(name)")
    }

    /// Sets the timer of this name, which may be set already, to so much later.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a name, or more timers than there may be.
    pub fn set(&self, name: &str, after: Duration) -> Result<()> {
        if name.len() > LONGEST {
            return Err(Error::TooLarge(LONGEST as u64));
        }
        let mut due = self.due.borrow_mut();
        if !due.contains_key(name) && due.len() >= MOST {
            return Err(Error::TooLarge(MOST as u64));
        }
        due.insert(name.to_owned(), self.clock.monotonic().saturating_add(after));
        drop(due);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
        Ok(())
    }

    /// Takes a timer away. Whether it was set.
    pub fn cancel(&self, name: &str) -> bool {
        self.due.borrow_mut().remove(name).is_some()
    }

    /// When the first timer is over, by the monotonic clock; `None` where none is set.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.borrow().values().min().copied()
    }

    /// The name of the first timer that is over, which is set no more.
    pub fn take_due(&self) -> Option<String> {
        let now = self.clock.monotonic();
        let mut due = self.due.borrow_mut();
        let (name, at) = due.iter().min_by_key(|(_, at)| **at)?;
        let name = (*at <= now).then(|| name.clone())?;
        due.remove(&name);
        Some(name)
    }

    /// The name of the first timer that is over, waited for. One waits at a time. Cancel safe.
    pub async fn next(&self) -> String {
        let mut sleep: Option<(Duration, Sleep)> = None;
        poll_fn(|cx| {
            loop {
                if let Some(name) = self.take_due() {
                    return Poll::Ready(name);
                }
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                let Some(at) = self.next_due() else { return Poll::Pending };
                let now = self.clock.monotonic();
                let sleep = match &mut sleep {
                    Some((until, sleep)) if *until == at => sleep,
                    other => &mut other.insert((at, self.clock.sleep(at.saturating_sub(now)))).1,
                };
                ready!(sleep.as_mut().poll(cx));
                // It was the one before: the clock may be behind by a little.
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Context;

    /// Seconds that the test sets.
    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Duration {
            self.monotonic()
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }

        fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()>>> {
            Box::pin(std::future::pending())
        }
    }

    fn timers() -> (Arc<Hand>, Timers) {
        let hand = Arc::new(Hand::default());
        (hand.clone(), Timers::new(hand))
    }

    fn over(timers: &Timers) -> Option<String> {
        let mut next = std::pin::pin!(timers.next());
        match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(name) => Some(name),
            Poll::Pending => None,
        }
    }

    #[test]
    fn they_are_due_in_order() {
        let (hand, timers) = timers();
        for (name, at) in [("b", 2), ("a", 3), ("c", 1), ("a", 1)] {
            timers.set(name, Duration::from_secs(at)).expect("there is room");
        }
        assert!(timers.cancel("c") && !timers.cancel("c"));
        assert_eq!((over(&timers), timers.next_due()), (None, Some(Duration::from_secs(1))));
        hand.0.store(9, Ordering::SeqCst);
        assert_eq!(over(&timers).as_deref(), Some("a"));
        assert_eq!(over(&timers).as_deref(), Some("b"));
        assert_eq!(over(&timers), None);
    }

    #[test]
    fn there_are_not_too_many() {
        let (_, timers) = timers();
        for i in 0..MOST {
            timers.set(&i.to_string(), Duration::ZERO).expect("there is room");
        }
        assert_eq!(timers.set("one more", Duration::ZERO), Err(Error::TooLarge(1000)));
        assert_eq!(timers.set("0", Duration::from_secs(1)), Ok(()), "one that is there moves");
        assert_eq!(timers.set(&"n".repeat(200), Duration::ZERO), Err(Error::TooLarge(128)));
    }
}
