//! What is open: counted a listener, a client address and a worker.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use tokio::sync::{Notify, watch};

use crate::snapshot::{Current, Snapshot};
use crate::spec::Listener;
use crate::worker::{Stage, Worker};

/// Clients are counted in so many tables, so that workers seldom meet at one lock.
const SHARDS: usize = 16;

/// What a listener has open, over all workers and generations, and how far it is on its way to the end.
#[derive(Debug)]
pub(crate) struct Census {
    /// The listener's name.
    pub(crate) listener: Arc<str>,
    stage: watch::Sender<Stage>,
    /// The same, for those who look at it with each request.
    stage_now: AtomicU8,
    /// The last snapshot that has this listener, once there is a newer one without it.
    last: OnceLock<Arc<Snapshot>>,
    /// The listener that accepts from its sockets now.
    heir: OnceLock<Arc<Census>>,
    open: AtomicUsize,
    clients: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
    /// Connections closed at once because a limit was reached.
    refused: AtomicU64,
}

/// How busy the workers are, known to all of them.
#[derive(Debug)]
pub(crate) struct Loads {
    workers: Vec<Load>,
    /// Told whenever a worker's last connection ends.
    pub(crate) emptied: Notify,
}

/// On a cache line of its own: every worker writes its own at each connection.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load(AtomicUsize);

/// One open connection. It is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    census: Arc<Census>,
    loads: Arc<Loads>,
    worker: usize,
    client: OnceCell<ClientHold>,
}

/// One open connection of a client address. It is counted until this is dropped.
#[derive(Debug)]
struct ClientHold {
    census: Arc<Census>,
    client: IpAddr,
}

impl Census {
    /// Nothing is open yet.
    pub(crate) fn new(listener: Arc<str>) -> Self {
        Census {
            listener,
            stage: watch::Sender::new(Stage::Serving),
            stage_now: AtomicU8::new(Stage::Serving as u8),
            last: OnceLock::new(),
            heir: OnceLock::new(),
            open: AtomicUsize::new(0),
            clients: Default::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether it accepts, or lets its connections end: because the process does, or because the listener is gone.
    pub(crate) fn stage(&self) -> Stage {
        Stage::ALL.get(usize::from(self.stage_now.load(Ordering::Acquire))).copied().unwrap_or(Stage::Ending)
    }

    /// To be told when the stage changes.
    pub(crate) fn follow_stage(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        // First, so that who is woken sees it.
        self.stage_now.store(stage as u8, Ordering::Release);
        self.stage.send_replace(stage);
    }

    /// The snapshot by which connections of this listener are served.
    pub(crate) fn snapshot(&self, worker: &Worker) -> Current {
        // First the newest: whoever sees one without this listener sees the last one that has it, too.
        let newest = worker.snapshot();
        match self.last.get() {
            None => newest,
            Some(last) => Current::new(last.clone()),
        }
    }

    /// The listener is not in newer snapshots: its connections are served by this one.
    pub(crate) fn keep(&self, last: Arc<Snapshot>) {
        // It leaves only once.
        let _ = self.last.set(last);
    }

    /// Another listener accepts from its sockets now, also who waits in their queues.
    pub(crate) fn hand_over(&self, heir: Arc<Census>) {
        // It leaves only once.
        let _ = self.heir.set(heir);
    }

    /// The listener that accepts from its sockets now, if it is another.
    pub(crate) fn heir(&self) -> Option<&Arc<Census>> {
        self.heir.get()
    }

    /// Counts one more connection on a worker; `None`: the listener has as many as it may have.
    pub(crate) fn admit(self: &Arc<Self>, limit: usize, loads: &Arc<Loads>, worker: usize) -> Option<Hold> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= limit {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        loads.add(worker);
        Some(Hold { census: self.clone(), loads: loads.clone(), worker, client: OnceCell::new() })
    }

    /// Counts one more connection of a client, if it may have one.
    fn admit_client(self: &Arc<Self>, limit: usize, client: IpAddr) -> Result<ClientHold, OverLimit> {
        let mut shard = self.shard(client);
        let open = shard.get(&client).copied().unwrap_or(0);
        if open >= limit {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(OverLimit);
        }
        shard.insert(client, open + 1);
        Ok(ClientHold { census: self.clone(), client })
    }

    /// Connections that were closed at once because a limit was reached.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn shard(&self, client: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let bytes = match client {
            IpAddr::V4(a) => a.octets()[3],
            IpAddr::V6(a) => a.octets().iter().fold(0, |all, byte| all ^ byte),
        };
        let shard = &self.clients[usize::from(bytes) % SHARDS];
        // Nothing that holds this lock can panic halfway through a change.
        shard.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A client has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverLimit;

impl Loads {
    /// Of so many idle workers.
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        let workers = (0..workers).map(|_| Load::default()).collect();
        Arc::new(Loads { workers, emptied: Notify::new() })
    }

    /// Connections open on all workers.
    pub(crate) fn total(&self) -> usize {
        self.workers.iter().map(|load| load.0.load(Ordering::Acquire)).sum()
    }

    /// Where a connection that `here` has accepted should be served: on the worker with the fewest connections,
    /// or here if the difference is not worth waking another thread.
    pub(crate) fn lightest(&self, here: usize) -> usize {
        let counts = || self.workers.iter().map(|load| load.0.load(Ordering::Relaxed));
        let mine = counts().nth(here).unwrap_or(0);
        match counts().enumerate().min_by_key(|(_, n)| *n) {
            Some((least, n)) if mine > n + n / 16 => least,
            _ => here,
        }
    }

    fn add(&self, worker: usize) {
        if let Some(load) = self.workers.get(worker) {
            load.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Hold {
    /// What the connection is counted in.
    pub(crate) fn census(&self) -> &Arc<Census> {
        &self.census
    }

    /// Counts the connection as one of this client's too, where the listener has a limit for each.
    ///
    /// # Errors
    /// When the client has as many as it may have.
    pub(crate) fn count_client(&self, spec: &Listener, client: Option<IpAddr>) -> Result<(), OverLimit> {
        let limit = spec.max_connections_per_client;
        if let Some(client) = client.filter(|_| limit < spec.max_connections) {
            let hold = self.census.admit_client(limit, client)?;
            // It is only counted once: a second hold would be given back at once.
            let _ = self.client.set(hold);
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.census.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(load) = self.loads.workers.get(self.worker)
            && load.0.fetch_sub(1, Ordering::Release) == 1
        {
            self.loads.emptied.notify_one();
        }
    }
}

impl Drop for ClientHold {
    fn drop(&mut self) {
        let mut shard = self.census.shard(self.client);
        match shard.get_mut(&self.client) {
            Some(open) if *open > 1 => *open -= 1,
            _ => {
                shard.remove(&self.client);
            }
        }
    }
}
