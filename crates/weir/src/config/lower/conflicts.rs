//! Routes that cannot be together.

use std::collections::HashMap;
use std::sync::Arc;

use weir_core::route::{RouteError, Router};
use weir_core::spec::{Action, HostPattern, Route, TcpRoute};

use super::Lower;
use super::names::Names;
use crate::config::document::At;

impl Lower<'_> {
    /// Tells every pair of HTTP routes that conflict.
    pub fn conflicts(&mut self, routes: &[Route], names: &Names) {
        let mut rest = without_upstreams(routes);
        // Each round takes one route out.
        while let Err(error) = Router::new(&rest, &HashMap::new()) {
            let (first, second) = match &error {
                RouteError::Conflict { first, second } | RouteError::Ambiguous { first, second, .. } => {
                    (first.clone(), second.clone())
                }
                RouteError::NoUpstream { .. } => return,
            };
            self.conflict(&error, &first, &second, names);
            let before = rest.len();
            rest.retain(|r| r.name != second);
            if rest.len() == before {
                return;
            }
        }
    }

    fn conflict(&mut self, error: &RouteError, first: &str, second: &str, names: &Names) {
        let at = |name: &str| {
            let index = names.routes.iter().position(|n| **n == *name);
            index.map(|i| At::default().key("routes").index(i))
        };
        let (Some(first), Some(second)) = (at(first), at(second)) else { return };
        let place = self.document.locate(&first);
        let told = self.error(&second, error.to_string(), "the second").context(place, "the first");
        if matches!(error, RouteError::Conflict { .. }) {
            told.help("add a condition to one of them, for example `host`, `methods` or a longer path");
        }
    }

    /// Tells TCP routes of one listener that take the same server name.
    pub fn tcp_conflicts(&mut self, routes: &[TcpRoute], names: &Names) {
        let mut seen: HashMap<(Arc<str>, Option<HostPattern>), Arc<str>> = HashMap::new();
        for route in routes {
            let any = route.sni.is_empty().then_some(None);
            for name in route.sni.iter().cloned().map(Some).chain(any) {
                let key = (route.listener.clone(), name);
                let Some(first) = seen.insert(key, route.name.clone()) else { continue };
                if first == route.name {
                    continue;
                }
                let at = |name: &str| {
                    let index = names.tcp_routes.iter().position(|n| **n == *name).unwrap_or_default();
                    At::default().key("tcp_routes").index(index)
                };
                let place = self.document.locate(&at(&first));
                let title = format!("TCP routes {first} and {} take the same connections", route.name);
                self.error(&at(&route.name), title, "the second")
                    .context(place, "the first")
                    .help("name the servers of each in `sni`");
            }
        }
    }
}

/// The same routes for a router that only matches: it needs no upstreams.
pub fn without_upstreams(routes: &[Route]) -> Vec<Route> {
    let answer = || Action::Respond {
        status: http::StatusCode::OK,
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::new(),
    };
    routes.iter().map(|r| Route { action: answer(), ..r.clone() }).collect()
}
