//! Which sockets are bound: from the start on, and changed as snapshots with other listeners are published.

use std::collections::BTreeMap;
use std::fs::{Permissions, set_permissions};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::accept::Listening;
use super::bind::{self, Beside, Bound, SocketFile};
use super::inherited::Inherited;
use super::limits::Census;
use super::passed::{self, Passed};
use crate::server::BindError;
use crate::snapshot::Snapshot;
use crate::spec::{ListenAddress, Listener};
use crate::worker::Stage;

/// What a worker is to do.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Accept from this socket too.
    Accept(Listening),
    /// Look at the published snapshot.
    Refresh,
    /// Tell that the event loop turns.
    Answer(oneshot::Sender<()>),
}

/// All sockets that are bound, by the listener's name, and the workers that accept from them.
#[derive(Debug)]
pub(crate) struct Bindings {
    /// By worker: where it hears of sockets to accept from.
    workers: Vec<UnboundedSender<Errand>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bound: BTreeMap<Arc<str>, Binding>,
    /// What was bound, and may have connections.
    leaving: Vec<Weak<Census>>,
    /// Nothing is accepted any more.
    ended: bool,
}

/// The sockets of one listener.
#[derive(Debug)]
struct Binding {
    place: ListenAddress,
    backlog: u32,
    census: Arc<Census>,
    address: Option<SocketAddr>,
    /// Copies of those that the workers accept from, the first of each worker before the second of any.
    sockets: Vec<OwnedFd>,
    file: Option<SocketFile>,
}

/// What is to become of the sockets for another snapshot: prepared, so that nothing can go wrong any more.
#[derive(Debug, Default)]
pub(crate) struct Rebinding {
    /// New, or elsewhere than before.
    open: Vec<Opening>,
    /// In the same place with another backlog or mode.
    adjust: Vec<(Arc<str>, ListenAddress, u32)>,
    /// Closed when the others are open: the listener is gone or elsewhere.
    close: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Opening {
    name: Arc<str>,
    place: ListenAddress,
    backlog: u32,
    bound: Bound,
    /// The listener whose sockets these were till now.
    from: Option<Arc<str>>,
    /// Another process has bound it, perhaps with another backlog or mode.
    stands: bool,
}

/// What other processes have bound.
#[derive(Debug)]
struct Others {
    inherited: Inherited,
    /// By the name of the listener that takes it over.
    claimed: BTreeMap<Arc<str>, Passed>,
    /// Where the process that has passed something listens.
    addresses: Vec<SocketAddr>,
}

impl Binding {
    /// Whether it is bound at this place, perhaps with another mode.
    fn is_at(&self, place: &ListenAddress) -> bool {
        passed::is_at(place, &self.place, self.address)
    }
}

impl Bindings {
    /// None yet.
    pub(crate) fn new(workers: Vec<UnboundedSender<Errand>>) -> Self {
        Bindings { workers, state: Mutex::default() }
    }

    /// Where each listener is bound, by name; `None` for Unix sockets.
    pub(crate) fn addresses(&self) -> Vec<(Arc<str>, Option<SocketAddr>)> {
        self.state().bound.iter().map(|(name, binding)| (name.clone(), binding.address)).collect()
    }

    /// Binds what is not bound yet of these listeners, but for what another process has `passed`: that is taken over, and
    /// what nobody wants of it is closed. What was bound is let go again if one cannot be, or if what is returned is
    /// dropped.
    ///
    /// # Errors
    /// Every listener that cannot be bound.
    pub(crate) fn prepare<'a>(
        &self,
        listeners: impl IntoIterator<Item = &'a Listener>,
        passed: Vec<Passed>,
    ) -> Result<Rebinding, Vec<BindError>> {
        let state = self.state();
        let mut listeners: Vec<_> = listeners.into_iter().collect();
        listeners.sort_by(|a, b| a.name.cmp(&b.name));
        let mut change = Rebinding::default();
        let stays = |name: &Arc<str>, old: &Binding| {
            listeners.iter().any(|l| l.name == *name && old.is_at(&l.address))
        };
        let leaves = |(name, old): &(&Arc<str>, &Binding)| !stays(name, old);
        change.close = state.bound.iter().filter(leaves).map(|(name, _)| name.clone()).collect();
        let mut others = Others {
            inherited: Inherited::from_env(),
            addresses: passed.iter().filter_map(Passed::address).collect(),
            claimed: passed::claim(&listeners, passed),
        };
        let mut errors = Vec::new();
        for listener in listeners {
            let Listener { name, address: place, backlog, .. } = listener;
            match state.bound.get(name) {
                Some(old) if old.is_at(place) => {
                    if *place != old.place || *backlog != old.backlog {
                        change.adjust.push((name.clone(), place.clone(), *backlog));
                    }
                }
                _ => match self.open(&state, &change.close, listener, &mut others) {
                    Ok(opening) => {
                        others.addresses.extend(opening.bound.address);
                        change.open.push(opening);
                    }
                    Err(source) => {
                        errors.push(BindError { listener: name.clone(), address: place.clone(), source });
                    }
                },
            }
        }
        if errors.is_empty() { Ok(change) } else { Err(errors) }
    }

    /// Binds a listener, or takes the sockets of one that leaves the same place.
    fn open(
        &self,
        state: &State,
        leaving: &[Arc<str>],
        listener: &Listener,
        others: &mut Others,
    ) -> io::Result<Opening> {
        let Listener { name, address: place, backlog, .. } = listener;
        let is_taken_over =
            |old: &Binding| !old.sockets.is_empty() && !place_is_any(place) && old.is_at(place);
        let from = leaving.iter().find(|name| state.bound.get(*name).is_some_and(is_taken_over)).cloned();
        let (passed, workers) = (others.claimed.remove(name), self.workers.len());
        let stands = passed.is_some();
        let bound = match (from.as_ref().and_then(|from| state.bound.get(from)), passed) {
            (Some(old), _) => {
                let sockets = old.sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
                Bound { address: old.address, sockets, file: None }
            }
            (None, Some(passed)) => bind::take_over(passed, listener, workers)?,
            (None, None) => {
                let bound = state.bound.values().filter_map(|old| old.address);
                let own =
                    bound.chain(others.addresses.iter().copied()).any(|at| bind::overlaps(place, Some(at)));
                let beside = if own { Beside::Own } else { Beside::Nobody };
                bind::bind(listener, workers, &others.inherited, beside)?
            }
        };
        Ok(Opening { name: name.clone(), place: place.clone(), backlog: *backlog, bound, from, stands })
    }

    /// Makes the change. `publish` makes new connections see `next`, the snapshot that it was prepared for. Listeners
    /// that are gone serve by `before` until their last connection has ended.
    pub(crate) fn change(
        &self,
        change: Rebinding,
        before: &Arc<Snapshot>,
        next: &Snapshot,
        publish: impl FnOnce(),
    ) {
        let Rebinding { open, adjust, close } = change;
        let mut state = self.state();
        for name in close.iter().filter(|name| !next.listeners.contains_key(*name)) {
            if let Some(old) = state.bound.get(name) {
                old.census.keep(before.clone());
            }
        }
        for census in state.leaving.iter().filter_map(Weak::upgrade) {
            if !next.listeners.contains_key(&census.listener) {
                census.keep(before.clone());
            }
        }
        publish();
        let mut left: BTreeMap<_, _> =
            close.iter().filter_map(|name| Some((name.clone(), state.bound.remove(name)?))).collect();
        for mut opening in open {
            let census = Arc::new(Census::new(opening.name.clone()));
            if let Some(old) = opening.from.as_ref().and_then(|from| left.get_mut(from)) {
                // Who waits in the queue is the new listener's now.
                old.census.hand_over(census.clone());
                opening.bound.file = old.file.take();
                opening.stands = true;
            }
            if opening.stands {
                adjust_socket(&opening.name, &opening.place, opening.backlog, &opening.bound.sockets);
            }
            self.enter(&mut state, opening, census);
        }
        for old in left.into_values() {
            // Before it is told: what a worker closes is to be closed.
            drop((old.sockets, old.file));
            old.census.set_stage(Stage::Leaving);
            state.leaving.retain(|census| census.strong_count() > 0);
            state.leaving.push(Arc::downgrade(&old.census));
        }
        for worker in &self.workers {
            let _ = worker.send(Errand::Refresh);
        }
        for (name, place, backlog) in adjust {
            if let Some(binding) = state.bound.get_mut(&name) {
                adjust_socket(&name, &place, backlog, &binding.sockets);
                (binding.place, binding.backlog) = (place, backlog);
            }
        }
    }

    /// Gives the sockets to the workers.
    fn enter(&self, state: &mut State, opening: Opening, census: Arc<Census>) {
        let Opening { name, place, backlog, bound, .. } = opening;
        if state.ended {
            census.set_stage(Stage::Draining);
        }
        let Bound { address, sockets, file } = bound;
        let copies: io::Result<Vec<_>> = sockets.iter().map(OwnedFd::try_clone).collect();
        // Without copies it serves all the same; it cannot be changed or handed on then.
        let copies = copies.unwrap_or_else(|error| {
            tracing::warn!(listener = %name, %error, "cannot keep a copy of its sockets");
            Vec::new()
        });
        for (worker, socket) in self.workers.iter().cycle().zip(sockets) {
            // A worker that ended accepts nothing.
            let _ = worker.send(Errand::Accept(Listening { census: census.clone(), address, socket }));
        }
        let sockets = if state.ended { Vec::new() } else { copies };
        state.bound.insert(name, Binding { place, backlog, census, address, sockets, file });
    }

    /// Copies of all sockets, to be passed to another process.
    ///
    /// # Errors
    /// When there cannot be so many, or the sockets of a listener are not to be had.
    pub(crate) fn copies(&self) -> io::Result<Vec<Passed>> {
        let state = self.state();
        let copy = |(name, binding): (&Arc<str>, &Binding)| {
            let shared = binding.address.is_none() || matches!(binding.place, ListenAddress::Inherited(_));
            let sockets = binding.sockets.iter().take(if shared { 1 } else { usize::MAX });
            let sockets: Vec<_> = sockets.map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
            if sockets.is_empty() {
                return Err(io::Error::other(format!("listener {name}: there are no copies of its sockets")));
            }
            let file = binding.file.as_ref().map(|file| file.identity);
            Ok(Passed { listener: name.clone(), place: binding.place.clone(), sockets, file })
        };
        state.bound.iter().map(copy).collect()
    }

    /// Says whether another process may have the same sockets: whose files they are then is settled when they are closed.
    pub(crate) fn share(&self, shared: bool) {
        let mut state = self.state();
        state
            .bound
            .values_mut()
            .filter_map(|binding| binding.file.as_mut())
            .for_each(|file| file.share(shared));
    }

    /// Nothing more is accepted, and connections end when they can: by themselves ([`Stage::Leaving`]) or soon.
    pub(crate) fn end(&self, stage: Stage) {
        let mut state = self.state();
        state.ended = true;
        for binding in state.bound.values_mut() {
            binding.sockets.clear();
            binding.census.set_stage(stage);
        }
        for census in state.leaving.iter().filter_map(Weak::upgrade) {
            census.set_stage(stage);
        }
    }

    /// Waits until each worker has answered; never ends where one does not.
    pub(crate) async fn answers(&self) {
        let asked = self.workers.iter().map(|worker| {
            let (answer, told) = oneshot::channel();
            let _ = worker.send(Errand::Answer(answer));
            told
        });
        for told in asked.collect::<Vec<_>>() {
            if told.await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Removes the files of sockets, once nobody accepts there any more.
    pub(crate) fn remove_files(&self) {
        self.state().bound.values_mut().for_each(|binding| drop(binding.file.take()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds this lock can panic halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether each listener there gets an address of its own.
fn place_is_any(place: &ListenAddress) -> bool {
    matches!(place, ListenAddress::Tcp(address) if address.port() == 0)
}

/// Gives sockets that stay another backlog, and their file another mode.
fn adjust_socket(name: &Arc<str>, place: &ListenAddress, backlog: u32, sockets: &[OwnedFd]) {
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    for socket in sockets {
        // On a socket that listens already, this changes its backlog.
        if let Err(error) = rustix::net::listen(socket, backlog) {
            tracing::warn!(listener = %name, %error, "cannot change the backlog");
        }
    }
    if let ListenAddress::Unix { path, mode } = place
        && let Err(error) = set_permissions(path, Permissions::from_mode(mode & 0o777))
    {
        tracing::warn!(listener = %name, path = %path.display(), %error, "cannot change the mode of the socket");
    }
}
