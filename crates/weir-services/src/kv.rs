//! The key-value store of this process, shared by all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::{Cache, EntryAction, EntryResult};
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};
use weir_plugin::error::{Error, Result};
use weir_plugin::services::{Clock, KeyValue};

/// What an entry costs beside its key and value, in bytes.
const OVERHEAD: u64 = 96;
/// Entries of an average size that memory is laid out for.
const AVERAGE: u64 = 256;
/// The most entries that memory is laid out for at the start; for more it grows.
const MOST_LAID_OUT: usize = 1 << 20;
/// The longest key, in bytes.
const LONGEST_KEY: usize = 1024;
/// A number as text, in bytes.
const LONGEST_NUMBER: usize = 20;
/// Part of the store's memory that one value may have at most.
const SHARE: u64 = 16;

/// A store in memory of bounded size: what was not used for long goes when it is full. An expired entry is never seen,
/// and goes when it is looked up or its room is wanted.
pub struct LocalStore {
    entries: Cache<Key, Entry, Weight, DefaultHashBuilder, Evictions>,
    largest: u64,
    clock: Arc<dyn Clock>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Evictions,
}

/// How a store is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Entries that are there now, with those that have expired and were not looked up since.
    pub entries: u64,
    /// What they weigh, in bytes: keys, values, and what holds them.
    pub bytes: u64,
    /// The most that they may weigh.
    pub capacity: u64,
    /// Entries that went to make room for others.
    pub evictions: u64,
    /// Keys that were looked up and found.
    pub hits: u64,
    /// Keys that were looked up and not found.
    pub misses: u64,
}

/// Counts what goes to make room.
#[derive(Clone, Debug, Default)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Key, Entry> for Evictions {
    type RequestState = ();

    fn begin_request(&self) {}

    // Not `on_evict`, which also tells of what another value takes the place of.
    fn before_evict(&self, (): &mut (), _: &Key, _: &mut Entry) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Namespace, a zero byte, key.
type Key = Vec<u8>;

#[derive(Clone, Debug)]
struct Entry {
    value: Bytes,
    /// By the monotonic time of the store's clock.
    until: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Weight;

impl Weighter<Key, Entry> for Weight {
    fn weight(&self, key: &Key, entry: &Entry) -> u64 {
        (key.len() + entry.value.len()) as u64 + OVERHEAD
    }
}

impl std::fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalStore").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl LocalStore {
    /// An empty store of so many bytes, whose entries live by this clock.
    pub fn new(memory: u64, clock: Arc<dyn Clock>) -> Self {
        let items = usize::try_from(memory / AVERAGE).unwrap_or(usize::MAX).min(MOST_LAID_OUT);
        let evictions = Evictions::default();
        let entries = Cache::with(items, memory, Weight, DefaultHashBuilder::default(), evictions.clone());
        let (hits, misses) = (AtomicU64::new(0), AtomicU64::new(0));
        LocalStore { entries, largest: memory / SHARE, clock, hits, misses, evictions }
    }

    /// How it is used.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            entries: self.entries.len() as u64,
            bytes: self.entries.weight(),
            capacity: self.entries.capacity(),
            evictions: self.evictions.0.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }

    fn entry(&self, value: Bytes, ttl: Option<Duration>) -> Entry {
        Entry { value, until: ttl.and_then(|ttl| self.clock.monotonic().checked_add(ttl)) }
    }

    /// Asks the clock only where the answer depends on it.
    fn is_live(&self, entry: &Entry) -> bool {
        entry.until.is_none_or(|until| until > self.clock.monotonic())
    }

    fn key(&self, namespace: &str, key: &[u8], value: usize) -> Result<Key> {
        if key.len() > LONGEST_KEY {
            return Err(Error::TooLarge(LONGEST_KEY as u64));
        }
        if value as u64 > self.largest {
            return Err(Error::TooLarge(self.largest));
        }
        let mut whole = Vec::with_capacity(namespace.len() + 1 + key.len());
        whole.extend_from_slice(namespace.as_bytes());
        whole.push(0);
        whole.extend_from_slice(key);
        Ok(whole)
    }

    /// Changes an entry while nobody else does: `change` gets the one that is there, and gives the one that is to be,
    /// or none to leave it, and what is returned.
    fn change<T>(
        &self,
        key: &Key,
        change: impl Fn(Option<&Entry>) -> Result<(Option<Entry>, T)>,
    ) -> Result<T> {
        let changed = self.entries.entry(key, None, |_, entry| {
            EntryAction::Retain(change(Some(&*entry).filter(|entry| self.is_live(entry))).map(
                |(new, returned)| {
                    if let Some(new) = new {
                        *entry = new;
                    }
                    returned
                },
            ))
        });
        match changed {
            EntryResult::Retained(result) => result,
            EntryResult::Vacant(guard) => {
                let (new, returned) = change(None)?;
                if let Some(new) = new {
                    // It fails where the key was set meanwhile: as if that had come after.
                    let _ = guard.insert(new);
                }
                Ok(returned)
            }
            // Nothing above removes an entry or gives up waiting.
            _ => Err(Error::Timeout),
        }
    }
}

impl KeyValue for LocalStore {
    fn get(&self, namespace: &str, key: &[u8]) -> Result<Option<Bytes>> {
        let key = self.key(namespace, key, 0)?;
        let entry = self.entries.get(&key).filter(|entry| self.is_live(entry));
        let counted = if entry.is_some() { &self.hits } else { &self.misses };
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(entry.map(|entry| entry.value))
    }

    fn set(&self, namespace: &str, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<()> {
        let key = self.key(namespace, key, value.len())?;
        self.entries.insert(key, self.entry(value, ttl));
        Ok(())
    }

    fn add(&self, namespace: &str, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<bool> {
        self.cas(namespace, key, None, value, ttl)
    }

    fn incr(&self, namespace: &str, key: &[u8], by: i64, initial: i64, ttl: Option<Duration>) -> Result<i64> {
        let key = self.key(namespace, key, LONGEST_NUMBER)?;
        self.change(&key, |there| {
            let now = match there {
                Some(entry) => std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse().ok()),
                None => Some(initial),
            };
            let now: i64 = now.ok_or_else(|| Error::invalid("the value is no whole number"))?;
            let next = now.checked_add(by).ok_or_else(|| Error::invalid("the number is too large"))?;
            let value = Bytes::from(next.to_string());
            let new = match there {
                Some(entry) => Entry { value, until: entry.until },
                None => self.entry(value, ttl),
            };
            Ok((Some(new), next))
        })
    }

    fn cas(
        &self,
        namespace: &str,
        key: &[u8],
        expected: Option<&[u8]>,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let key = self.key(namespace, key, value.len())?;
        self.change(&key, |there| {
            let same = there.map(|entry| &entry.value[..]) == expected;
            Ok((same.then(|| self.entry(value.clone(), ttl)), same))
        })
    }

    fn delete(&self, namespace: &str, key: &[u8]) -> Result<bool> {
        let key = self.key(namespace, key, 0)?;
        Ok(self.entries.remove(&key).is_some_and(|(_, entry)| self.is_live(&entry)))
    }

    fn ttl(&self, namespace: &str, key: &[u8]) -> Result<Option<Duration>> {
        let key = self.key(namespace, key, 0)?;
        let entry = self.entries.peek(&key).filter(|entry| self.is_live(entry));
        Ok(entry.and_then(|entry| entry.until).map(|until| until.saturating_sub(self.clock.monotonic())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;
    use crate::time::SystemClock;

    fn store() -> LocalStore {
        LocalStore::new(1 << 20, Arc::new(SystemClock::default()))
    }

    #[test]
    fn entries_come_and_go() {
        let store = store();
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(store.get("a", b"k"), Ok(None));
        store.set("a", b"k", "v".into(), hour).expect("there is room");
        assert_eq!(store.get("a", b"k"), Ok(Some("v".into())));
        assert_eq!(store.get("b", b"k"), Ok(None), "a namespace of another");
        assert!(
            store.ttl("a", b"k").expect("it is there").is_some_and(|ttl| ttl > Duration::from_secs(3500))
        );
        assert_eq!(store.add("a", b"k", "w".into(), None), Ok(false));
        assert_eq!(store.add("a", b"n", "w".into(), None), Ok(true));
        assert_eq!(store.ttl("a", b"n"), Ok(None));
        assert_eq!(store.cas("a", b"n", Some(b"v"), "x".into(), None), Ok(false));
        assert_eq!(store.cas("a", b"n", Some(b"w"), "x".into(), None), Ok(true));
        assert_eq!(store.cas("a", b"m", None, "x".into(), None), Ok(true));
        assert_eq!(store.delete("a", b"n"), Ok(true));
        assert_eq!(store.delete("a", b"n"), Ok(false));
        store.set("a", b"gone", "v".into(), Some(Duration::ZERO)).expect("there is room");
        assert_eq!(store.get("a", b"gone"), Ok(None));
        assert_eq!(store.add("a", b"gone", "w".into(), None), Ok(true), "what has expired is not there");
        assert_eq!(store.ttl("a", b"gone"), Ok(None));
    }

    #[test]
    fn what_is_too_large_is_refused_and_the_store_stays_bounded() {
        let store = store();
        assert_eq!(store.set("a", b"k", vec![0; 1 << 17].into(), None), Err(Error::TooLarge(1 << 16)));
        assert_eq!(store.get("a", &[0; 2000]), Err(Error::TooLarge(1024)));
        for i in 0..20_000u32 {
            store.set("a", &i.to_be_bytes(), vec![0; 500].into(), None).expect("others go");
        }
        assert!(store.entries.weight() <= 1 << 20, "{}", store.entries.weight());
    }

    #[test]
    fn statistics_tell_how_it_is_used() {
        let store = store();
        assert_eq!(store.statistics(), Statistics { capacity: 1 << 20, ..Statistics::default() });
        store.set("a", b"k", "value".into(), None).expect("there is room");
        store.set("a", b"gone", "".into(), Some(Duration::ZERO)).expect("there is room");
        for key in [&b"k"[..], b"k", b"gone", b"none"] {
            store.get("a", key).expect("a key");
        }
        let statistics = store.statistics();
        assert_eq!((statistics.hits, statistics.misses, statistics.evictions), (2, 2, 0));
        assert_eq!((statistics.entries, statistics.bytes), (2, 2 * (2 + OVERHEAD) + 1 + 5 + 4));
        // One in the place of another, and one that is removed, did not go to make room.
        store.set("a", b"k", "another".into(), None).expect("there is room");
        store.delete("a", b"gone").expect("a key");
        assert_eq!(store.statistics().evictions, 0);
        for i in 0..10_000u32 {
            store.set("a", &i.to_be_bytes(), vec![0; 500].into(), None).expect("others go");
        }
        let statistics = store.statistics();
        assert!(
            statistics.evictions > 5000 && statistics.entries + statistics.evictions == 10_001,
            "{statistics:?}"
        );
        assert!(statistics.bytes <= 1 << 20, "{statistics:?}");
    }

    #[test]
    fn many_threads_count_right() {
        let store = store();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        store.incr("a", b"n", 2, 10, None).expect("a number");
                    }
                });
            }
        });
        assert_eq!(store.get("a", b"n"), Ok(Some("8010".into())));
        store.set("a", b"t", "text".into(), None).expect("there is room");
        assert!(store.incr("a", b"t", 1, 0, None).is_err());
    }

    #[test]
    fn entries_live_by_the_clock_of_the_store() {
        let clock = ManualClock::default();
        let store = LocalStore::new(1 << 20, Arc::new(clock.clone()));
        store.set("a", b"k", "v".into(), Some(Duration::from_secs(60))).expect("there is room");
        store.incr("a", b"n", 1, 0, Some(Duration::from_secs(61))).expect("a number");
        clock.advance(Duration::from_secs(59));
        assert_eq!(store.ttl("a", b"k"), Ok(Some(Duration::from_secs(1))));
        clock.advance(Duration::from_secs(1));
        assert_eq!(store.get("a", b"k"), Ok(None));
        assert_eq!(store.incr("a", b"n", 1, 0, None), Ok(2), "a second later than that one");
    }
}
