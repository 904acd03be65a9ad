//! The server: threads, listeners and their life from start to stop.

#[cfg(test)]
mod tests;
mod threads;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::{self, unbounded_channel};
use tokio::sync::watch;
use weir_plugin::websocket::CloseReason;

use crate::listen::bindings::Bindings;
use crate::listen::limits::Loads;
use crate::relay::{Registry, RelayFilter, RelayInfo, TapError, Tapped, Totals};
use crate::snapshot::Snapshot;
use crate::spec::{ListenAddress, Listener};
use crate::upstream;
use threads::{Command, Control};

pub use crate::listen::passed::Passed;
pub use crate::relay::Held;

/// How long a start waits for the names of endpoints; what takes longer is looked up in the background.
const FIRST_LOOKUPS: Duration = Duration::from_secs(5);

/// How many messages wait for an operator who looks at a relay; what does not fit is counted.
const TAPPED: usize = 256;

/// A running server. Dropping it without [`Server::drain`] cuts everything.
pub struct Server {
    publisher: Publisher,
    workers: usize,
    control: Control,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// These listeners could not be bound; none is.
    #[error("{}", told(.0))]
    Bind(Vec<BindError>),
    /// A thread or its event loop could not be made.
    #[error("cannot start a worker: {0}")]
    Threads(#[from] io::Error),
}

fn told(errors: &[BindError]) -> String {
    errors.iter().map(BindError::to_string).collect::<Vec<_>>().join("; ")
}

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener}: cannot listen on {address:?}: {source}")]
pub struct BindError {
    /// The listener's name.
    pub listener: Arc<str>,
    /// What it should bind.
    pub address: ListenAddress,
    /// Why it could not.
    pub source: io::Error,
}

/// Publishes snapshots to the workers of a server, which may have ended since. One task is to be the only one that
/// does: a snapshot is assembled from the one before it.
#[derive(Clone, Debug)]
pub struct Publisher {
    published: Arc<ArcSwap<Snapshot>>,
    bindings: Arc<Bindings>,
    loads: Arc<Loads>,
    relays: Arc<Registry>,
    /// Snapshots that were published and may be held by something that is under way.
    earlier: Arc<Mutex<Vec<Weak<Snapshot>>>>,
}

/// What was cut at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were closed with something under way. A WebSocket that was told 1001 is not one of them.
    pub cut: usize,
}

/// Ends a drain that is under way.
#[derive(Clone, Debug)]
pub struct Stopper {
    command: watch::Sender<Command>,
}

impl Server {
    /// Binds every listener (all or none) and starts `workers` worker threads (0: one a core). When it returns,
    /// every worker accepts.
    ///
    /// # Errors
    /// All listeners that could not be bound, or a thread that could not be made.
    pub fn start(snapshot: Snapshot, workers: usize) -> Result<Server, StartError> {
        Self::take_over(snapshot, workers, Vec::new())
    }

    /// The same with listening sockets that another process has passed ([`Publisher::sockets`]): all that listeners here
    /// want are accepted from, whatever the number of workers there and here; the others are closed. They are found by
    /// what they are bound to. Files of Unix sockets are for the other process to remove until it says that it is done
    /// with them ([`Publisher::settle`]).
    ///
    /// # Errors
    /// As [`Server::start`]; the other process can go on with its sockets then.
    pub fn take_over(snapshot: Snapshot, workers: usize, passed: Vec<Passed>) -> Result<Server, StartError> {
        raise_file_limit();
        let workers = match workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let (doors, openings) = (0..workers).map(|_| unbounded_channel()).unzip();
        // Before anything is bound: connections that come from then on are not to wait for it.
        if let Err(error) = upstream::resolve_blocking(&snapshot, FIRST_LOOKUPS) {
            tracing::warn!(%error, "the names of endpoints are looked up only after the start");
        }
        let bindings = Arc::new(Bindings::new(doors));
        let change = bindings.prepare(specs(&snapshot), passed).map_err(StartError::Bind)?;
        let snapshot = Arc::new(snapshot);
        bindings.change(change, &snapshot, &snapshot, || ());
        let published = Arc::new(ArcSwap::new(snapshot));
        let loads = Loads::new(workers);
        let relays = Registry::new(workers);
        let publisher = Publisher { published, bindings, loads, relays, earlier: Arc::default() };
        let control = threads::start(&publisher, openings)?;
        Ok(Server { publisher, workers, control })
    }

    /// Where each listener is bound, with the port that the kernel chose for port 0, by name. Unix sockets have
    /// no address.
    pub fn addresses(&self) -> Vec<(Arc<str>, Option<SocketAddr>)> {
        self.publisher.addresses()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The snapshot that new requests see.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.publisher.current()
    }

    /// To publish other snapshots.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// To end a drain before its time.
    pub fn stopper(&self) -> Stopper {
        Stopper { command: self.control.command.clone() }
    }

    /// Stops accepting, lets what is under way go on for at most `time`, closes the rest (WebSockets with 1001)
    /// and ends the workers. Blocking work and timers are the server's own; call it from any thread or runtime.
    pub async fn drain(self, time: Duration) -> Drained {
        self.control.end(Command::Drain(time)).await
    }

    /// The same after another process has taken the sockets over: nothing is hurried. Connections of HTTP end after
    /// their next response, relays when they end; what is left after `time` is closed as at the end of a drain.
    /// [`Stopper::drain`] and [`Stopper::stop`] make it shorter.
    pub async fn hand_over(self, time: Duration) -> Drained {
        self.control.end(Command::HandOver(time)).await
    }
}

impl Publisher {
    /// The snapshot that new requests see.
    pub fn current(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// Where each listener is bound now, by name. Unix sockets have no address.
    pub fn addresses(&self) -> Vec<(Arc<str>, Option<SocketAddr>)> {
        self.bindings.addresses()
    }

    /// Copies of all listening sockets, for a process that is to take them over ([`Server::take_over`]).
    ///
    /// # Errors
    /// When no more files may be open.
    pub fn sockets(&self) -> io::Result<Vec<Passed>> {
        self.bindings.copies()
    }

    /// The process that has passed its sockets accepts no more from them: files of Unix sockets are this one's alone.
    pub fn settle(&self) {
        self.bindings.share(false);
    }

    /// Waits until the event loop of each worker has turned. Where one is stuck, or has ended, this never ends. Cancel safe.
    pub async fn answers(&self) {
        self.bindings.answers().await;
    }

    /// Connections that are open, on all listeners and workers.
    pub fn connections(&self) -> usize {
        self.loads.total()
    }

    /// Relays that are open: WebSockets and connections of layer 4.
    pub fn relays(&self) -> usize {
        self.relays.len()
    }

    /// What all relays have carried since the start.
    pub fn carried(&self) -> Totals {
        self.relays.totals()
    }

    /// Relays that are meant, at most so many, the oldest first; and how many are meant.
    pub fn list_relays(&self, filter: &RelayFilter, most: usize) -> (Vec<RelayInfo>, usize) {
        self.relays.list(filter, most)
    }

    /// Ends the relays that are meant: WebSockets whose frames are read with this close frame, others as a reload does.
    /// How many.
    pub fn close_relays(&self, filter: &RelayFilter, close: &CloseReason) -> usize {
        self.relays.close(filter, close)
    }

    /// The messages of a relay from now on, until it ends or what is returned is dropped.
    ///
    /// # Errors
    /// Where it cannot be looked at.
    pub fn tap(&self, id: u64) -> Result<mpsc::Receiver<Tapped>, TapError> {
        let (to, tapped) = mpsc::channel(TAPPED);
        self.relays.tap(id, to).map(|()| tapped)
    }

    /// Which older generations something under way still holds, the oldest first. One without relays is held by
    /// requests, or by connections of a listener that is gone.
    pub fn held(&self) -> Vec<Held> {
        let newest = self.published.load().generation;
        let earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = earlier.iter().filter_map(Weak::upgrade).map(|snapshot| snapshot.generation);
        let mut held: BTreeMap<u64, Held> =
            alive.map(|generation| (generation, Held { generation, ..Held::default() })).collect();
        held.extend(self.relays.by_generation().into_iter().map(|of| (of.generation, of)));
        held.into_values().filter(|of| of.generation < newest).collect()
    }

    /// Makes new requests and new connections see this snapshot; those under way keep theirs. New names of endpoints
    /// are looked up first, for a few seconds at most. Listeners that are new or have moved are bound first. One that
    /// is gone or has moved accepts what waits in its queue and closes; its connections end after their next
    /// response, and are served till then by the last snapshot that had it.
    ///
    /// Cancel safety: dropped before its end, nothing was published.
    ///
    /// # Errors
    /// All listeners that cannot be bound. Nothing was changed then.
    pub async fn publish(&self, snapshot: Snapshot) -> Result<(), Vec<BindError>> {
        upstream::resolve_first(&snapshot, FIRST_LOOKUPS).await;
        let change = self.bindings.prepare(specs(&snapshot), Vec::new())?;
        let (before, next) = (self.published.load_full(), Arc::new(snapshot));
        self.bindings.change(change, &before, &next, || self.published.store(next.clone()));
        self.relays.reconcile(&next);
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.retain(|snapshot| snapshot.strong_count() > 0);
        earlier.push(Arc::downgrade(&before));
        Ok(())
    }

    /// Binds what [`Publisher::publish`] would bind, and lets it go again.
    ///
    /// # Errors
    /// All listeners that cannot be bound.
    pub fn try_bind(&self, snapshot: &Snapshot) -> Result<(), Vec<BindError>> {
        self.bindings.prepare(specs(snapshot), Vec::new()).map(drop)
    }
}

fn specs(snapshot: &Snapshot) -> impl Iterator<Item = &Listener> {
    snapshot.listeners.values().map(|listener| &listener.spec)
}

impl Stopper {
    /// What was handed over is drained as by [`Server::drain`] from now on. Without [`Server::hand_over`] nothing
    /// happens.
    pub fn drain(&self, time: Duration) {
        self.command.send_if_modified(|command| {
            let hasten = matches!(command, Command::HandOver(_));
            if hasten {
                *command = Command::Drain(time);
            }
            hasten
        });
    }

    /// Everything still open is closed now, whatever is left of the drain time. Without a drain it is as a drain
    /// of no time.
    pub fn stop(&self) {
        self.command.send_replace(Command::Stop);
    }
}

/// A proxy needs two files a connection; the soft limit is often 1024 for the sake of select(2).
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let was = limit.current;
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::debug!(?was, now = ?limit.current, "raised the limit of open files"),
        Err(error) => tracing::warn!(?was, %error, "cannot raise the limit of open files"),
    }
}
