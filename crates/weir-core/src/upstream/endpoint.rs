//! One endpoint and what all workers know of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use http::HeaderValue;
use rustls::pki_types::ServerName;

use super::clock;
use crate::spec::{EndpointAddress, EndpointSpec};

/// An endpoint, with what all workers know of it.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in this process, also over generations: an unchanged endpoint keeps its id, pools and load.
    pub id: usize,
    /// As configured, for example `10.0.0.1:8080` or `unix:/run/app.sock`.
    pub address: Arc<str>,
    /// What was asked for.
    pub spec: EndpointSpec,
    /// Exchanges under way, over all workers and over generations that have this endpoint.
    pub load: Arc<AtomicU32>,
    /// Whether it can be reached, as far as is known.
    pub(super) health: Arc<Health>,
}

/// Whether an endpoint can be reached. Outlives generations.
#[derive(Debug)]
pub(super) struct Health {
    /// Milliseconds of [`clock`]; 0: not skipped.
    skip_until: AtomicU64,
    /// Whether there is an address to connect to.
    has_address: AtomicBool,
    /// The last good answer to the name; for an IP endpoint that address; empty for a Unix socket.
    addresses: ArcSwap<Vec<SocketAddr>>,
    /// When the name is to be looked up again, in milliseconds of [`clock`].
    pub(super) resolve_at: AtomicU64,
    /// Whether the last lookup failed; so that it is logged once and not each time.
    pub(super) lookup_failed: AtomicBool,
}

/// A chosen endpoint. Counts as load of the endpoint until it is dropped.
#[derive(Debug)]
pub struct Choice {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// A `Set-Cookie` to add to the response, for sticky groups.
    pub set_cookie: Option<HeaderValue>,
}

impl Endpoint {
    /// An endpoint with an id of its own, and the load and health of `like` if there is one.
    pub(super) fn new(spec: &EndpointSpec, address: Arc<str>, like: Option<&Endpoint>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let (load, health) = match like {
            Some(old) => (old.load.clone(), old.health.clone()),
            None => (Arc::new(AtomicU32::new(0)), Arc::new(Health::new(&spec.address))),
        };
        Endpoint { id, address, spec: spec.clone(), load, health }
    }

    /// The same endpoint under another weight.
    pub(super) fn with_spec(&self, spec: &EndpointSpec) -> Self {
        Endpoint {
            id: self.id,
            address: self.address.clone(),
            spec: spec.clone(),
            load: self.load.clone(),
            health: self.health.clone(),
        }
    }

    /// False while it is skipped because it refused connections, and before its name was first resolved.
    pub fn is_available(&self) -> bool {
        self.health.has_address() && !self.health.is_skipped()
    }

    /// From now on chosen only where no other is left, for so long. Zero: not at all.
    pub(super) fn skip(&self, time: Duration) {
        self.health.skip_at(clock::millis(), time);
    }

    /// It took a connection: it is chosen again.
    pub(super) fn welcome(&self) {
        if self.health.skip_until.load(Ordering::Relaxed) != 0 {
            self.health.skip_until.store(0, Ordering::Relaxed);
        }
    }
}

impl Health {
    fn new(address: &EndpointAddress) -> Self {
        let (known, addresses) = match address {
            EndpointAddress::Ip(address) => (true, vec![*address]),
            EndpointAddress::Unix(_) => (true, Vec::new()),
            EndpointAddress::Name(..) => (false, Vec::new()),
        };
        Health {
            skip_until: AtomicU64::new(0),
            has_address: AtomicBool::new(known),
            addresses: ArcSwap::from_pointee(addresses),
            resolve_at: AtomicU64::new(0),
            lookup_failed: AtomicBool::new(false),
        }
    }

    pub(super) fn has_address(&self) -> bool {
        self.has_address.load(Ordering::Acquire)
    }

    /// Reads the clock only if it has been skipped since it last took a connection.
    pub(super) fn is_skipped(&self) -> bool {
        let until = self.skip_until.load(Ordering::Relaxed);
        until != 0 && clock::millis() < until
    }

    pub(super) fn skip_at(&self, now: u64, time: Duration) {
        if !time.is_zero() {
            let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            self.skip_until.store(now.saturating_add(time), Ordering::Relaxed);
        }
    }

    pub(super) fn addresses(&self) -> Guard<Arc<Vec<SocketAddr>>> {
        self.addresses.load()
    }

    /// What a name resolved to; an empty answer changes nothing.
    pub(super) fn resolved(&self, addresses: Vec<SocketAddr>) {
        if !addresses.is_empty() {
            self.addresses.store(Arc::new(addresses));
            self.has_address.store(true, Ordering::Release);
        }
    }
}

impl Choice {
    /// Counts as load from now on.
    pub(super) fn new(endpoint: &Arc<Endpoint>, set_cookie: Option<HeaderValue>) -> Self {
        endpoint.load.fetch_add(1, Ordering::Relaxed);
        Choice { endpoint: endpoint.clone(), set_cookie }
    }
}

impl Drop for Choice {
    fn drop(&mut self) {
        self.endpoint.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An address as the configuration writes it.
pub(super) fn written(address: &EndpointAddress) -> Arc<str> {
    match address {
        EndpointAddress::Ip(address) => address.to_string().into(),
        EndpointAddress::Name(host, port) => format!("{host}:{port}").into(),
        EndpointAddress::Unix(path) => format!("unix:{}", path.display()).into(),
    }
}

/// The host of an address as TLS names it; `None`: it has none that could be in a certificate.
pub(super) fn server_name(address: &EndpointAddress) -> Option<ServerName<'static>> {
    match address {
        EndpointAddress::Ip(address) => Some(ServerName::IpAddress(address.ip().to_canonical().into())),
        EndpointAddress::Name(host, _) => ServerName::try_from(String::from(&**host)).ok(),
        EndpointAddress::Unix(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str) -> Endpoint {
        let spec = EndpointSpec { address: EndpointAddress::Name(host.into(), 80), weight: 1 };
        let address = written(&spec.address);
        Endpoint::new(&spec, address, None)
    }

    #[test]
    fn a_name_is_unavailable_until_it_is_resolved_and_keeps_the_last_good_answer() {
        let endpoint = named("app.internal");
        assert!(!endpoint.is_available());
        let address: SocketAddr = ([127, 0, 0, 1], 80).into();
        endpoint.health.resolved(vec![address]);
        assert!(endpoint.is_available());
        endpoint.health.resolved(Vec::new());
        assert_eq!(**endpoint.health.addresses(), [address]);
        assert!(endpoint.is_available());
    }

    #[test]
    fn a_skip_ends_by_time_or_by_a_connection() {
        let endpoint = named("app.internal");
        endpoint.health.resolved(vec![([127, 0, 0, 1], 80).into()]);
        endpoint.skip(Duration::from_secs(3600));
        assert!(!endpoint.is_available());
        endpoint.welcome();
        assert!(endpoint.is_available());
        endpoint.skip(Duration::ZERO);
        assert!(endpoint.is_available());
        // Skipped at the start of the clock for a millisecond: long over.
        endpoint.health.skip_at(0, Duration::from_millis(1));
        assert!(endpoint.is_available());
    }

    #[test]
    fn addresses_are_written_as_configured() {
        let ip = |text: &str| written(&EndpointAddress::Ip(text.parse().expect("an address")));
        assert_eq!(&*ip("10.0.0.1:8080"), "10.0.0.1:8080");
        assert_eq!(&*ip("[::1]:80"), "[::1]:80");
        assert_eq!(&*written(&EndpointAddress::Name("app".into(), 81)), "app:81");
        assert_eq!(&*written(&EndpointAddress::Unix("/run/app.sock".into())), "unix:/run/app.sock");
    }
}
