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

    /// All routes; one with several server names comes as often.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<CompiledTcpRoute>> {
        let of = self.listeners.values();
        of.flat_map(|names| names.exact.values().chain(names.suffix.values()).chain(&names.any))
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use super::*;
    use crate::spec::{
        Balance, EndpointAddress, EndpointSpec, OnReload, Protocol, Retry, TcpRoute, Upstream,
        UpstreamTimeouts,
    };

    fn groups() -> HashMap<Arc<str>, Arc<Group>> {
        let address = EndpointAddress::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        let upstream = Upstream {
            name: "up".into(),
            endpoints: vec![EndpointSpec { address, weight: 1 }],
            balance: Balance::RoundRobin,
            protocol: Protocol::Http1,
            tls: None,
            timeouts: UpstreamTimeouts::default(),
            max_idle: 1,
            idle_timeout: Duration::from_secs(1),
            retry: Retry::default(),
            skip_refused: Duration::from_secs(1),
            resolve_every: Duration::from_secs(1),
            replay_body: 0,
        };
        let group = Group::new(&upstream, None).expect("it has an endpoint");
        HashMap::from([(upstream.name, Arc::new(group))])
    }

    /// `name listener sni,sni`.
    fn router(routes: &[&str]) -> Result<TcpRouter, RouteError> {
        let routes: Vec<TcpRoute> = routes
            .iter()
            .map(|words| {
                let mut words = words.split(' ');
                let (name, listener) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
                let sni = words.next().into_iter().flat_map(|names| names.split(','));
                TcpRoute {
                    name: name.into(),
                    listener: listener.into(),
                    sni: sni.map(|name| HostPattern::parse(name).expect("a name")).collect(),
                    upstream: if name == "lost" { "gone".into() } else { "up".into() },
                    idle_timeout: Duration::from_secs(1),
                    on_reload: OnReload::Pin,
                    identity: 0,
                }
            })
            .collect();
        TcpRouter::new(&routes, &groups())
    }

    #[test]
    fn the_most_specific_name_takes_a_connection() {
        let router = router(&[
            "any tls",
            "short tls *.example",
            "exact tls a.b.example",
            "long tls *.b.example",
            "only one a.example",
        ])
        .expect("these can be together");
        for (listener, sni, want) in [
            ("tls", Some("a.b.example"), Some("exact")),
            ("tls", Some("A.B.EXAMPLE"), Some("exact")),
            ("tls", Some("x.b.example"), Some("long")),
            ("tls", Some("b.example"), Some("short")),
            ("tls", Some("example"), Some("any")),
            ("tls", Some(""), Some("any")),
            ("tls", None, Some("any")),
            ("one", Some("a.example"), Some("only")),
            ("one", Some("b.example"), None),
            ("one", None, None),
            ("two", Some("a.example"), None),
        ] {
            let found = router.find(listener, sni).map(|route| &*route.spec.name);
            assert_eq!(found, want, "{listener} {sni:?}");
        }
    }

    #[test]
    fn what_cannot_be_together_is_named() {
        for (routes, want) in [
            (&["a tls", "b tls"][..], "routes a and b take the same requests"),
            (&["a tls x.example", "b tls y.example,X.example"], "routes a and b take the same requests"),
            (&["a tls *.example", "b tls *.example"], "routes a and b take the same requests"),
            (&["lost tls"], "route lost names the upstream gone, which is not there"),
            (&["a tls x.example,x.example", "b other x.example", "c tls"], ""),
        ] {
            let error = router(routes).err().map(|error| error.to_string());
            assert_eq!(error.unwrap_or_default(), want, "{routes:?}");
        }
    }
}
