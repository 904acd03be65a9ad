//! The relays of a server as plugins are lent them.

use std::sync::Arc;

use weir_plugin::services::WebSockets;
use weir_plugin::websocket::Relay;

use crate::worker::Worker;

/// The WebSocket relays of the server on whose workers a plugin runs. Before it runs on one, there are none.
#[derive(Debug, Default)]
pub struct WorkerRelays;

impl WebSockets for WorkerRelays {
    fn relay(&self, id: u64) -> Option<Arc<dyn Relay>> {
        Worker::current()?.relays().relay(id)
    }

    fn members(&self, group: &str) -> Vec<Arc<dyn Relay>> {
        Worker::current().map(|worker| worker.relays().members(group)).unwrap_or_default()
    }

    fn count(&self, group: &str) -> usize {
        Worker::current().map_or(0, |worker| worker.relays().count(group))
    }
}
