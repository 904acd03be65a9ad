//! Whether requests fail more often than they may after a change. Then it is taken back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_core::Snapshot;

use crate::config::value::{Leaf, Share};

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How many requests may fail after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The share that may.
    pub errors: Share,
    /// For how long it is looked at.
    pub within: Duration,
    /// Not before so many requests were served.
    pub requests: u64,
}

/// Looks at what comes of requests after a change.
#[derive(Debug)]
pub(super) struct Guard {
    snapshot: Arc<Snapshot>,
    allowed: Allowed,
    since: Instant,
}

/// More failed than may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Requests that have ended since the change.
    pub requests: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How long after the change.
    pub after: Duration,
}

impl Guard {
    /// Looks at this snapshot, whose outcomes are counted.
    pub(super) fn new(snapshot: Arc<Snapshot>, allowed: Allowed) -> Self {
        Guard { snapshot, allowed, since: Instant::now() }
    }

    /// Waits until more have failed than may, or, with `None`, until the time is over. Cancel safe.
    pub(super) async fn watch(&self) -> Option<Trouble> {
        loop {
            let after = self.since.elapsed();
            let (requests, failed) = self.snapshot.outcomes.counts();
            if is_too_much(requests, failed, self.allowed) {
                return Some(Trouble { requests, failed, after });
            }
            if after >= self.allowed.within {
                return None;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.snapshot.outcomes.watch(false);
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Trouble { requests, failed, after } = self;
        let share = Share::of(*failed, *requests).show();
        write!(f, "{share} of {requests} requests failed within {} s", after.as_secs().max(1))
    }
}

fn is_too_much(requests: u64, failed: u64, allowed: Allowed) -> bool {
    requests >= allowed.requests && allowed.errors.is_exceeded(failed, requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_requests_and_too_many_failures_are_trouble() {
        let errors = Share::parse("5%").expect("a share");
        let allowed = Allowed { errors, within: Duration::from_secs(60), requests: 100 };
        for (requests, failed, expected) in [
            (0, 0, false),
            (99, 99, false),
            (100, 5, false),
            (100, 6, true),
            (1000, 50, false),
            (1000, 51, true),
        ] {
            assert_eq!(is_too_much(requests, failed, allowed), expected, "{failed} of {requests}");
        }
        let trouble = Trouble { requests: 412, failed: 22, after: Duration::from_millis(12_300) };
        assert_eq!(trouble.to_string(), "5.34% of 412 requests failed within 12 s");
    }
}
