//! Names of endpoints, looked up in the background.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::clock;
use super::endpoint::Endpoint;
use super::group::Group;
use crate::snapshot::Snapshot;
use crate::spec::EndpointAddress;

/// How often it is looked which names are due.
const TICK: Duration = Duration::from_secs(1);
/// How long one lookup may take.
const LOOKUP: Duration = Duration::from_secs(10);
/// How soon a name that never was resolved is tried again.
const UNRESOLVED: Duration = Duration::from_secs(2);

/// Looks up the names of all endpoints that have no address yet, all at once, for at most this long. To be awaited
/// before a snapshot is published; what takes longer is left to [`resolve_forever`]. Needs a tokio runtime.
pub async fn resolve_first(snapshot: &Snapshot, at_most: Duration) {
    let unresolved = named(snapshot).filter(|(_, endpoint)| !endpoint.health.has_address());
    resolve(unresolved, at_most).await;
}

/// As [`resolve_first`], but blocks the calling thread, which may belong to a runtime.
///
/// # Errors
/// When neither thread nor runtime can be made.
pub fn resolve_blocking(snapshot: &Snapshot, at_most: Duration) -> io::Result<()> {
    if named(snapshot).all(|(_, endpoint)| endpoint.health.has_address()) {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::scope(|scope| {
        std::thread::Builder::new().name("weir-resolve".into()).spawn_scoped(scope, || {
            runtime.block_on(resolve_first(snapshot, at_most));
            // A lookup that still blocks must not hold the start.
            runtime.shutdown_background();
        })?;
        Ok(())
    })
}

/// Keeps looking up the names of the endpoints of the published snapshot, each as often as its group asks for. An
/// answer replaces the last one; a failure is logged and changes nothing. Never ends; cancel safe. For the control
/// runtime: lookups run on its blocking threads.
pub async fn resolve_forever(published: Arc<ArcSwap<Snapshot>>) {
    loop {
        let snapshot = published.load_full();
        let now = clock::millis();
        let due =
            |(_, endpoint): &(_, &Arc<Endpoint>)| endpoint.health.resolve_at.load(Ordering::Relaxed) <= now;
        resolve(named(&snapshot).filter(due), LOOKUP).await;
        drop(snapshot);
        sleep(TICK).await;
    }
}

/// Endpoints that have a name, with their groups.
fn named(snapshot: &Snapshot) -> impl Iterator<Item = (&Group, &Arc<Endpoint>)> {
    let all = snapshot.groups.values().flat_map(|group| group.endpoints.iter().map(move |e| (&**group, e)));
    all.filter(|(_, endpoint)| matches!(endpoint.spec.address, EndpointAddress::Name(..)))
}

async fn resolve<'a>(endpoints: impl Iterator<Item = (&'a Group, &'a Arc<Endpoint>)>, at_most: Duration) {
    let end = Instant::now() + at_most.min(LOOKUP);
    join_all(endpoints.map(|(group, endpoint)| resolve_one(group, endpoint, end))).await;
}

async fn resolve_one(group: &Group, endpoint: &Endpoint, end: Instant) {
    let EndpointAddress::Name(host, port) = &endpoint.spec.address else { return };
    let answer = match timeout_at(end, tokio::net::lookup_host((&**host, *port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(error),
        Err(elapsed) => Err(elapsed.into()),
    };
    take(group, endpoint, answer);
}

/// Takes an answer in, and sets when to ask again.
fn take(group: &Group, endpoint: &Endpoint, answer: io::Result<Vec<SocketAddr>>) {
    let health = &endpoint.health;
    let failure = match answer {
        Ok(addresses) if addresses.is_empty() => Some("the name has no address".to_owned()),
        Ok(addresses) => {
            health.resolved(addresses);
            None
        }
        Err(error) => Some(error.to_string()),
    };
    let failed_before = health.lookup_failed.swap(failure.is_some(), Ordering::Relaxed);
    match failure {
        Some(error) if !failed_before => tracing::warn!(
            upstream = %group.spec.name, endpoint = %endpoint.address, error,
            kept = health.has_address(), "the name of an endpoint cannot be resolved"
        ),
        None if failed_before => tracing::info!(
            upstream = %group.spec.name, endpoint = %endpoint.address, "the name of an endpoint is resolved again"
        ),
        _ => {}
    }
    let mut pause = group.spec.resolve_every.max(TICK);
    if !health.has_address() {
        pause = pause.min(UNRESOLVED);
    }
    let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    health.resolve_at.store(clock::millis().saturating_add(pause), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Balance;
    use crate::upstream::group::tests::upstream;

    fn group(endpoint: &str) -> Group {
        Group::new(&upstream(&[endpoint], Balance::Random), None).expect("a good group")
    }

    #[tokio::test]
    async fn a_name_in_the_hosts_file_gets_its_addresses() {
        let group = group("localhost:8080");
        resolve([(&group, &group.endpoints[0])].into_iter(), LOOKUP).await;
        let addresses = group.endpoints[0].health.addresses();
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|a| a.ip().is_loopback() && a.port() == 8080), "{addresses:?}");
        assert!(group.endpoints[0].is_available());
    }

    #[test]
    fn a_failure_keeps_the_last_good_answer() {
        let group = group("app.internal:80");
        let endpoint = &group.endpoints[0];
        let due_in = || endpoint.health.resolve_at.load(Ordering::Relaxed).saturating_sub(clock::millis());
        take(&group, endpoint, Err(io::ErrorKind::TimedOut.into()));
        assert!(!endpoint.is_available());
        assert!(due_in() <= 2000, "an unresolved name is soon tried again");
        let address: SocketAddr = ([10, 0, 0, 1], 80).into();
        take(&group, endpoint, Ok(vec![address]));
        assert!(endpoint.is_available());
        assert!(due_in() > 20_000);
        take(&group, endpoint, Err(io::ErrorKind::TimedOut.into()));
        take(&group, endpoint, Ok(Vec::new()));
        assert_eq!(**endpoint.health.addresses(), [address]);
        assert!(endpoint.is_available());
    }
}
