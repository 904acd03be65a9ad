//! Layer 4 routes: by listener and server name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::spec::{self, HostPattern};
use crate::upstream::Group;

use super::table::lower;
use super::{CompiledTcpRoute, RouteError};

/// All layer 4 routes, compiled. Of those of a listener the most specific takes a connection: exact server name, then
/// the longest `*.` suffix, then the one that takes any.
#[derive(Debug, Default)]
pub struct TcpRouter {
    listeners: HashMap<Arc<str>, Names>,
}

#[derive(Debug, Default)]
struct Names {
    exact: HashMap<Arc<str>, Arc<CompiledTcpRoute>>,
    /// With the dot, `.example.com`.
    suffix: HashMap<Arc<str>, Arc<CompiledTcpRoute>>,
    any: Option<Arc<CompiledTcpRoute>>,
}

impl TcpRouter {
    /// Compiles layer 4 routes.
    ///
    /// # Errors
    /// When two routes conflict or one names an upstream that is not there.
    pub fn new(
        routes: &[spec::TcpRoute],
        groups: &HashMap<Arc<str>, Arc<Group>>,
    ) -> Result<Self, RouteError> {
        let mut router = TcpRouter::default();
        for spec in routes {
            let group = groups.get(&spec.upstream).cloned().ok_or_else(|| RouteError::NoUpstream {
                route: spec.name.clone(),
                upstream: spec.upstream.clone(),
            })?;
            let route = Arc::new(CompiledTcpRoute { spec: spec.clone(), group });
            let names = router.listeners.entry(spec.listener.clone()).or_default();
            let mut olds = Vec::new();
            if spec.sni.is_empty() {
                olds.push(names.any.replace(route.clone()));
            }
            for name in &spec.sni {
                olds.push(match name {
                    HostPattern::Exact(name) => names.exact.insert(name.clone(), route.clone()),
                    HostPattern::Suffix(suffix) => names.suffix.insert(suffix.clone(), route.clone()),
                });
            }
            if let Some(old) = olds.into_iter().flatten().find(|old| !Arc::ptr_eq(old, &route)) {
                return Err(RouteError::Conflict {
                    first: old.spec.name.clone(),
                    second: route.spec.name.clone(),
                });
            }
        }
        Ok(router)
    }

    /// Whether a listener has routes that ask for a server name: then a client's first bytes have to be read. One
    /// without connects at once, as protocols need in which the server speaks first.
    pub fn needs_sni(&self, listener: &str) -> bool {
        self.listeners.get(listener).is_some_and(|n| !n.exact.is_empty() || !n.suffix.is_empty())
    }

    /// The route of a listener for a server name.
    pub fn find(&self, listener: &str, sni: Option<&str>) -> Option<&Arc<CompiledTcpRoute>> {
        let names = self.listeners.get(listener)?;
        let mut buffer = [0; 255];
        if let Some(name) = sni.and_then(|sni| lower(sni, &mut buffer)) {
            let suffixes = name.match_indices('.').filter(|(at, _)| *at > 0);
            let route = names
                .exact
                .get(name)
                .or_else(|| suffixes.filter_map(|(at, _)| names.suffix.get(name.get(at..)?)).next());
            if route.is_some() {
                return route;
            }
        }
        names.any.as_ref()
    }
}
