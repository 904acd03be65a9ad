//! The immutable state that workers read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::{HeaderName, StatusCode};
use weir_plugin::Plugin;

use crate::challenges::Challenges;
use crate::listen::CompiledListener;
use crate::log::AccessLog;
use crate::route::{Router, TcpRouter};
use crate::shadow::Trials;
use crate::spec::{Proxy, Reload, Spec};
use crate::upstream::Group;

/// One generation of all that workers read. A request sees one snapshot from its first byte to its last.
#[derive(Debug)]
pub struct Snapshot {
    /// 1 for the first, one more for each that follows.
    pub generation: u64,
    /// By name; what is bound is told by [`crate::listen`].
    pub listeners: HashMap<Arc<str>, Arc<CompiledListener>>,
    /// Plugins whose `on_connect` runs, in order, by the listener's name.
    pub connect_plugins: HashMap<Arc<str>, Arc<[Arc<dyn Plugin>]>>,
    /// HTTP routes.
    pub router: Router,
    /// Layer 4 routes.
    pub tcp: TcpRouter,
    /// Upstream groups by name.
    pub groups: HashMap<Arc<str>, Arc<Group>>,
    /// What holds for every request.
    pub proxy: Proxy,
    /// What becomes of relays when this one is published.
    pub reload: Reload,
    /// Headers by which any listener tells upstreams who a client is: removed from what clients send.
    pub identity_headers: Vec<HeaderName>,
    /// Challenges of ACME that plain HTTP listeners answer before they route.
    pub challenges: Option<Arc<Challenges>>,
    /// Where records of exchanges go; `None`: no record is made.
    pub access_log: Option<Arc<dyn AccessLog>>,
    /// What comes of its exchanges, while somebody wants to know.
    pub outcomes: Outcomes,
    /// What is tried on its requests.
    pub trials: Trials,
}

/// Counts exchanges of a snapshot that have ended, while somebody wants to know: else the workers would write to one
/// cache line for nobody.
#[derive(Debug, Default)]
pub struct Outcomes {
    watched: AtomicBool,
    requests: AtomicU64,
    failed: AtomicU64,
}

impl Outcomes {
    /// Counts from now on, or no more. What was counted stays.
    pub fn watch(&self, on: bool) {
        self.watched.store(on, Ordering::Relaxed);
    }

    /// How many have ended, and how many of them with a status of 500 or more.
    pub fn counts(&self) -> (u64, u64) {
        let failed = self.failed.load(Ordering::Acquire);
        (self.requests.load(Ordering::Relaxed), failed)
    }

    /// An exchange has ended with this status.
    pub(crate) fn count(&self, status: StatusCode) {
        if self.watched.load(Ordering::Relaxed) {
            self.requests.fetch_add(1, Ordering::Relaxed);
            if status.is_server_error() {
                // So that never more failures are seen than requests.
                self.failed.fetch_add(1, Ordering::Release);
            }
        }
    }
}

/// A snapshot as a worker holds it: the count of references that requests change is the worker's own, so that no two
/// workers write to the same cache line.
#[allow(clippy::redundant_allocation, reason = "the second count is the point")]
pub type Current = std::rc::Rc<Arc<Snapshot>>;

/// Why a [`Spec`] does not make a snapshot. Every one of these names what in the spec is wrong.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// A route or TCP route cannot be.
    #[error(transparent)]
    Route(#[from] crate::route::RouteError),
    /// A listener's TLS cannot be.
    #[error("listener {listener}: {source}")]
    Tls {
        /// The listener's name.
        listener: Arc<str>,
        /// Why.
        source: crate::tls::TlsError,
    },
    /// An upstream group cannot be.
    #[error("upstream {upstream}: {source}")]
    Upstream {
        /// The group's name.
        upstream: Arc<str>,
        /// Why.
        source: crate::upstream::GroupError,
    },
}

impl Snapshot {
    /// Compiles a spec. Parts that did not change keep their identity with `previous` (pools, loads, tickets).
    ///
    /// # Errors
    /// The first thing in the spec that cannot be; nothing is changed then.
    pub fn assemble(
        spec: &Spec,
        access_log: Option<Arc<dyn AccessLog>>,
        previous: Option<&Snapshot>,
    ) -> Result<Snapshot, AssembleError> {
        let generation = previous.map_or(1, |p| p.generation + 1);
        let mut groups = HashMap::new();
        for upstream in &spec.upstreams {
            let old = previous.and_then(|p| p.groups.get(&upstream.name));
            let group = Group::new(upstream, old.map(Arc::as_ref))
                .map_err(|source| AssembleError::Upstream { upstream: upstream.name.clone(), source })?;
            groups.insert(upstream.name.clone(), Arc::new(group));
        }
        let mut listeners = HashMap::new();
        for listener in &spec.listeners {
            let old = previous.and_then(|p| p.listeners.get(&listener.name));
            let compiled = CompiledListener::new(listener, generation, old.map(Arc::as_ref))
                .map_err(|source| AssembleError::Tls { listener: listener.name.clone(), source })?;
            listeners.insert(listener.name.clone(), Arc::new(compiled));
        }
        let mut identity_headers: Vec<HeaderName> = Vec::new();
        for tls in listeners.values().filter_map(|listener: &Arc<CompiledListener>| listener.tls.as_ref()) {
            let new = tls.all_identity_headers().iter().filter(|name| !identity_headers.contains(name));
            identity_headers.extend(new.cloned().collect::<Vec<_>>());
        }
        Ok(Snapshot {
            generation,
            connect_plugins: spec.connect_plugins.clone(),
            router: Router::new(&spec.routes, &groups)?,
            tcp: TcpRouter::new(&spec.tcp_routes, &groups)?,
            listeners,
            groups,
            proxy: spec.proxy.clone(),
            reload: spec.reload,
            identity_headers,
            challenges: spec.challenges.clone(),
            access_log,
            outcomes: Outcomes::default(),
            trials: Trials::default(),
        })
    }

    /// All plugins; one that is named in several places comes as often.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<dyn Plugin>> {
        let of_listeners = self.connect_plugins.values().flat_map(|plugins| plugins.iter());
        self.router.plugins().chain(of_listeners)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_while_somebody_wants_to_know() {
        let outcomes = Outcomes::default();
        let served = |statuses: &[u16]| {
            for status in statuses {
                outcomes.count(StatusCode::from_u16(*status).expect("a status"));
            }
            outcomes.counts()
        };
        assert_eq!(served(&[500, 200]), (0, 0));
        outcomes.watch(true);
        assert_eq!(served(&[200, 404, 499, 500, 503]), (5, 2));
        outcomes.watch(false);
        assert_eq!(served(&[502]), (5, 2));
    }
}
