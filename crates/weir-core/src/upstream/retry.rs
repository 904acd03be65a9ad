//! How many attempts may be second ones: a share of the requests, so that retries cannot multiply an overload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::clock;
use super::shard::Shards;
use crate::spec::Retry;

/// Seconds over which requests and retries are counted, the current one included.
const WINDOW: u64 = 10;

/// A retry budget, shared by all workers.
#[derive(Debug)]
pub(super) struct Budget {
    /// Retries a request.
    share: f64,
    /// Retries a second that are always allowed.
    minimum: u32,
    counts: Arc<Counts>,
}

/// What was counted. Outlives generations.
#[derive(Debug)]
struct Counts {
    requests: Shards<Window>,
    retries: Window,
}

/// Counts by second. Each place holds a second in its upper half and the count of that second in its lower.
#[derive(Debug, Default)]
struct Window([AtomicU64; 16]);

impl Budget {
    /// A budget that goes on with what `previous` has counted.
    pub(super) fn new(spec: &Retry, previous: Option<&Budget>) -> Self {
        let counts = match previous {
            Some(previous) => previous.counts.clone(),
            None => Arc::new(Counts { requests: Shards::new(Window::default), retries: Window::default() }),
        };
        let share = if spec.budget.is_finite() { spec.budget.max(0.0) } else { 0.0 };
        Budget { share, minimum: spec.budget_min, counts }
    }

    /// Counts a request.
    pub(super) fn count(&self) {
        self.count_at(clock::millis() / 1000);
    }

    /// Takes a retry, if there is one left.
    pub(super) fn take(&self) -> bool {
        self.take_at(clock::millis() / 1000)
    }

    fn count_at(&self, second: u64) {
        self.counts.requests.mine().add(second);
    }

    fn take_at(&self, second: u64) -> bool {
        let requests: u64 = self.counts.requests.iter().map(|window| window.sum(second)).sum();
        // Precise far beyond what a window can count.
        let allowed = (requests as f64 * self.share) as u64;
        let retries = &self.counts.retries;
        retries.add_if(second, |now| now < u64::from(self.minimum) || retries.sum(second) < allowed)
    }
}

impl Window {
    fn place(&self, second: u64) -> &AtomicU64 {
        // Sixteen places; the remainder is one of them.
        &self.0[(second % 16) as usize]
    }

    fn add(&self, second: u64) {
        let place = self.place(second);
        let seen = place.load(Ordering::Relaxed);
        if seen >> 32 == tag(second) {
            place.fetch_add(1, Ordering::Relaxed);
        } else {
            self.add_if(second, |_| true);
        }
    }

    /// Adds one if `may` says so of the count of this second.
    fn add_if(&self, second: u64, may: impl Fn(u64) -> bool) -> bool {
        let place = self.place(second);
        let mut seen = place.load(Ordering::Relaxed);
        loop {
            let count = if seen >> 32 == tag(second) { seen & u64::from(u32::MAX) } else { 0 };
            if !may(count) {
                return false;
            }
            let next = tag(second) << 32 | (count + 1);
            match place.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
    }

    /// The sum of the window that ends with this second.
    fn sum(&self, second: u64) -> u64 {
        let places = self.0.iter().map(|place| place.load(Ordering::Relaxed));
        places
            .filter(|seen| tag(second).wrapping_sub(seen >> 32) < WINDOW)
            .map(|seen| seen & u64::from(u32::MAX))
            .sum()
    }
}

/// The second as the upper half of a place holds it; one ahead, so that an unused place belongs to no second.
fn tag(second: u64) -> u64 {
    (second + WINDOW) & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(share: f64, minimum: u32) -> Budget {
        Budget::new(&Retry { budget: share, budget_min: minimum, ..Retry::default() }, None)
    }

    fn take_all(budget: &Budget, second: u64) -> usize {
        (0..10_000).take_while(|_| budget.take_at(second)).count()
    }

    #[test]
    fn the_minimum_is_always_there_and_returns_each_second() {
        let budget = budget(0.2, 10);
        assert_eq!(take_all(&budget, 1), 10);
        assert_eq!(take_all(&budget, 1), 0);
        assert_eq!(take_all(&budget, 2), 10);
    }

    #[test]
    fn the_share_is_of_the_requests_of_the_last_ten_seconds() {
        let budget = budget(0.2, 0);
        assert!(!budget.take_at(100));
        (0..1000).for_each(|_| budget.count_at(100));
        assert_eq!(take_all(&budget, 100), 200);
        assert_eq!(take_all(&budget, 109), 0, "still the same window");
        assert_eq!(take_all(&budget, 110), 0, "requests and retries have both left it");
        (0..50).for_each(|_| budget.count_at(111));
        assert_eq!(take_all(&budget, 111), 10);
    }

    #[test]
    fn counts_of_all_threads_come_together() {
        let budget = budget(0.1, 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..250).for_each(|_| budget.count_at(7)));
            }
        });
        let taken: usize = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4).map(|_| scope.spawn(|| take_all(&budget, 7))).collect();
            takers.into_iter().map(|t| t.join().expect("the thread did not panic")).sum()
        });
        assert_eq!(taken, 100);
    }

    #[test]
    fn a_new_generation_goes_on_counting_under_new_terms() {
        let old = budget(0.0, 5);
        assert_eq!(take_all(&old, 3), 5);
        let spec = Retry { budget: f64::NAN, budget_min: 7, ..Retry::default() };
        let new = Budget::new(&spec, Some(&old));
        assert_eq!(take_all(&new, 3), 2);
    }
}
