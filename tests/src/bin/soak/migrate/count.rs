//! What is counted of relays that go over.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::check::{Fault, Taken, Watch};

/// Problems that are kept; the rest is only counted.
const PROBLEMS: usize = 10;

/// Which end a message has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// What the client has sent.
    Upstream,
    /// What the upstream has sent.
    Client,
}

/// What is counted while it runs.
#[derive(Debug)]
pub(super) struct Counts {
    /// Messages that have come: to the upstream, to the client.
    messages: [AtomicU64; 2],
    lost: AtomicU64,
    again: AtomicU64,
    counters: AtomicU64,
    back: AtomicU64,
    garbled: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    /// Relays that ended otherwise, or could not be opened.
    broken: AtomicU64,
    /// The newest stamps that have come of each relay: to the upstream, to the client.
    stamps: Vec<[AtomicU64; 2]>,
    problems: Mutex<Vec<String>>,
}

/// The figures of [`Counts`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) to_upstream: u64,
    pub(super) to_client: u64,
    pub(super) lost: u64,
    pub(super) again: u64,
    pub(super) counters: u64,
    pub(super) back: u64,
    pub(super) garbled: u64,
    pub(super) opened: u64,
    pub(super) closed: u64,
    pub(super) broken: u64,
    pub(super) problems: Vec<String>,
}

impl Counts {
    /// Of so many relays.
    pub(super) fn new(relays: usize) -> Self {
        let none = || AtomicU64::new(0);
        Counts {
            messages: Default::default(),
            lost: none(),
            again: none(),
            counters: none(),
            back: none(),
            garbled: none(),
            opened: none(),
            closed: none(),
            broken: none(),
            stamps: (0..relays).map(|_| Default::default()).collect(),
            problems: Mutex::default(),
        }
    }

    /// A message has come to one end.
    pub(super) fn came(&self, end: End, watch: &mut Watch, text: &str) -> Option<Taken> {
        let (taken, fault) = watch.take(text);
        if let Some(fault) = fault {
            let (counter, n) = match fault {
                Fault::Lost(n) => (&self.lost, n),
                Fault::Again => (&self.again, 1),
                Fault::Counter => (&self.counters, 1),
                Fault::Back => (&self.back, 1),
                Fault::Garbled => (&self.garbled, 1),
            };
            counter.fetch_add(n, Relaxed);
            let from = text.char_indices().nth_back(20).map_or(0, |(at, _)| at);
            self.problem(format!("at the {end:?}: {fault:?} with `{:.20}...{}`", text, &text[from..]));
        }
        self.messages[end as usize].fetch_add(1, Relaxed);
        if let Some(taken) = taken
            && let Some(stamps) = self.stamps.get(taken.relay)
        {
            stamps[end as usize].fetch_max(taken.stamp, Relaxed);
        }
        taken
    }

    /// A relay was opened, which carries messages both ways.
    pub(super) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// A relay was closed as it was to be.
    pub(super) fn closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    /// A relay ended otherwise.
    pub(super) fn broke(&self, reason: String) {
        self.broken.fetch_add(1, Relaxed);
        self.problem(reason);
    }

    /// How many relays have not shown this stamp, or a newer one, at both ends.
    pub(super) fn behind(&self, stamp: u64) -> usize {
        let is_behind = |stamps: &&[AtomicU64; 2]| stamps.iter().any(|seen| seen.load(Relaxed) < stamp);
        self.stamps.iter().filter(is_behind).count()
    }

    /// The figures as they are now.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            to_upstream: self.messages[0].load(Relaxed),
            to_client: self.messages[1].load(Relaxed),
            lost: self.lost.load(Relaxed),
            again: self.again.load(Relaxed),
            counters: self.counters.load(Relaxed),
            back: self.back.load(Relaxed),
            garbled: self.garbled.load(Relaxed),
            opened: self.opened.load(Relaxed),
            closed: self.closed.load(Relaxed),
            broken: self.broken.load(Relaxed),
            problems: self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    fn problem(&self, text: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if problems.len() < PROBLEMS {
            problems.push(text);
        }
    }
}
