//! Relays by the names of the groups that they have joined, over all workers.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::registry::Entry;

/// Tables, so that groups seldom wait for each other.
const SHARDS: usize = 16;

type Members = HashMap<u64, Arc<Entry>>;

/// All groups: those that have members.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    shards: [Mutex<HashMap<Arc<str>, Members>>; SHARDS],
    hasher: RandomState,
}

impl Groups {
    /// Puts a relay into a group.
    pub(super) fn insert(&self, group: &Arc<str>, entry: &Arc<Entry>) {
        self.shard(group).entry(group.clone()).or_default().insert(entry.id, entry.clone());
    }

    /// Takes a relay out of a group.
    pub(super) fn remove(&self, group: &str, id: u64) {
        let mut shard = self.shard(group);
        if let Some(members) = shard.get_mut(group) {
            members.remove(&id);
            if members.is_empty() {
                shard.remove(group);
            }
        }
    }

    /// Those that are in a group.
    pub(super) fn members(&self, group: &str) -> Vec<Arc<Entry>> {
        self.shard(group).get(group).map(|members| members.values().cloned().collect()).unwrap_or_default()
    }

    /// How many are in a group.
    pub(super) fn count(&self, group: &str) -> usize {
        self.shard(group).get(group).map_or(0, Members::len)
    }

    #[allow(clippy::indexing_slicing, reason = "modulo the number of tables")]
    fn shard(&self, group: &str) -> MutexGuard<'_, HashMap<Arc<str>, Members>> {
        let at = usize::try_from(self.hasher.hash_one(group)).unwrap_or(0) % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
