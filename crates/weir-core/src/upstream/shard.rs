//! State that every worker has a share of its own of, without knowing which worker it is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One value a thread, or nearly so: threads take shards in turn, and there are at least as many shards as cores.
/// Threads that meet in a shard must still get along, so values are atomic or locked.
#[derive(Debug)]
pub(super) struct Shards<T>(Box<[Aligned<T>]>);

/// Keeps neighbours off each other's cache lines (two, for the adjacent-line prefetcher).
#[derive(Debug)]
#[repr(align(128))]
struct Aligned<T>(T);

impl<T> Shards<T> {
    /// Shards made by `make`.
    pub(super) fn new(mut make: impl FnMut() -> T) -> Self {
        Shards((0..count()).map(|_| Aligned(make())).collect())
    }

    /// The calling thread's shard.
    pub(super) fn mine(&self) -> &T {
        // The length is a power of two, so the mask stays inside.
        &self.0[ordinal() & (self.0.len() - 1)].0
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|shard| &shard.0)
    }
}

/// How many shards there are: a power of two, at least the number of cores.
fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| std::thread::available_parallelism().map_or(8, usize::from).next_power_of_two())
}

/// The place of the calling thread among those that asked.
fn ordinal() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static ORDINAL: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    ORDINAL.with(|ordinal| *ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_shard_and_the_next_one_gets_another() {
        let shards = Shards::new(|| AtomicUsize::new(0));
        shards.mine().fetch_add(1, Ordering::Relaxed);
        shards.mine().fetch_add(1, Ordering::Relaxed);
        let most = shards.iter().map(|s| s.load(Ordering::Relaxed)).max();
        assert_eq!(most, Some(2));
        assert!(shards.0.len().is_power_of_two());
    }
}
