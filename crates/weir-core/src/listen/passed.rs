//! Listening sockets on their way from one process to the next: nothing that waits in their queues is lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::bind;
use crate::spec::{ListenAddress, Listener};

/// The sockets of one listener.
#[derive(Debug)]
pub struct Passed {
    /// Its name.
    pub listener: Arc<str>,
    /// What it was asked to bind.
    pub place: ListenAddress,
    /// All of them. Sockets that workers share are passed once.
    pub sockets: Vec<OwnedFd>,
    /// Device and inode of the file of a Unix socket that is to go with the last who listens there.
    pub file: Option<(u64, u64)>,
}

impl Passed {
    /// Where it is bound; `None` for a Unix socket.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.sockets.first().and_then(|socket| bind::local_address(socket).ok().flatten())
    }
}

/// How well sockets fit what is wanted, the best first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// The same listener in the same place: tells those apart for which the kernel chose the port.
    Listener,
    /// Where it is bound.
    Address,
    /// What it was asked to bind.
    Place,
}

/// Whether something that was asked to bind `place`, and is bound at `address`, is where a listener is wanted. The mode of
/// a Unix socket does not count.
pub(crate) fn is_at(wanted: &ListenAddress, place: &ListenAddress, address: Option<SocketAddr>) -> bool {
    match (wanted, place) {
        (ListenAddress::Tcp(wanted), _) if Some(*wanted) == address => true,
        (ListenAddress::Unix { path: a, .. }, ListenAddress::Unix { path: b, .. }) => a == b,
        (a, b) => a == b,
    }
}

/// Which sockets belong to which of these listeners, by name. Those that no listener wants are closed.
pub(crate) fn claim(listeners: &[&Listener], mut passed: Vec<Passed>) -> BTreeMap<Arc<str>, Passed> {
    let mut claimed = BTreeMap::new();
    for fit in [Fit::Listener, Fit::Address, Fit::Place] {
        for listener in listeners {
            if claimed.contains_key(&listener.name) {
                continue;
            }
            let fits = |passed: &Passed| {
                let (wanted, address) = (&listener.address, passed.address());
                match fit {
                    Fit::Listener => passed.place == *wanted && passed.listener == listener.name,
                    Fit::Address => matches!(wanted, ListenAddress::Tcp(wanted) if Some(*wanted) == address),
                    Fit::Place => is_at(wanted, &passed.place, address),
                }
            };
            if let Some(index) = passed.iter().position(fits) {
                claimed.insert(listener.name.clone(), passed.swap_remove(index));
            }
        }
    }
    for Passed { listener, place, .. } in passed {
        tracing::info!(%listener, ?place, "no listener wants this any more: its sockets are closed");
    }
    claimed
}
