//! A group of endpoints that serve the same thing.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::pki_types::ServerName;
use weir_plugin::{Candidate, Exchange};

use super::balance::{Balancer, CookieError};
use super::endpoint::{Choice, Endpoint, server_name, written};
use super::retry::Budget;
use crate::spec::{self, Protocol, UpstreamTls};
use crate::tls::{Connector, TlsError};

/// A group of endpoints, ready to serve. Shared by all workers.
#[derive(Debug)]
pub struct Group {
    /// What was asked for.
    pub spec: spec::Upstream,
    /// In the order of the configuration.
    pub endpoints: Vec<Arc<Endpoint>>,
    balancer: Balancer,
    budget: Budget,
    tls: Option<Arc<GroupTls>>,
}

/// TLS to the endpoints of a group. Kept over generations while unchanged, with the sessions it can resume.
#[derive(Debug)]
pub(super) struct GroupTls {
    /// Offers what the group speaks.
    pub(super) requests: Connector,
    /// Offers `http/1.1` only.
    pub(super) bytes: Connector,
}

/// Why a group cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// It has no endpoint.
    #[error("it has no endpoint")]
    Empty,
    /// A weight is 0.
    #[error("the weight of endpoint {0} is 0; it is 1 to 65535")]
    Weight(Arc<str>),
    /// An endpoint is there more than once.
    #[error("endpoint {0} is there twice; give it a weight instead")]
    Duplicate(Arc<str>),
    /// An endpoint's name is empty or its port 0.
    #[error("endpoint {0} has no host or no port")]
    Address(Arc<str>),
    /// TLS is asked for, but nothing says which name the endpoint's certificate should have.
    #[error("endpoint {0} has no host that could be in a certificate: TLS to it needs a server name")]
    ServerName(Arc<str>),
    /// TLS cannot be set up.
    #[error("TLS to it cannot be: {0}")]
    Tls(#[from] TlsError),
    /// The sticky cookie cannot be sent.
    #[error(transparent)]
    Cookie(#[from] CookieError),
}

impl Group {
    /// Compiles a group. Endpoints that `previous` has too keep their identity.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn new(spec: &spec::Upstream, previous: Option<&Group>) -> Result<Self, GroupError> {
        if spec.endpoints.is_empty() {
            return Err(GroupError::Empty);
        }
        let tls = group_tls(spec, previous)?;
        // Pooled connections belong to an id: under other TLS or another protocol it must be another.
        let same_connections = previous.is_some_and(|old| {
            old.spec.protocol == spec.protocol && same_tls(old.spec.tls.as_ref(), spec.tls.as_ref())
        });
        let mut seen = HashSet::new();
        let mut endpoints = Vec::with_capacity(spec.endpoints.len());
        for endpoint in &spec.endpoints {
            let address = written(&endpoint.address);
            check(endpoint, &address, spec.tls.as_ref())?;
            if !seen.insert(address.clone()) {
                return Err(GroupError::Duplicate(address));
            }
            let old = previous.and_then(|p| p.endpoints.iter().find(|e| e.spec.address == endpoint.address));
            endpoints.push(match old {
                Some(old) if same_connections && old.spec == *endpoint => old.clone(),
                Some(old) if same_connections => Arc::new(old.with_spec(endpoint)),
                old => Arc::new(Endpoint::new(endpoint, address, old.map(Arc::as_ref))),
            });
        }
        let balancer = Balancer::new(spec, &endpoints)?;
        let budget = Budget::new(&spec.retry, previous.map(|p| &p.budget));
        Ok(Group { spec: spec.clone(), endpoints, balancer, budget, tls })
    }

    /// Chooses an endpoint that is not in `tried` (ids) as long as there is another; prefers those not skipped.
    /// `key` overrides what a hash is taken of. `None`: there is none with an address.
    pub fn choose(&self, exchange: &Exchange, key: Option<&[u8]>, tried: &[usize]) -> Option<Choice> {
        let (index, set_cookie) = self.balancer.choose(&self.endpoints, exchange, key, tried)?;
        self.endpoints.get(index).map(|endpoint| Choice::new(endpoint, set_cookie))
    }

    /// The endpoint of this configured address, counted as load.
    pub fn endpoint(&self, address: &str) -> Option<Choice> {
        let endpoint = self.endpoints.iter().find(|endpoint| &*endpoint.address == address)?;
        Some(Choice::new(endpoint, None))
    }

    /// What `select_upstream` may choose from.
    pub fn candidates(&self) -> Vec<Candidate> {
        let candidate = |endpoint: &Arc<Endpoint>| Candidate {
            address: endpoint.address.clone(),
            weight: endpoint.spec.weight,
            load: endpoint.load.load(Ordering::Relaxed),
            available: endpoint.is_available(),
        };
        self.endpoints.iter().map(candidate).collect()
    }

    /// Tells the retry budget of a request; called once an exchange.
    pub fn count_request(&self) {
        self.budget.count();
    }

    /// Takes one retry from the budget; false: there is none left.
    pub fn take_retry(&self) -> bool {
        self.budget.take()
    }

    /// TLS to the endpoints; `None`: plain.
    pub(super) fn tls(&self) -> Option<&GroupTls> {
        self.tls.as_deref()
    }

    /// The name that TLS to an endpoint verifies where the configuration gives none.
    pub(super) fn server_name(&self, endpoint: &Endpoint) -> Option<ServerName<'static>> {
        let configured = self.spec.tls.as_ref().and_then(|tls| tls.server_name.clone());
        configured.or_else(|| server_name(&endpoint.spec.address))
    }
}

/// What can be wrong with one endpoint.
fn check(
    endpoint: &spec::EndpointSpec,
    address: &Arc<str>,
    tls: Option<&UpstreamTls>,
) -> Result<(), GroupError> {
    let usable = match &endpoint.address {
        spec::EndpointAddress::Ip(address) => address.port() != 0,
        spec::EndpointAddress::Name(host, port) => !host.is_empty() && *port != 0,
        spec::EndpointAddress::Unix(path) => !path.as_os_str().is_empty(),
    };
    if !usable {
        return Err(GroupError::Address(address.clone()));
    }
    if endpoint.weight == 0 {
        return Err(GroupError::Weight(address.clone()));
    }
    if tls.is_some_and(|tls| tls.server_name.is_none()) && server_name(&endpoint.address).is_none() {
        return Err(GroupError::ServerName(address.clone()));
    }
    Ok(())
}

fn group_tls(spec: &spec::Upstream, previous: Option<&Group>) -> Result<Option<Arc<GroupTls>>, TlsError> {
    let Some(tls) = &spec.tls else { return Ok(None) };
    if let Some(old) = previous
        && old.spec.protocol == spec.protocol
        && same_tls(old.spec.tls.as_ref(), Some(tls))
    {
        return Ok(old.tls.clone());
    }
    let alpn: &[&str] = match spec.protocol {
        Protocol::Http1 => &["http/1.1"],
        Protocol::Http2 => &["h2"],
        Protocol::Auto => &["h2", "http/1.1"],
    };
    let requests = Connector::new(tls, alpn)?;
    let bytes = Connector::new(tls, &["http/1.1"])?;
    Ok(Some(Arc::new(GroupTls { requests, bytes })))
}

/// Whether connections made under one are as good under the other.
fn same_tls(a: Option<&UpstreamTls>, b: Option<&UpstreamTls>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            let certificate = |tls: &UpstreamTls| tls.client_certificate.as_ref().map(|c| c.cert.clone());
            a.verify == b.verify
                && a.server_name == b.server_name
                && a.min_version == b.min_version
                && a.roots.roots == b.roots.roots
                && certificate(a) == certificate(b)
        }
        _ => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::Duration;

    /// A group of these endpoints, each `address` or `address weight`, with defaults for all the rest.
    pub(in crate::upstream) fn upstream(endpoints: &[&str], balance: spec::Balance) -> spec::Upstream {
        let endpoint = |text: &&str| {
            let (address, weight) = text.split_once(' ').unwrap_or((text, "1"));
            let address = match (address.parse(), address.strip_prefix("unix:")) {
                (Ok(ip), _) => spec::EndpointAddress::Ip(ip),
                (_, Some(path)) => spec::EndpointAddress::Unix(path.into()),
                _ => {
                    let (host, port) = address.split_once(':').expect("host:port");
                    spec::EndpointAddress::Name(host.into(), port.parse().expect("a port"))
                }
            };
            spec::EndpointSpec { address, weight: weight.parse().expect("a weight") }
        };
        spec::Upstream {
            name: "app".into(),
            endpoints: endpoints.iter().map(endpoint).collect(),
            balance,
            protocol: Protocol::Http1,
            tls: None,
            timeouts: spec::UpstreamTimeouts::default(),
            max_idle: 256,
            idle_timeout: Duration::from_secs(60),
            retry: spec::Retry::default(),
            skip_refused: Duration::from_secs(10),
            resolve_every: Duration::from_secs(30),
            replay_body: 64 << 10,
        }
    }

    fn error(endpoints: &[&str]) -> String {
        match Group::new(&upstream(endpoints, spec::Balance::Random), None) {
            Ok(_) => "none".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_is_wrong_with_a_group_is_said() {
        assert_eq!(error(&["10.0.0.1:80", "10.0.0.1:81 9"]), "none");
        assert_eq!(error(&[]), "it has no endpoint");
        assert_eq!(error(&["app:80 0"]), "the weight of endpoint app:80 is 0; it is 1 to 65535");
        assert_eq!(
            error(&["app:80", "app:80 2"]),
            "endpoint app:80 is there twice; give it a weight instead"
        );
        assert_eq!(error(&["10.0.0.1:0"]), "endpoint 10.0.0.1:0 has no host or no port");
        assert_eq!(error(&[":80"]), "endpoint :80 has no host or no port");
        assert_eq!(error(&["unix:"]), "endpoint unix: has no host or no port");
    }

    #[test]
    fn tls_without_a_name_to_verify_is_an_error() {
        let tls = UpstreamTls {
            roots: Arc::new(rustls::RootCertStore::empty()),
            verify: true,
            server_name: None,
            client_certificate: None,
            min_version: spec::TlsVersion::Tls12,
        };
        for (endpoint, bad) in
            [("unix:/run/app", true), ("ba$d:80", true), ("[::1]:80", false), ("a.b:80", false)]
        {
            let upstream = upstream(&[endpoint], spec::Balance::Random);
            let result = check(&upstream.endpoints[0], &endpoint.into(), Some(&tls));
            assert_eq!(matches!(result, Err(GroupError::ServerName(_))), bad, "{endpoint}");
        }
        let named = UpstreamTls { server_name: ServerName::try_from("app").ok(), ..tls.clone() };
        let upstream = upstream(&["unix:/run/app"], spec::Balance::Random);
        assert!(check(&upstream.endpoints[0], &"unix:/run/app".into(), Some(&named)).is_ok());
        assert!(same_tls(Some(&tls), Some(&tls.clone())));
        assert!(!same_tls(Some(&tls), Some(&named)));
        assert!(!same_tls(Some(&tls), None));
    }

    #[test]
    fn endpoints_keep_their_identity_by_address_while_connections_stay_good() {
        let spec = upstream(&["10.0.0.1:80", "10.0.0.2:80"], spec::Balance::RoundRobin);
        let old = Group::new(&spec, None).expect("a good group");
        let held = old.endpoint("10.0.0.1:80").expect("it is there");

        let spec = upstream(&["10.0.0.3:80", "10.0.0.2:80", "10.0.0.1:80 5"], spec::Balance::Random);
        let new = Group::new(&spec, Some(&old)).expect("a good group");
        assert!(Arc::ptr_eq(&old.endpoints[1], &new.endpoints[1]));
        assert_eq!(old.endpoints[0].id, new.endpoints[2].id);
        assert_eq!(new.endpoints[2].spec.weight, 5);
        assert_eq!(new.candidates()[2].load, 1);
        drop(held);
        assert_eq!(new.candidates()[2].load, 0);
        assert!(old.endpoints.iter().all(|e| e.id != new.endpoints[0].id));

        let mut spec = spec;
        spec.protocol = Protocol::Http2;
        let other = Group::new(&spec, Some(&new)).expect("a good group");
        assert!(new.endpoints.iter().zip(&other.endpoints).all(|(a, b)| a.id != b.id));
        assert!(Arc::ptr_eq(&new.endpoints[0].load, &other.endpoints[0].load));
    }

    #[test]
    fn an_endpoint_is_named_by_its_configured_address() {
        let spec = upstream(&["app.internal:80", "unix:/run/app.sock"], spec::Balance::Random);
        let group = Group::new(&spec, None).expect("a good group");
        assert_eq!(
            group.endpoint("unix:/run/app.sock").expect("it is there").endpoint.id,
            group.endpoints[1].id
        );
        assert!(group.endpoint("app.internal").is_none());
        let available: Vec<bool> = group.candidates().iter().map(|c| c.available).collect();
        assert_eq!(available, [false, true]);
    }
}
