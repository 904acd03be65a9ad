//! One worker: a thread with an event loop of its own, and what lives on it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use arc_swap::{ArcSwap, cache::Cache};
use tokio::sync::watch;
use tokio::task::spawn_local;
use weir_plugin::Connection;

use crate::instances::Instances;
use crate::listen::limits::Hold;
use crate::relay::{Control, Entering, Registry};
use crate::shadow::Shadow;
use crate::snapshot::{Current, Snapshot};
use crate::upstream::Pools;

/// How far the process, or a listener, is on its way to the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Connections are accepted and kept.
    #[default]
    Serving,
    /// The listener is gone: no new connections; each ends after its next response, or when it has been idle for as long
    /// as it may.
    Leaving,
    /// No new connections; idle ones close, busy ones end after what is under way.
    Draining,
    /// The drain time is over: relays are closed with 1001, everything else is cut.
    Ending,
}

impl Stage {
    /// In their order.
    pub(crate) const ALL: [Stage; 4] = [Stage::Serving, Stage::Leaving, Stage::Draining, Stage::Ending];
}

/// What lives on one worker. Never leaves its thread.
pub struct Worker {
    /// 0 for the first.
    pub index: usize,
    /// The published snapshot, and this thread's own count of references to it.
    published: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    current: RefCell<Current>,
    /// Plugins that run here.
    pub(crate) instances: Instances,
    /// The name of no route.
    no_name: Arc<str>,
    /// Idle connections to upstreams.
    pub pools: Pools,
    stage: watch::Receiver<Stage>,
    relays: Arc<Registry>,
    next_id: Cell<u64>,
    /// Requests that are being tried on a snapshot that does not serve.
    trials: Rc<Cell<usize>>,
    /// The last of these snapshots, by number.
    tried: Cell<u64>,
    /// Open connections by id. Tasks of a connection share its hold: it is open until the last has ended.
    open: RefCell<HashMap<u64, Rc<Hold>>>,
}

thread_local! {
    /// The worker of this thread.
    static CURRENT: RefCell<Weak<Worker>> = const { RefCell::new(Weak::new()) };
}

/// How many requests may be tried at the same time: what serves comes first.
const TRIALS: usize = 4;

/// A request that is being tried, while this lives.
pub(crate) struct Trial(Rc<Cell<usize>>);

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A connection in the table of its worker.
pub(crate) struct Open {
    worker: Rc<Worker>,
    id: u64,
}

impl Worker {
    /// A worker that reads `published` and follows `stage`; its relays are in `relays`.
    pub(crate) fn new(
        index: usize,
        published: Arc<ArcSwap<Snapshot>>,
        stage: watch::Receiver<Stage>,
        relays: Arc<Registry>,
    ) -> Rc<Self> {
        let current = RefCell::new(Rc::new(published.load_full()));
        let worker = Rc::new(Worker {
            index,
            published: RefCell::new(Cache::new(published)),
            current,
            instances: Instances::default(),
            no_name: "".into(),
            pools: Pools::default(),
            stage,
            relays,
            next_id: Cell::new((index as u64) << 48),
            trials: Rc::default(),
            tried: Cell::new(0),
            open: RefCell::default(),
        });
        worker.instances.follow(worker.current.borrow().plugins());
        CURRENT.set(Rc::downgrade(&worker));
        worker
    }

    /// The worker of this thread, where it has one.
    pub fn current() -> Option<Rc<Worker>> {
        CURRENT.with_borrow(Weak::upgrade)
    }

    /// The newest snapshot: one atomic load, and a count of references that no other thread touches.
    pub fn snapshot(&self) -> Current {
        let mut published = self.published.borrow_mut();
        let newest = published.load();
        let mut current = self.current.borrow_mut();
        if !Arc::ptr_eq(newest, &current) {
            *current = Rc::new(newest.clone());
            self.instances.follow(newest.plugins());
        }
        current.clone()
    }

    /// What stands for the route of a request that has none.
    pub(crate) fn no_name(&self) -> Arc<str> {
        self.no_name.clone()
    }

    /// An id that no other exchange or connection of this process has.
    pub fn next_id(&self) -> u64 {
        let id = self.next_id.get() + 1;
        self.next_id.set(id);
        id
    }

    /// To be told when the stage changes.
    pub fn follow_stage(&self) -> watch::Receiver<Stage> {
        self.stage.clone()
    }

    /// The relays of the server.
    pub(crate) fn relays(&self) -> &Arc<Registry> {
        &self.relays
    }

    /// Enters a relay that is about to run here.
    pub(crate) fn enter(&self, entering: Entering) -> Control {
        let generation = entering.generation;
        let control = self.relays.enter(self.index, entering);
        let newest = self.snapshot();
        if newest.generation != generation {
            // Published while it was being opened.
            self.relays.reconcile_one(&control, &newest);
        }
        control
    }

    /// Runs `work` as a task of its own that belongs to a connection. The connection counts as open (for limits,
    /// for the balance between workers, and for the end of a drain) until this too has ended. For what outlives
    /// the task that serves the connection: a relay, which should not keep that task's memory.
    pub fn spawn_for(&self, connection: &Connection, work: impl Future<Output = ()> + 'static) {
        let hold = self.open.borrow().get(&connection.id).cloned();
        spawn_local(async move {
            let _hold = hold;
            work.await;
        });
    }

    /// Enters a request that is to be tried; `None` where enough are.
    pub(crate) fn trial(&self) -> Option<Trial> {
        let trials = self.trials.get();
        (trials < TRIALS).then(|| {
            self.trials.set(trials + 1);
            Trial(self.trials.clone())
        })
    }

    /// Lets go of the plugins of a snapshot that is tried once it is gone.
    pub(crate) fn tidy_after(self: &Rc<Self>, shadow: &Shadow) {
        if self.tried.replace(shadow.id()) == shadow.id() {
            return;
        }
        let (worker, mut ended) = (Rc::downgrade(self), shadow.follow());
        spawn_local(async move {
            // Nothing is ever sent: it ends with the other side.
            let _ = ended.changed().await;
            if let Some(worker) = worker.upgrade() {
                worker.instances.tidy();
            }
        });
    }

    /// Enters a connection into the table until what is returned is dropped.
    pub(crate) fn open(self: &Rc<Self>, id: u64, hold: Rc<Hold>) -> Open {
        self.open.borrow_mut().insert(id, hold);
        Open { worker: self.clone(), id }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.worker.open.borrow_mut().remove(&self.id);
    }
}
