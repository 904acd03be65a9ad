//! When a guest's turn has lasted long enough.
//!
//! One thread for the process looks whether a worker's turn is the one that it has seen before; when that has outlived its
//! slice, it moves the engine's epoch on, which every guest compares at loops and calls. It sleeps while no guest runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use wasmtime::Engine;

/// How often the ticker looks whether there is a turn. Waking it costs a busy core up to forty microseconds where the
/// machine is a virtual one.
const TICK: Duration = Duration::from_millis(4);

/// How often it looks after a turn that was too long: that was not the last one.
const ALERT: Duration = Duration::from_micros(500);

/// For how long it is on the alert then.
const ALERTED: Duration = Duration::from_secs(1);

/// So many looks without a turn and it sleeps.
const IDLE: u32 = 25;

/// A thread that runs guests, as the ticker sees it.
#[derive(Debug, Default)]
struct Lane {
    /// Counts begins and ends of turns: odd while a guest runs.
    turn: AtomicU64,
    /// How long the turn may last, in nanoseconds, from when the ticker first sees it.
    slice: AtomicU64,
}

thread_local! {
    static LANE: Arc<Lane> = TICKER.lane();
}

struct Ticker {
    lanes: Mutex<Vec<Weak<Lane>>>,
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

static TICKER: Ticker =
    Ticker { lanes: Mutex::new(Vec::new()), asleep: AtomicBool::new(false), thread: OnceLock::new() };

/// Starts the ticker of an engine.
///
/// # Errors
/// When there is no thread for it.
pub(crate) fn start(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.clone();
    let handle = thread::Builder::new().name("weir-wasm-ticker".to_owned()).spawn(move || {
        TICKER.run(|| engine.increment_epoch());
    })?;
    let _ = TICKER.thread.set(handle.thread().clone());
    Ok(())
}

/// A turn; dropping it ends it.
pub(crate) struct Turn(());

impl Turn {
    /// Begins a turn of a guest on this thread.
    pub(crate) fn new(slice: Duration) -> Self {
        LANE.with(|lane| {
            lane.slice.store(u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            lane.turn.store(lane.turn.load(Ordering::Relaxed) | 1, Ordering::SeqCst);
        });
        if TICKER.asleep.load(Ordering::SeqCst) && TICKER.asleep.swap(false, Ordering::SeqCst) {
            TICKER.wake();
        }
        Turn(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        LANE.with(|lane| {
            lane.turn.store((lane.turn.load(Ordering::Relaxed) | 1).wrapping_add(1), Ordering::Release);
        });
    }
}

impl Ticker {
    fn lane(&'static self) -> Arc<Lane> {
        let lane = Arc::<Lane>::default();
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lane));
        lane
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self, tick: impl Fn()) {
        let mut seen: Vec<Seen> = Vec::new();
        let mut idle = 0;
        let mut pause = TICK;
        let mut alert: Option<Instant> = None;
        loop {
            thread::sleep(pause);
            let now = self.look(&mut seen);
            if now.is_late {
                tick();
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
        seen.resize(lanes.len(), Seen { turn: 0, since: now });
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

/// The turn that a lane was last seen at.
#[derive(Clone, Copy)]
struct Seen {
    turn: u64,
    since: Instant,
}

/// What a look found.
struct Look {
    /// No turn goes on, and there was none since the last look.
    is_idle: bool,
    /// A turn has lasted too long.
    is_late: bool,
    /// When to look again.
    pause: Duration,
}

impl Lane {
    fn look(&self, now: Instant, seen: &mut Seen) -> Look {
        let turn = self.turn.load(Ordering::SeqCst);
        let is_same = turn == seen.turn;
        if !is_same {
            *seen = Seen { turn, since: now };
        }
        if turn.is_multiple_of(2) {
            return Look { is_idle: is_same, is_late: false, pause: TICK };
        }
        let slice = Duration::from_nanos(self.slice.load(Ordering::Relaxed));
        let left = slice.saturating_sub(now.duration_since(seen.since));
        let is_late = left.is_zero();
        Look { is_idle: false, is_late, pause: if is_late { TICK } else { left } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_late_when_it_was_seen_for_its_slice() {
        let lane = Lane::default();
        let begin = Instant::now();
        let mut seen = Seen { turn: 0, since: begin };
        assert!(lane.look(begin, &mut seen).is_idle);
        lane.slice.store(1_000_000, Ordering::Relaxed);
        lane.turn.store(1, Ordering::SeqCst);
        let first = lane.look(begin, &mut seen);
        assert!(!first.is_idle && !first.is_late && first.pause == Duration::from_millis(1));
        let after = |millis| begin + Duration::from_millis(millis);
        assert!(lane.look(after(2), &mut seen).is_late);
        lane.turn.store(3, Ordering::SeqCst);
        assert!(!lane.look(after(3), &mut seen).is_late, "it is another turn");
        lane.turn.store(4, Ordering::SeqCst);
        assert!(!lane.look(after(4), &mut seen).is_idle, "there was one since");
        assert!(lane.look(after(5), &mut seen).is_idle);
    }
}
