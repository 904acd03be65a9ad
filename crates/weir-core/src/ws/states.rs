//! The memory of compression: states that a worker lends for one message, and the bound on those that relays keep.
//!
//! What a state of zlib-rs 0.6.8 takes, measured: to decompress 46 KiB, whatever the window; to compress
//! 131 KiB + 4 · 2^window_bits + 448 · 2^mem_level bytes, of which 128 KiB are a hash table of fixed size:
//!
//! | KiB | `mem_level` 1 | 4 | 5 | 8 | 9 |
//! |---|---|---|---|---|---|
//! | `window_bits` 9 | 134 | 140 | 147 | 245 | 357 |
//! | 12 | 148 | 154 | 161 | 259 | 371 |
//! | 13 | 164 | 170 | 177 | 275 | 387 |
//! | 15 | 260 | 266 | 273 | 371 | 483 |
//!
//! Without context takeover a connection has a state only while a message is under way, so that those of a worker share
//! a few. With it, a connection has two states of its own on each leg.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use zlib_rs::{Deflate, DeflateConfig, Inflate};

/// Idle states of each kind that a worker keeps. One is enough while messages come whole.
const KEPT: usize = 4;

/// Bytes that a state to decompress takes.
const INFLATE: usize = 47_552;
/// Bytes that a state to compress takes, without what depends on its shape.
const DEFLATE: usize = 134_272;

/// What decides the work and the memory of compressing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) level: u8,
    pub(super) window_bits: u8,
    pub(super) mem_level: u8,
}

#[derive(Default)]
struct Idle {
    #[allow(clippy::vec_box, reason = "they are lent in their boxes")]
    inflate: Vec<Box<Inflate>>,
    /// The oldest first.
    deflate: Vec<(Shape, Box<Deflate>)>,
}

thread_local! {
    static IDLE: RefCell<Idle> = RefCell::default();
}

/// A state to decompress that has seen nothing. It understands windows of every size.
pub(super) fn take_inflate() -> Box<Inflate> {
    let kept = IDLE.try_with(|idle| idle.borrow_mut().inflate.pop()).ok().flatten();
    kept.unwrap_or_else(|| Box::new(Inflate::new(false, 15)))
}

/// Gives a state back.
pub(super) fn give_inflate(mut state: Box<Inflate>) {
    let _ = IDLE.try_with(|idle| {
        let kept = &mut idle.borrow_mut().inflate;
        if kept.len() < KEPT {
            state.reset(false);
            kept.push(state);
        }
    });
}

/// A state to compress that has seen nothing.
pub(super) fn take_deflate(shape: Shape) -> Box<Deflate> {
    let kept = IDLE.try_with(|idle| {
        let kept = &mut idle.borrow_mut().deflate;
        let at = kept.iter().rposition(|(other, _)| *other == shape)?;
        Some(kept.remove(at).1)
    });
    kept.ok().flatten().unwrap_or_else(|| {
        Box::new(Deflate::new_with_config(DeflateConfig {
            level: shape.level.into(),
            // Less than 0: without a header.
            window_bits: -i32::from(shape.window_bits),
            mem_level: shape.mem_level.into(),
            ..DeflateConfig::default()
        }))
    })
}

/// Gives a state back. It takes the place of the one that was not used for longest.
pub(super) fn give_deflate(shape: Shape, mut state: Box<Deflate>) {
    let _ = IDLE.try_with(|idle| {
        let kept = &mut idle.borrow_mut().deflate;
        if kept.len() == KEPT {
            kept.remove(0);
        }
        state.reset();
        kept.push((shape, state));
    });
}

/// How much memory the states of all relays with context takeover may take together.
#[derive(Debug, Default)]
pub(crate) struct TakeoverMemory {
    used: AtomicUsize,
}

impl TakeoverMemory {
    /// Room for the two states of one leg, one to compress and one to decompress, until the charge is dropped, where all
    /// together then have at most `cap` bytes. `None`: there is no room, and the leg is to agree on no context takeover.
    pub(crate) fn try_charge(self: &Arc<Self>, cap: usize, window_bits: u8, mem_level: u8) -> Option<Charge> {
        let bytes = INFLATE + DEFLATE + (4 << window_bits.min(15)) + (448 << mem_level.min(9));
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= cap);
        self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Charge { memory: self.clone(), bytes })
    }

    /// Bytes that are charged now.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Room for the states of one leg.
#[derive(Debug)]
pub(crate) struct Charge {
    memory: Arc<TakeoverMemory>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How many states this thread keeps: to decompress, to compress.
#[cfg(test)]
pub(super) fn idle() -> (usize, usize) {
    IDLE.with_borrow(|idle| (idle.inflate.len(), idle.deflate.len()))
}

#[cfg(test)]
mod tests {
    use zlib_rs::{DeflateFlush, InflateFlush};

    use super::*;

    #[test]
    fn over_the_cap_there_is_no_room_until_a_leg_ends() {
        let one = Arc::new(TakeoverMemory::default()).try_charge(usize::MAX, 15, 8).unwrap().bytes;
        // As measured: 47552 to decompress and 380032 to compress.
        assert_eq!(one, 47_552 + 380_032);
        let memory = Arc::new(TakeoverMemory::default());
        let cap = 2 * one;
        let first = memory.try_charge(cap, 15, 8).unwrap();
        let second = memory.try_charge(cap, 15, 8).unwrap();
        assert!(memory.try_charge(cap, 9, 1).is_none());
        assert_eq!(memory.used(), 2 * one);
        drop(first);
        let small = memory.try_charge(cap, 9, 1).unwrap();
        assert_eq!(small.bytes, 47_552 + 137_216);
        drop((second, small));
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_worker_keeps_a_few_states() {
        let shapes = (9..=15).map(|window_bits| Shape { level: 1, window_bits, mem_level: 1 });
        let lent: Vec<_> = shapes.map(|shape| (shape, take_deflate(shape), take_inflate())).collect();
        assert_eq!(idle(), (0, 0));
        for (shape, deflate, inflate) in lent {
            give_deflate(shape, deflate);
            give_inflate(inflate);
        }
        assert_eq!(idle(), (KEPT, KEPT));
        // The last are those that are kept.
        let last = Shape { level: 1, window_bits: 15, mem_level: 1 };
        drop((take_deflate(last), take_inflate()));
        assert_eq!(idle(), (KEPT - 1, KEPT - 1));
        drop(take_deflate(Shape { level: 2, ..last }));
        assert_eq!(idle(), (KEPT - 1, KEPT - 1));
    }

    #[test]
    fn a_state_that_is_lent_again_has_seen_nothing() {
        let shape = Shape { level: 6, window_bits: 9, mem_level: 1 };
        let compress = |mut state: Box<Deflate>| {
            let mut out = [0; 200];
            state.compress(b"Hello, Hello", &mut out, DeflateFlush::SyncFlush).unwrap();
            give_deflate(shape, state);
            out
        };
        let (first, second) = (compress(take_deflate(shape)), compress(take_deflate(shape)));
        assert_eq!(first, second);
        let mut state = take_inflate();
        let mut out = [0; 5];
        state.decompress(b"\xf2\x48\xcd", &mut out, InflateFlush::SyncFlush).unwrap();
        give_inflate(state);
        let mut state = take_inflate();
        state.decompress(b"\xf2\x48\xcd\xc9\xc9\x07\x00", &mut out, InflateFlush::SyncFlush).unwrap();
        assert_eq!((&out, state.total_out()), (b"Hello", 5));
    }
}
