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
