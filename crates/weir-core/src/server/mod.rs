//! The server: threads, listeners and their life from start to stop.

#[cfg(test)]
mod tests;
mod threads;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::listen::bind::bind_all;
use crate::snapshot::Snapshot;
use crate::spec::ListenAddress;
use crate::upstream;
use threads::{Command, Control};

/// How long a start waits for the names of endpoints; what takes longer is looked up in the background.
const FIRST_LOOKUPS: Duration = Duration::from_secs(5);

/// A running server. Dropping it without [`Server::drain`] cuts everything.
pub struct Server {
    published: Arc<ArcSwap<Snapshot>>,
    addresses: Vec<(Arc<str>, Option<SocketAddr>)>,
    workers: usize,
    control: Control,
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
}

/// Why a snapshot was not published. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unbound {
    /// A listener that is not bound.
    #[error("listener {0} is new: listeners are bound at the start")]
    Added(Arc<str>),
    /// A listener that is bound is not there any more.
    #[error("listener {0} is gone: listeners are closed at the end")]
    Removed(Arc<str>),
    /// A listener is bound elsewhere, or with another backlog.
    #[error("listener {0} has another address or backlog: listeners are bound at the start")]
    Moved(Arc<str>),
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
    /// The first listener that could not be bound.
    pub fn start(snapshot: Snapshot, workers: usize) -> Result<Server, BindError> {
        raise_file_limit();
        let workers = match workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let mut specs: Vec<_> = snapshot.listeners.values().map(|listener| &listener.spec).collect();
        specs.sort_by(|a, b| a.name.cmp(&b.name));
        let bound = bind_all(specs, workers)?;
        let addresses = bound.iter().map(|b| (b.name.clone(), b.address)).collect();
        if let Err(error) = upstream::resolve_blocking(&snapshot, FIRST_LOOKUPS) {
            tracing::warn!(%error, "the names of endpoints are looked up only after the start");
        }
        let published = Arc::new(ArcSwap::from_pointee(snapshot));
        let control = threads::start(published.clone(), bound, workers)?;
        Ok(Server { published, addresses, workers, control })
    }

    /// Where each listener is bound, with the port that the kernel chose for port 0, by name. Unix sockets have
    /// no address.
    pub fn addresses(&self) -> Vec<(Arc<str>, Option<SocketAddr>)> {
        self.addresses.clone()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The snapshot that new requests see.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// To publish other snapshots.
    pub fn publisher(&self) -> Publisher {
        Publisher { published: self.published.clone() }
    }

    /// To end a drain before its time.
    pub fn stopper(&self) -> Stopper {
        Stopper { command: self.control.command.clone() }
    }

    /// Stops accepting, lets what is under way go on for at most `time`, closes the rest (WebSockets with 1001)
    /// and ends the workers. Blocking work and timers are the server's own; call it from any thread or runtime.
    pub async fn drain(self, time: Duration) -> Drained {
        self.control.drain(time).await
    }
}

impl Publisher {
    /// The snapshot that new requests see.
    pub fn current(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// Makes new requests and new connections see this snapshot; those under way keep theirs. New names of endpoints
    /// are looked up first, for a few seconds at most.
    ///
    /// Cancel safety: dropped before its end, nothing was published.
    ///
    /// # Errors
    /// Everything about its listeners that the sockets which are bound do not fit.
    pub async fn publish(&self, snapshot: Snapshot) -> Result<(), Vec<Unbound>> {
        let unbound = unbound(&self.published.load(), &snapshot);
        if !unbound.is_empty() {
            return Err(unbound);
        }
        upstream::resolve_first(&snapshot, FIRST_LOOKUPS).await;
        self.published.store(Arc::new(snapshot));
        Ok(())
    }
}

/// What of the listeners of `next` does not fit the sockets that were bound for `current`, by name.
fn unbound(current: &Snapshot, next: &Snapshot) -> Vec<Unbound> {
    let mut names: Vec<_> = current.listeners.keys().chain(next.listeners.keys()).collect();
    names.sort();
    names.dedup();
    let unbound = |name: &Arc<str>| match (current.listeners.get(name), next.listeners.get(name)) {
        (None, _) => Some(Unbound::Added(name.clone())),
        (_, None) => Some(Unbound::Removed(name.clone())),
        (Some(old), Some(new)) => {
            let same = old.spec.address == new.spec.address && old.spec.backlog == new.spec.backlog;
            (!same).then(|| Unbound::Moved(name.clone()))
        }
    };
    names.into_iter().filter_map(unbound).collect()
}

impl Stopper {
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
