//! The WebSocket relays of this process.

use std::fmt::Debug;
use std::sync::Arc;

use crate::websocket::Relay;

/// The WebSocket relays of this process, on all workers. What a plugin may do with them is
/// [`crate::websocket::Access`]'s.
pub trait WebSockets: Debug + Send + Sync {
    /// The relay of this id; `None` where there is none (any more).
    fn relay(&self, id: u64) -> Option<Arc<dyn Relay>>;

    /// Those that are in a group, in no order.
    fn members(&self, group: &str) -> Vec<Arc<dyn Relay>>;

    /// How many are in a group.
    fn count(&self, group: &str) -> usize;
}

/// No relays: for plugins that are tried.
#[derive(Debug)]
pub struct NoWebSockets;

impl WebSockets for NoWebSockets {
    fn relay(&self, _: u64) -> Option<Arc<dyn Relay>> {
        None
    }

    fn members(&self, _: &str) -> Vec<Arc<dyn Relay>> {
        Vec::new()
    }

    fn count(&self, _: &str) -> usize {
        0
    }
}
