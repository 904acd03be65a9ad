//! The relays of a server: which there are, of which generation, and how they are told to end.
//!
//! A relay pins the snapshot that it was opened by, for as long as it lives. When another snapshot is published,
//! [`Registry::reconcile`] compares what each relay's route was with what it is, and sets when those end that are to.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use weir_plugin::Plugin;

use crate::route::{CompiledRoute, CompiledTcpRoute};
use crate::snapshot::Snapshot;
use crate::spec::{self, OnReload, Reload};

/// All relays of a server, in a table a worker.
#[derive(Debug)]
pub(crate) struct Registry {
    workers: Vec<Mutex<HashMap<u64, Arc<Entry>>>>,
    next: AtomicU64,
    /// Times are counted from here, in milliseconds.
    epoch: Instant,
    /// Whether all are told to stop, also those to come.
    stopping: AtomicBool,
    /// Told when some relay has a time to end.
    scheduled: Notify,
}

/// One relay.
#[derive(Debug)]
struct Entry {
    route: Carrier,
    generation: u64,
    order: AtomicU8,
    waker: AtomicWaker,
    /// When it is to end because of a reload, in milliseconds since the epoch; 0: not at all.
    due: AtomicU64,
}

/// The route that opened a relay.
#[derive(Clone, Debug)]
pub(crate) enum Carrier {
    Http(Arc<CompiledRoute>),
    Tcp(Arc<CompiledTcpRoute>),
}

/// A relay in the registry, which it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Control {
    registry: Arc<Registry>,
    worker: usize,
    id: u64,
    entry: Arc<Entry>,
}

/// What a relay is told. A greater one takes the place of a smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// A reload asks it to come again.
    Restart = 1,
    /// The process ends.
    Stop = 2,
}

/// Relays that hold an older generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The generation.
    pub generation: u64,
    /// How many relays of it there are, by route.
    pub relays: BTreeMap<Arc<str>, usize>,
}

impl Registry {
    /// Of so many workers.
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Registry {
            workers: (0..workers.max(1)).map(|_| Mutex::default()).collect(),
            next: AtomicU64::new(0),
            epoch: Instant::now(),
            stopping: AtomicBool::new(false),
            scheduled: Notify::new(),
        })
    }

    /// Enters a relay that a worker is about to run.
    pub(crate) fn enter(self: &Arc<Self>, worker: usize, route: Carrier, generation: u64) -> Control {
        let worker = worker % self.workers.len();
        let entry = Arc::new(Entry {
            route,
            generation,
            order: AtomicU8::new(0),
            waker: AtomicWaker::new(),
            due: AtomicU64::new(0),
        });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.table(worker).insert(id, entry.clone());
        // After it is in the table: whoever stops all either finds it there or was seen here.
        if self.stopping.load(Ordering::SeqCst) {
            entry.tell(Order::Stop);
        }
        Control { registry: self.clone(), worker, id, entry }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        (0..self.workers.len()).map(|worker| self.table(worker).len()).sum()
    }

    /// Tells all relays that the process ends.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.for_each(|entry| entry.tell(Order::Stop));
    }

    /// Sets when relays end whose route is another in this snapshot, or not there any more, or whose generation is one
    /// too many. One that was to end because of an earlier snapshot stays if this one gives no reason.
    pub(crate) fn reconcile(&self, snapshot: &Snapshot) {
        if self.len() == 0 {
            return;
        }
        let oldest = self.oldest_kept(snapshot.reload.generations, snapshot.generation);
        let (newer, now) = (Newer::new(snapshot, oldest), self.now());
        self.for_each(|entry| newer.schedule(entry, now));
        self.scheduled.notify_one();
    }

    /// The same for one that was not there yet when the snapshot was published.
    pub(crate) fn reconcile_one(&self, control: &Control, snapshot: &Snapshot) {
        Newer::new(snapshot, 0).schedule(&control.entry, self.now());
        self.scheduled.notify_one();
    }

    /// Tells relays to end when their time has come. Never ends.
    pub(crate) async fn run(&self) {
        let mut waiting: Vec<(u64, Weak<Entry>)> = Vec::new();
        loop {
            let next = waiting.last().map(|(due, _)| due.saturating_sub(self.now()));
            let pause = Duration::from_millis(next.unwrap_or(u64::MAX / 4));
            if tokio::time::timeout(pause, self.scheduled.notified()).await.is_ok() {
                // Where a worker waits for its table it waits for a copy, and for no wakers.
                waiting.clear();
                for worker in 0..self.workers.len() {
                    let table = self.table(worker);
                    let due = table.values().map(|entry| (entry.due.load(Ordering::Relaxed), entry));
                    waiting.extend(due.filter(|(due, _)| *due != 0).map(|(due, e)| (due, Arc::downgrade(e))));
                }
                // The first to end is the last.
                waiting.sort_by_key(|(due, _)| std::cmp::Reverse(*due));
            }
            let now = self.now();
            while let Some((_, entry)) = waiting.pop_if(|(due, _)| *due <= now) {
                if let Some(entry) = entry.upgrade() {
                    entry.tell(Order::Restart);
                }
            }
        }
    }

    /// Relays by generation, the oldest first.
    pub(crate) fn by_generation(&self) -> Vec<Held> {
        let mut held: BTreeMap<u64, Held> = BTreeMap::new();
        self.for_each(|entry| {
            let of = held.entry(entry.generation).or_default();
            of.generation = entry.generation;
            *of.relays.entry(entry.route.name().clone()).or_default() += 1;
        });
        held.into_values().collect()
    }

    /// The oldest generation that relays may hold, where there are more than `most` older ones.
    fn oldest_kept(&self, most: usize, newest: u64) -> u64 {
        let older = self.by_generation().into_iter().map(|held| held.generation);
        let older: Vec<_> = older.filter(|generation| *generation < newest).collect();
        older.len().checked_sub(most).and_then(|over| older.get(over)).copied().unwrap_or(match most {
            0 => newest,
            _ => 0,
        })
    }

    fn for_each(&self, mut f: impl FnMut(&Entry)) {
        for worker in 0..self.workers.len() {
            self.table(worker).values().for_each(|entry| f(entry));
        }
    }

    /// Milliseconds since the epoch, from 1.
    fn now(&self) -> u64 {
        millis(self.epoch.elapsed()) + 1
    }

    #[allow(clippy::indexing_slicing, reason = "callers take the worker modulo the number of tables")]
    fn table(&self, worker: usize) -> MutexGuard<'_, HashMap<u64, Arc<Entry>>> {
        // Nothing that holds this lock can panic halfway through a change.
        self.workers[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::Release);
        self.waker.wake();
    }
}

/// What a newer snapshot means for a relay whose route it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stay,
    Close,
}

impl Carrier {
    pub(crate) fn name(&self) -> &Arc<str> {
        match self {
            Carrier::Http(route) => &route.spec.name,
            Carrier::Tcp(route) => &route.spec.name,
        }
    }
}

/// What a newer snapshot means for relays.
struct Newer<'a> {
    reload: Reload,
    /// Older generations than this are to be let go.
    oldest: u64,
    /// Routes by name.
    http: HashMap<&'a str, &'a spec::Route>,
    tcp: HashMap<&'a str, &'a spec::TcpRoute>,
}

impl<'a> Newer<'a> {
    fn new(snapshot: &'a Snapshot, oldest: u64) -> Self {
        let http = snapshot.router.routes().iter().map(|route| (&*route.spec.name, &route.spec));
        let tcp = snapshot.tcp.routes().map(|route| (&*route.spec.name, &route.spec));
        Newer { reload: snapshot.reload, oldest, http: http.collect(), tcp: tcp.collect() }
    }

    /// Sets when a relay ends, or that it does not.
    fn schedule(&self, entry: &Entry, now: u64) {
        let wait = match self.fate(&entry.route) {
            None => Some(self.reload.grace),
            Some(Fate::Close) => Some(Duration::ZERO),
            Some(Fate::Stay) => (entry.generation < self.oldest).then_some(Duration::ZERO),
        };
        let spread = fastrand::u64(0..=millis(self.reload.spread));
        let due = wait.map_or(0, |wait| now + millis(wait) + spread);
        let was = entry.due.load(Ordering::Relaxed);
        // Who waits already does not wait longer because of one more reload.
        let due = if was != 0 && due != 0 { due.min(was) } else { due };
        entry.due.store(due, Ordering::Relaxed);
    }

    /// None: there is no such route any more.
    fn fate(&self, carrier: &Carrier) -> Option<Fate> {
        let (same, on_reload) = match carrier {
            Carrier::Http(route) => {
                let (old, new) = (&route.spec, self.http.get(&*route.spec.name)?);
                (old.identity == new.identity && same_plugins(&old.plugins, &new.plugins), new.on_reload)
            }
            Carrier::Tcp(route) => {
                let (old, new) = (&route.spec, self.tcp.get(&*route.spec.name)?);
                (old.identity == new.identity, new.on_reload)
            }
        };
        Some(if same || on_reload == OnReload::Pin { Fate::Stay } else { Fate::Close })
    }
}

fn same_plugins(old: &[Arc<dyn Plugin>], new: &[Arc<dyn Plugin>]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(old, new))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4)
}

impl Control {
    /// To be woken when there is an order.
    pub(super) fn register(&self, waker: &Waker) {
        self.entry.waker.register(waker);
    }

    /// What the relay is told, if anything.
    pub(super) fn order(&self) -> Option<Order> {
        match self.entry.order.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Order::Restart),
            _ => Some(Order::Stop),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.registry.table(self.worker).remove(&self.id);
    }
}
