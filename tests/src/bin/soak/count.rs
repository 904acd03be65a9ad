//! What is counted while it runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Reasons that are kept of each kind; the rest is only counted.
const REASONS: usize = 5;

/// How a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP/1.1 on connections that stay.
    Http1,
    /// The same over TLS.
    Https1,
    /// Streams of HTTP/2 connections, over TLS.
    Http2,
    /// 10 MiB, slowly.
    Download,
    /// HTTP/1.1 at the listener that moves.
    Side,
    /// One request on a fresh TLS connection: how it is seen what serves.
    Fresh,
}

impl Kind {
    /// All of them, in the order of the table.
    pub(crate) const ALL: [Kind; 6] =
        [Kind::Http1, Kind::Https1, Kind::Http2, Kind::Download, Kind::Side, Kind::Fresh];

    /// As the table shows it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Http1 => "HTTP/1.1",
            Kind::Https1 => "HTTP/1.1 over TLS",
            Kind::Http2 => "HTTP/2 over TLS",
            Kind::Download => "downloads",
            Kind::Side => "at the moving listener",
            Kind::Fresh => "on fresh connections",
        }
    }
}

/// Requests of one kind.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answered, and the answer was right.
    made: AtomicU64,
    /// All others.
    failed: AtomicU64,
    /// Of those that failed: the ones that a client may send again without asking anybody (RFC 9110 section 9.2.2).
    retriable: AtomicU64,
    /// Of those that were made: begun after a change was seen to serve, and answered by what served before.
    stale: AtomicU64,
    /// Why some failed.
    reasons: Reasons,
}

impl Tally {
    /// A right answer.
    pub(crate) fn made(&self, stale: bool) {
        self.made.fetch_add(1, Relaxed);
        self.stale.fetch_add(u64::from(stale), Relaxed);
    }

    /// No answer, or a wrong one.
    pub(crate) fn failed(&self, retriable: bool, reason: String) {
        self.failed.fetch_add(1, Relaxed);
        self.retriable.fetch_add(u64::from(retriable), Relaxed);
        self.reasons.add(reason);
    }

    /// The figures as they are now.
    pub(crate) fn figures(&self) -> Requests {
        Requests {
            made: self.made.load(Relaxed),
            failed: self.failed.load(Relaxed),
            retriable: self.retriable.load(Relaxed),
            stale: self.stale.load(Relaxed),
            reasons: self.reasons.all(),
        }
    }
}

/// Figures of one kind of requests; what they mean is at [`Tally`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Requests {
    pub(crate) made: u64,
    pub(crate) failed: u64,
    pub(crate) retriable: u64,
    pub(crate) stale: u64,
    pub(crate) reasons: Vec<String>,
}

/// WebSockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    opened: AtomicU64,
    unopened: AtomicU64,
    closed: AtomicU64,
    lost: AtomicU64,
    messages: AtomicU64,
    reasons: Reasons,
}

impl Sockets {
    /// One was opened.
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// One could not be opened.
    pub(crate) fn unopened(&self, reason: String) {
        self.unopened.fetch_add(1, Relaxed);
        self.reasons.add(format!("opening: {reason}"));
    }

    /// One that was asked to close did so properly.
    pub(crate) fn closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    /// One ended that nobody had asked to, or did not bring back what was sent.
    pub(crate) fn lost(&self, reason: String) {
        self.lost.fetch_add(1, Relaxed);
        self.reasons.add(reason);
    }

    /// A message came back.
    pub(crate) fn message(&self) {
        self.messages.fetch_add(1, Relaxed);
    }

    /// The figures as they are now.
    pub(crate) fn figures(&self) -> SocketFigures {
        SocketFigures {
            opened: self.opened.load(Relaxed),
            unopened: self.unopened.load(Relaxed),
            closed: self.closed.load(Relaxed),
            lost: self.lost.load(Relaxed),
            messages: self.messages.load(Relaxed),
            reasons: self.reasons.all(),
        }
    }
}

/// Figures of WebSockets.
#[derive(Debug, Clone, Default)]
pub(crate) struct SocketFigures {
    /// Handshakes that succeeded.
    pub(crate) opened: u64,
    /// Handshakes that did not.
    pub(crate) unopened: u64,
    /// Closed because the soak wanted it.
    pub(crate) closed: u64,
    /// Ended otherwise.
    pub(crate) lost: u64,
    /// Messages that came back.
    pub(crate) messages: u64,
    /// Why some were lost or not opened.
    pub(crate) reasons: Vec<String>,
}

impl SocketFigures {
    /// Those that are open.
    pub(crate) fn open(&self) -> u64 {
        self.opened.saturating_sub(self.closed + self.lost)
    }
}

/// The first different reasons of failures.
#[derive(Debug, Default)]
struct Reasons(Mutex<Vec<String>>);

impl Reasons {
    fn add(&self, reason: String) {
        let mut reasons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reasons.len() < REASONS && !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
