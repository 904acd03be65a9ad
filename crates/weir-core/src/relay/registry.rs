//! The relays of a server: which there are, of which generation, and how they are told to end.
//!
//! A relay pins the snapshot that it was opened by, for as long as it lives. When another snapshot is published,
//! [`Registry::reconcile`] compares what each relay's route was with what it is, and sets when those end that are to.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use weir_plugin::Plugin;
use weir_plugin::websocket::{CloseReason, ClosedBy, Direction, Relay};

use super::groups::Groups;
use super::live::{Handle, Live, index};
use super::tap::{RelayFilter, RelayInfo, RelayKind, TapError, Tapped};
use super::totals::Totals;
use crate::net::deadline::Coarse;
use crate::route::{CompiledRoute, CompiledTcpRoute};
use crate::snapshot::Snapshot;
use crate::spec::{self, OnReload, Reload};
use crate::ws::states::TakeoverMemory;

/// All relays of a server, in a table a worker.
#[derive(Debug)]
pub(crate) struct Registry {
    workers: Vec<Mutex<Table>>,
    pub(super) groups: Groups,
    /// What relays keep of compression.
    takeover: Arc<TakeoverMemory>,
    /// Times are counted from here, in milliseconds.
    epoch: Instant,
    /// Whether all are told to stop, also those to come.
    stopping: AtomicBool,
    /// Told when some relay has a time to end.
    scheduled: Notify,
}

/// The relays of one worker.
#[derive(Debug, Default)]
struct Table {
    open: HashMap<u64, Arc<Entry>>,
    /// What those have carried that have ended.
    ended: Totals,
}

/// One relay.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) id: u64,
    client: Option<IpAddr>,
    opened: Instant,
    /// The route that it goes by.
    route: Mutex<Carrier>,
    generation: AtomicU64,
    order: AtomicU8,
    /// Whether it is to go over to the newest generation.
    migrate: AtomicBool,
    /// Who is told that something was asked of it, as often as that happens.
    waker: Mutex<Option<Waker>>,
    /// When it is to end because of a reload, in milliseconds since the epoch; 0: not at all.
    due: AtomicU64,
    /// Whether its messages are put together.
    messages: AtomicBool,
    passed: Passage,
    /// The code that it ended with, if its frames are read and it has ended; 0: with none.
    code: AtomicU16,
    /// `None`: its bytes pass unread.
    pub(super) live: Option<Box<Live>>,
}

/// What has passed a relay, by direction. Written by its worker alone.
#[derive(Debug, Default)]
struct Passage {
    frames: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
    /// When something passed last, by the coarse clock in milliseconds.
    last: AtomicU64,
}

/// What a relay is entered with.
#[derive(Debug)]
pub(crate) struct Entering {
    /// Of its exchange: unique in this process.
    pub(crate) id: u64,
    /// The client's address.
    pub(crate) client: Option<IpAddr>,
    /// The route that has opened it.
    pub(crate) carrier: Carrier,
    /// The generation that has opened it.
    pub(crate) generation: u64,
    /// Whether its frames are read.
    pub(crate) frames: bool,
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
    entry: Arc<Entry>,
}

/// What a relay is told. A greater one takes the place of a smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// A reload asks it to come again.
    Restart = 1,
    /// An operator closes it.
    Close = 2,
    /// The process ends.
    Stop = 3,
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
            groups: Groups::default(),
            takeover: Arc::default(),
            epoch: Instant::now(),
            stopping: AtomicBool::new(false),
            scheduled: Notify::new(),
        })
    }

    /// Enters a relay that a worker is about to run.
    pub(crate) fn enter(self: &Arc<Self>, worker: usize, entering: Entering) -> Control {
        let Entering { id, client, carrier, generation, frames } = entering;
        let worker = worker % self.workers.len();
        let live = match &carrier {
            Carrier::Http(route) if frames => {
                route.spec.websocket.as_ref().map(|settings| Box::new(Live::new(&settings.frames)))
            }
            _ => None,
        };
        let passed = Passage { last: AtomicU64::new(Coarse::now().millis()), ..Passage::default() };
        let entry = Arc::new(Entry {
            id,
            client,
            opened: Instant::now(),
            route: Mutex::new(carrier),
            generation: AtomicU64::new(generation),
            order: AtomicU8::new(0),
            migrate: AtomicBool::new(false),
            waker: Mutex::default(),
            due: AtomicU64::new(0),
            messages: AtomicBool::new(false),
            passed,
            code: AtomicU16::new(0),
            live,
        });
        self.table(worker).open.insert(id, entry.clone());
        // After it is in the table: whoever stops all either finds it there or was seen here.
        if self.stopping.load(Ordering::SeqCst) {
            entry.tell(Order::Stop);
        }
        Control { registry: self.clone(), worker, entry }
    }

    /// What relays keep of compression.
    pub(crate) fn takeover_memory(&self) -> &Arc<TakeoverMemory> {
        &self.takeover
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        (0..self.workers.len()).map(|worker| self.table(worker).open.len()).sum()
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
                    let due = table.open.values().map(|entry| (entry.due.load(Ordering::Relaxed), entry));
                    waiting.extend(due.filter(|(due, _)| *due != 0).map(|(due, e)| (due, Arc::downgrade(e))));
                }
                // The first to end is the last.
                waiting.sort_by_key(|(due, _)| std::cmp::Reverse(*due));
            }
            let now = self.now();
            while let Some((_, entry)) = waiting.pop_if(|(due, _)| *due <= now) {
                // It may have gone over to another generation since.
                if let Some(entry) = entry.upgrade()
                    && entry.due.load(Ordering::Relaxed) != 0
                {
                    entry.tell(Order::Restart);
                }
            }
        }
    }

    /// Relays by generation, the oldest first.
    pub(crate) fn by_generation(&self) -> Vec<Held> {
        let mut held: BTreeMap<u64, Held> = BTreeMap::new();
        self.for_each(|entry| {
            let generation = entry.generation();
            let of = held.entry(generation).or_default();
            of.generation = generation;
            *of.relays.entry(entry.route_name()).or_default() += 1;
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

    /// What all have carried.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for worker in 0..self.workers.len() {
            // One that ends in between is counted once.
            let table = self.table(worker);
            totals.add(&table.ended);
            for entry in table.open.values() {
                *totals.open.entry(entry.kind()).or_default() += 1;
                totals.add(&entry.carried());
            }
        }
        totals
    }

    /// Those that are meant, at most so many, the oldest first; and how many are meant.
    pub(crate) fn list(&self, filter: &RelayFilter, most: usize) -> (Vec<RelayInfo>, usize) {
        let mut found: Vec<_> = self.entries().iter().map(|entry| entry.info()).collect();
        found.retain(|relay| filter.takes(relay));
        found.sort_by_key(|relay| std::cmp::Reverse(relay.age));
        let all = found.len();
        found.truncate(most);
        (found, all)
    }

    /// Ends those that are meant. How many.
    pub(crate) fn close(&self, filter: &RelayFilter, close: &CloseReason) -> usize {
        let meant = |entry: &Arc<Entry>| filter.takes(&entry.info());
        let entries = self.entries().into_iter().filter(meant);
        entries.filter(|entry| entry.close(close.clone(), ClosedBy::Plugin).is_ok()).count()
    }

    /// Has an operator look at the messages of a relay.
    pub(crate) fn tap(&self, id: u64, to: mpsc::Sender<Tapped>) -> Result<(), TapError> {
        let entry = self.find(id).ok_or(TapError::NoSuchRelay)?;
        let configured = match &*entry.route() {
            Carrier::Http(route) => {
                route.spec.websocket.as_ref().is_some_and(|settings| settings.frames.tap.is_some())
            }
            Carrier::Tcp(_) => return Err(TapError::Unread),
        };
        if !configured {
            return Err(TapError::NotConfigured);
        }
        let live = entry.live.as_ref().ok_or(TapError::Unread)?;
        if live.look(to) { Ok(()) } else { Err(TapError::Taken) }
    }

    fn find(&self, id: u64) -> Option<Arc<Entry>> {
        (0..self.workers.len()).find_map(|worker| self.table(worker).open.get(&id).cloned())
    }

    /// A copy: whoever looks at them at leisure holds no worker up.
    fn entries(&self) -> Vec<Arc<Entry>> {
        let mut entries = Vec::new();
        for worker in 0..self.workers.len() {
            entries.extend(self.table(worker).open.values().cloned());
        }
        entries
    }

    /// The relay of this id, if its frames are read.
    pub(super) fn relay(self: &Arc<Self>, id: u64) -> Option<Arc<dyn Relay>> {
        let entry = self.find(id).filter(|entry| entry.live.is_some())?;
        Some(self.handle(entry))
    }

    /// Those that are in a group.
    pub(super) fn members(self: &Arc<Self>, group: &str) -> Vec<Arc<dyn Relay>> {
        self.groups.members(group).into_iter().map(|entry| self.handle(entry)).collect()
    }

    /// How many are in a group.
    pub(super) fn count(&self, group: &str) -> usize {
        self.groups.count(group)
    }

    /// To be asked things of, by plugins.
    fn handle(self: &Arc<Self>, entry: Arc<Entry>) -> Arc<dyn Relay> {
        Arc::new(Handle::new(entry, self))
    }

    fn for_each(&self, mut f: impl FnMut(&Entry)) {
        for worker in 0..self.workers.len() {
            self.table(worker).open.values().for_each(|entry| f(entry));
        }
    }

    /// Milliseconds since the epoch, from 1.
    fn now(&self) -> u64 {
        millis(self.epoch.elapsed()) + 1
    }

    #[allow(clippy::indexing_slicing, reason = "callers take the worker modulo the number of tables")]
    fn table(&self, worker: usize) -> MutexGuard<'_, Table> {
        // Nothing that holds this lock can panic halfway through a change.
        self.workers[worker].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    pub(super) fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::Release);
        self.wake();
    }

    pub(super) fn wake(&self) {
        // Not while it is locked: whoever is woken may run at once.
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn route_name(&self) -> Arc<str> {
        self.route().name().clone()
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    fn route(&self) -> MutexGuard<'_, Carrier> {
        self.route.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has carried so far.
    fn carried(&self) -> Totals {
        let dropped = self.live.as_ref().map_or(0, |live| live.dropped());
        let (frames, bytes) = (read(&self.passed.frames), read(&self.passed.bytes));
        Totals { frames, bytes, dropped, ..Totals::default() }
    }

    fn info(&self) -> RelayInfo {
        let idle = Coarse::now().millis().saturating_sub(self.passed.last.load(Ordering::Relaxed));
        RelayInfo {
            id: self.id,
            route: self.route_name(),
            client: self.client,
            age: self.opened.elapsed(),
            idle: Duration::from_millis(idle),
            frames: read(&self.passed.frames),
            bytes: read(&self.passed.bytes),
            dropped: self.live.as_ref().map_or(0, |live| live.dropped()),
            generation: self.generation(),
            kind: self.kind(),
            groups: self.live.as_ref().map(|live| live.groups()).unwrap_or_default(),
        }
    }

    fn kind(&self) -> RelayKind {
        match &*self.route() {
            Carrier::Tcp(_) => RelayKind::Tcp,
            Carrier::Http(_) => match &self.live {
                Some(_) if self.messages.load(Ordering::Relaxed) => RelayKind::Messages,
                Some(live) if !live.is_passing() => RelayKind::Frames,
                _ => RelayKind::Spliced,
            },
        }
    }
}

/// What a newer snapshot means for a relay whose route it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stay,
    Migrate,
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
        let fate = self.fate(&entry.route());
        if fate == Some(Fate::Migrate) {
            // One that does not go over is as one that stays.
            entry.migrate.store(true, Ordering::Release);
            entry.wake();
        }
        let wait = match fate {
            None => Some(self.reload.grace),
            Some(Fate::Close) => Some(Duration::ZERO),
            Some(Fate::Stay | Fate::Migrate) => (entry.generation() < self.oldest).then_some(Duration::ZERO),
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
        Some(match on_reload {
            // Also where nothing of it is new: it lets the old generation go.
            OnReload::Migrate => Fate::Migrate,
            OnReload::Close if !same => Fate::Close,
            OnReload::Close | OnReload::Pin => Fate::Stay,
        })
    }
}

fn same_plugins(old: &[Arc<dyn Plugin>], new: &[Arc<dyn Plugin>]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| Arc::ptr_eq(old, new))
}

fn read(pair: &[AtomicU64; 2]) -> [u64; 2] {
    pair.each_ref().map(|count| count.load(Ordering::Relaxed))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4)
}

impl Control {
    /// To be woken whenever there is an order, or something is asked, until another is registered.
    pub(super) fn register(&self, waker: &Waker) {
        *self.entry.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    /// What the relay is told, if anything.
    pub(super) fn order(&self) -> Option<Order> {
        match self.entry.order.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Order::Restart),
            2 => Some(Order::Close),
            _ => Some(Order::Stop),
        }
    }

    /// Whether it is to go over to the newest generation. Told once.
    pub(crate) fn is_to_migrate(&self) -> bool {
        let migrate = &self.entry.migrate;
        migrate.load(Ordering::Relaxed) && migrate.swap(false, Ordering::Acquire)
    }

    /// It goes by this route from now on.
    pub(crate) fn moved(&self, route: Arc<CompiledRoute>, generation: u64) {
        if let (Some(live), Some(settings)) = (&self.entry.live, &route.spec.websocket) {
            live.configure(&settings.frames);
        }
        *self.entry.route() = Carrier::Http(route);
        self.entry.generation.store(generation, Ordering::Relaxed);
        self.entry.due.store(0, Ordering::Relaxed);
    }

    /// What was asked of it; `None` where its bytes pass unread.
    pub(crate) fn live(&self) -> Option<&Live> {
        self.entry.live.as_deref()
    }

    /// It ends with this close code.
    pub(crate) fn closed(&self, code: Option<u16>) {
        self.entry.code.store(code.unwrap_or(0), Ordering::Relaxed);
    }

    /// From now on its frames pass unread.
    pub(crate) fn pass(&self) {
        if let Some(live) = &self.entry.live {
            self.leave(live.pass());
        }
    }

    fn leave(&self, groups: Vec<Arc<str>>) {
        for group in groups {
            self.registry.groups.remove(&group, self.entry.id);
        }
    }

    /// For plugins.
    pub(crate) fn handle(&self) -> Arc<dyn Relay> {
        self.registry.handle(self.entry.clone())
    }

    /// Whether its messages are put together.
    pub(crate) fn reads_messages(&self, messages: bool) {
        self.entry.messages.store(messages, Ordering::Relaxed);
    }

    /// So many bytes have passed this way so far, in so many frames.
    pub(crate) fn passed(&self, direction: Direction, bytes: u64, frames: u64) {
        let passed = &self.entry.passed;
        for (counts, count) in [(&passed.bytes, bytes), (&passed.frames, frames)] {
            if let Some(place) = counts.get(index(direction)) {
                place.store(count, Ordering::Relaxed);
            }
        }
        passed.last.store(Coarse::now().millis(), Ordering::Relaxed);
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let mut table = self.registry.table(self.worker);
        table.open.remove(&self.entry.id);
        let mut ended = self.entry.carried();
        if self.entry.live.as_ref().is_some_and(|live| !live.is_passing()) {
            let code = self.entry.code.load(Ordering::Relaxed);
            ended.closed((code != 0).then_some(code));
        }
        table.ended.add(&ended);
        drop(table);
        if let Some(live) = &self.entry.live {
            self.leave(live.end());
        }
    }
}
