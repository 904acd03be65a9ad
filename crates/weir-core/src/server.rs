//! The server: threads, listeners and their life from start to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::snapshot::Snapshot;
use crate::spec::ListenAddress;

/// A running server.
pub struct Server {
    published: Arc<ArcSwap<Snapshot>>,
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
    /// Connections that were closed with something under way.
    pub cut: usize,
}

impl Server {
    /// Binds every listener (all or none) and starts `workers` worker threads (0: one a core).
    ///
    /// # Errors
    /// The first listener that could not be bound.
    pub fn start(_snapshot: Snapshot, _workers: usize) -> Result<Server, BindError> {
        unimplemented!()
    }

    /// Where each listener is bound, with the port that the kernel chose for port 0. Unix sockets have none.
    pub fn addresses(&self) -> Vec<(Arc<str>, Option<SocketAddr>)> {
        unimplemented!()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        unimplemented!()
    }

    /// The snapshot that new requests see.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// Stops accepting, lets what is under way go on for at most `time`, closes the rest (WebSockets with 1001)
    /// and ends the workers. Blocking work and timers are the server's own; call it from any thread or runtime.
    pub async fn drain(self, _time: std::time::Duration) -> Drained {
        unimplemented!()
    }
}
