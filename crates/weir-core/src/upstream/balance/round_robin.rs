//! Each in turn, smoothly by weight.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Field, Weights, random};
use crate::upstream::shard::Shards;

/// Most steps that the random start goes.
const START: u64 = 1024;

/// Whose turn it is. Every worker counts its own turns from a random start: if all began with the first endpoint,
/// it would get a burst from every worker at every start.
#[derive(Debug)]
pub(super) enum RoundRobin {
    /// All weigh the same: a counter.
    Equal(Shards<AtomicUsize>),
    /// Smooth weighted round-robin: each turn every endpoint gains its weight, the richest is chosen and pays the
    /// sum of what was gained. Over a round each comes as often as it weighs, spread as evenly as can be.
    Smooth(Shards<Mutex<Vec<i64>>>),
}

impl RoundRobin {
    pub(super) fn new(weights: &Weights) -> Self {
        if weights.are_equal() {
            return RoundRobin::Equal(Shards::new(|| AtomicUsize::new(weights.draw())));
        }
        RoundRobin::Smooth(Shards::new(|| {
            let mut gains = vec![0; weights.len()];
            for _ in 0..fastrand::u64(..weights.total().clamp(1, START)) {
                turn(&mut gains, weights, |_| true);
            }
            Mutex::new(gains)
        }))
    }

    pub(super) fn choose(&self, field: &Field<'_>) -> Option<usize> {
        match self {
            RoundRobin::Equal(next) => {
                let index = next.mine().fetch_add(1, Ordering::Relaxed) % field.weights.len().max(1);
                // At random for the turns of one that will not do: its neighbour alone would have to take them all.
                if field.is_fit(index) { Some(index) } else { random(field) }
            }
            RoundRobin::Smooth(gains) => {
                // Only threads that share a shard can meet here; one that does needs no turn.
                let Ok(mut gains) = gains.mine().try_lock() else { return random(field) };
                let tier = field.best()?;
                turn(&mut gains, field.weights, |index| field.tier(index) == Some(tier))
            }
        }
    }
}

/// Takes a turn among those that will do; the others neither gain nor pay.
fn turn(gains: &mut [i64], weights: &Weights, will_do: impl Fn(usize) -> bool) -> Option<usize> {
    let mut total = 0;
    let mut richest: Option<(usize, i64)> = None;
    for (index, gain) in gains.iter_mut().enumerate().filter(|(index, _)| will_do(*index)) {
        let weight = i64::try_from(weights.of(index)).unwrap_or(i64::MAX);
        *gain += weight;
        total += weight;
        if richest.is_none_or(|(_, most)| *gain > most) {
            richest = Some((index, *gain));
        }
    }
    let (index, _) = richest?;
    if let Some(gain) = gains.get_mut(index) {
        *gain -= total;
    }
    Some(index)
}
