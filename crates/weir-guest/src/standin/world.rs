//! What the host keeps, for one thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::bindings::weir::plugin::http::Call;
use crate::standin::http::HttpResponse;
use crate::standin::websocket::Relay;
use crate::{Error, testing};

/// A value of the key-value store, and when it ends.
pub(crate) type Value = (Vec<u8>, Option<f64>);

/// What answers the plugin's own requests.
pub(crate) type Answer = Box<dyn FnMut(&Call) -> Result<HttpResponse, Error>>;

/// All of it.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) log: Vec<(testing::Level, String)>,
    /// By namespace (the plugin's own: empty) and key.
    pub(crate) kv: BTreeMap<(String, Vec<u8>), Value>,
    pub(crate) namespaces: BTreeSet<String>,
    pub(crate) secrets: BTreeMap<String, Vec<u8>>,
    pub(crate) metrics: BTreeMap<String, f64>,
    pub(crate) timers: BTreeMap<String, f64>,
    /// Seconds since the thread's begin of time.
    pub(crate) now: f64,
    pub(crate) answer: Option<Answer>,
    pub(crate) relays: BTreeMap<String, Relay>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Looks at it, or changes it.
pub(crate) fn with<R>(work: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(work)
}
