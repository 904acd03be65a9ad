//! When a guest's turn has lasted long enough.
//!
//! One thread for the process moves the engine's epoch on when a turn has outlived its slice, which every guest compares
//! at loops and calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wasmtime::Engine;
use weir_plugin::ticker::{self, Look, Seen, Ticker};

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

static TICKER: Ticker<Lane> = Ticker::new();

/// Starts the ticker of the engine. Whether there is a thread for it.
pub(crate) fn start(engine: &Engine) -> bool {
    let engine = engine.clone();
    TICKER.start("weir-wasm-ticker", move || engine.increment_epoch())
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
        TICKER.rouse();
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

impl ticker::Lane for Lane {
    fn look(&self, now: Instant, seen: &mut Seen) -> Look {
        let turn = self.turn.load(Ordering::SeqCst);
        let slice = Duration::from_nanos(self.slice.load(Ordering::Relaxed));
        seen.note(now, turn, Some(slice).filter(|_| !turn.is_multiple_of(2)))
    }
}

#[cfg(test)]
mod tests {
    use ticker::Lane as _;

    use super::*;

    #[test]
    fn a_lane_shows_its_turns() {
        let (lane, begin) = (Lane::default(), Instant::now());
        let mut seen = Seen::nothing(begin);
        assert!(lane.look(begin, &mut seen).is_idle);
        lane.slice.store(1_000_000, Ordering::Relaxed);
        lane.turn.store(1, Ordering::SeqCst);
        assert!(!lane.look(begin, &mut seen).is_late);
        assert!(lane.look(begin + Duration::from_millis(2), &mut seen).is_late);
        lane.turn.store(2, Ordering::SeqCst);
        assert!(!lane.look(begin + Duration::from_millis(3), &mut seen).is_late);
    }
}
