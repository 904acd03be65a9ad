//! The thread of an engine that looks whether a plugin's turn on a worker has lasted too long.
//!
//! It costs a turn two stores and a load. It sleeps while no plugin runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How often the ticker looks whether there is a turn. Waking it costs a busy core up to forty microseconds where the
/// machine is a virtual one.
const TICK: Duration = Duration::from_millis(4);

/// How often it looks after a turn that was too long: that was not the last one.
const ALERT: Duration = Duration::from_micros(500);

/// For how long it is on the alert then.
const ALERTED: Duration = Duration::from_secs(1);

/// So many looks without a turn and it sleeps.
const IDLE: u32 = 25;

/// A thread that runs plugins, as the ticker sees it.
pub trait Lane: Default + Send + Sync + 'static {
    /// Looks at the turn that goes on. The ticker has last seen `seen`, and takes note of what it sees now.
    fn look(&self, now: Instant, seen: &mut Seen) -> Look;
}

/// Looks at lanes. An engine has one, for the whole process.
#[derive(Debug)]
pub struct Ticker<L> {
    lanes: Mutex<Vec<Weak<L>>>,
    asleep: AtomicBool,
    /// None where it did not start.
    thread: OnceLock<Option<Thread>>,
}

/// The turn that a lane was last seen at.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    turn: u64,
    since: Instant,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// No turn goes on, and there was none since the last look.
    pub is_idle: bool,
    /// A turn has lasted too long.
    pub is_late: bool,
    /// When to look again.
    pub pause: Duration,
}

impl Seen {
    /// Nothing, yet.
    pub fn nothing(now: Instant) -> Self {
        Seen { turn: 0, since: now }
    }

    /// What a look at a turn comes to that may last for `slice` from when it is first seen; `None`: none goes on. `turn`
    /// changes whenever one begins or ends.
    pub fn note(&mut self, now: Instant, turn: u64, slice: Option<Duration>) -> Look {
        let is_same = turn == self.turn;
        if !is_same {
            *self = Seen { turn, since: now };
        }
        let Some(slice) = slice else { return Look { is_idle: is_same, is_late: false, pause: TICK } };
        let left = slice.saturating_sub(now.duration_since(self.since));
        let is_late = left.is_zero();
        Look { is_idle: false, is_late, pause: if is_late { TICK } else { left } }
    }
}

impl<L: Lane> Ticker<L> {
    /// One that was not started.
    pub const fn new() -> Self {
        Ticker { lanes: Mutex::new(Vec::new()), asleep: AtomicBool::new(false), thread: OnceLock::new() }
    }

    /// Starts it, once: `late` is called after each look that found a turn which has lasted too long. Whether it runs.
    pub fn start(&'static self, name: &str, late: impl Fn() + Send + 'static) -> bool {
        let started = self.thread.get_or_init(|| {
            let started = thread::Builder::new().name(name.to_owned()).spawn(move || self.run(late));
            match started {
                Ok(handle) => Some(handle.thread().clone()),
                Err(error) => {
                    tracing::warn!(%error, name, "no thread to watch the turns of plugins");
                    None
                }
            }
        });
        started.is_some()
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.thread.get().is_some_and(Option::is_some)
    }

    /// A lane for this thread. It is looked at as long as it is held.
    pub fn lane(&self) -> Arc<L> {
        let lane = Arc::<L>::default();
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lane));
        lane
    }

    /// A turn has begun, which a lane shows by a store with [`Ordering::SeqCst`] before this.
    pub fn rouse(&self) {
        if self.asleep.load(Ordering::SeqCst)
            && self.asleep.swap(false, Ordering::SeqCst)
            && let Some(Some(thread)) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn run(&self, late: impl Fn()) {
        let mut seen: Vec<Seen> = Vec::new();
        let mut idle = 0;
        let mut pause = TICK;
        let mut alert: Option<Instant> = None;
        loop {
            thread::sleep(pause);
            let now = self.look(&mut seen);
            if now.is_late {
                late();
                alert = Some(Instant::now());
            }
            alert = alert.filter(|since| since.elapsed() < ALERTED);
            pause = now.pause.min(if alert.is_some() { ALERT } else { TICK });
            idle = if now.is_idle { idle + 1 } else { 0 };
            while idle >= IDLE {
                self.asleep.store(true, Ordering::SeqCst);
                if self.look(&mut seen).is_idle {
                    thread::park();
                } else {
                    self.asleep.store(false, Ordering::SeqCst);
                }
                if !self.asleep.load(Ordering::SeqCst) {
                    idle = 0;
                }
            }
        }
    }

    /// Looks at all lanes once.
    fn look(&self, seen: &mut Vec<Seen>) -> Look {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.iter().any(|lane| lane.strong_count() == 0) {
            lanes.retain(|lane| lane.strong_count() > 0);
            seen.clear();
        }
        let now = Instant::now();
        seen.resize(lanes.len(), Seen::nothing(now));
        let mut all = Look { is_idle: true, is_late: false, pause: TICK };
        for (lane, seen) in lanes.iter().filter_map(Weak::upgrade).zip(seen) {
            let one = lane.look(now, seen);
            all = Look {
                is_idle: all.is_idle && one.is_idle,
                is_late: all.is_late || one.is_late,
                pause: all.pause.min(one.pause),
            };
        }
        all
    }
}

impl<L: Lane> Default for Ticker<L> {
    fn default() -> Self {
        Ticker::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_late_when_it_was_seen_for_its_slice() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let mut seen = Seen::nothing(begin);
        let slice = Some(Duration::from_millis(1));
        assert!(seen.note(begin, 0, None).is_idle);
        let first = seen.note(begin, 1, slice);
        assert!(!first.is_idle && !first.is_late && first.pause == Duration::from_millis(1));
        assert!(seen.note(after(2), 1, slice).is_late);
        assert!(!seen.note(after(3), 3, slice).is_late, "it is another turn");
        assert!(!seen.note(after(4), 4, None).is_idle, "there was one since");
        assert!(seen.note(after(5), 4, None).is_idle);
    }
}
