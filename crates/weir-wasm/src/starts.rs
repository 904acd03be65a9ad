//! How much of a worker's time the starts of a plugin's instances may take: a plugin that traps again and again would take
//! all of it otherwise, and some languages' instances take long to start.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What may be spent at once.
const MOST: Duration = Duration::from_secs(1);
/// One part in so many of the time that passes is won back.
const SHARE: u32 = 10;

/// The time that starts have taken.
#[derive(Debug)]
pub(crate) struct Starts {
    /// What is not won back yet.
    spent: Cell<Duration>,
    /// As of when.
    at: Cell<Instant>,
}

impl Default for Starts {
    fn default() -> Self {
        Starts { spent: Cell::default(), at: Cell::new(Instant::now()) }
    }
}

impl Starts {
    /// An instance has started, or has not; either took this long.
    pub(crate) fn took(&self, time: Duration) {
        self.win_back();
        self.spent.set(self.spent.get().saturating_add(time));
    }

    /// For how long no other may start; `None` where one may.
    pub(crate) fn wait(&self) -> Option<Duration> {
        // Asked often, and nearly always without an answer.
        if self.spent.get() <= MOST {
            return None;
        }
        self.win_back();
        let over = self.spent.get().saturating_sub(MOST);
        (!over.is_zero()).then(|| over.saturating_mul(SHARE))
    }

    fn win_back(&self) {
        let now = Instant::now();
        let passed = now.duration_since(self.at.replace(now));
        self.spent.set(self.spent.get().saturating_sub(passed / SHARE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_waited_for() {
        let starts = Starts::default();
        starts.took(MOST / 2);
        assert_eq!(starts.wait(), None);
        starts.took(Duration::from_secs(3600));
        let wait = starts.wait().expect("an hour in one go");
        assert!(wait > Duration::from_secs(9 * 3600) && wait < Duration::from_secs(11 * 3600), "{wait:?}");
    }

    #[test]
    fn time_wins_it_back() {
        let starts = Starts::default();
        starts.took(MOST * 2);
        assert!(starts.wait().is_some());
        // As if it had been long ago.
        let Some(before) = Instant::now().checked_sub(MOST * 2 * SHARE) else { return };
        starts.at.set(before);
        assert_eq!(starts.wait(), None);
    }
}
