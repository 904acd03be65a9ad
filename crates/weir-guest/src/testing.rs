//! For tests of a plugin, which run without weir and without WebAssembly: `cargo test`.
//!
//! Requests, responses and relays are made with their `new`; hooks are called as the methods that they are. What the plugin
//! did with services is looked at here. All of it belongs to the thread of the test.
//!
//! ```
//! use weir_guest::prelude::*;
//! use weir_guest::testing::{self, Level};
//!
//! let req = Request::new("GET", "/a?b=c").with_header("accept", "*/*");
//! assert_eq!(req.query().text("b").as_deref(), Some("c"));
//! log::info("seen");
//! assert_eq!(testing::log(), [(Level::Info, "seen".to_owned())]);
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use crate::Error;
use crate::bindings::weir::plugin::types::{Direction, Frame, Hooks, Opcode};
use crate::http::Response;
use crate::standin::world;
use crate::table::{self, Exported};

/// Of a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For who works on the plugin.
    Debug,
    /// Tells what happens.
    Info,
    /// For what may be wrong.
    Warn,
    /// For what is wrong.
    Error,
}

/// What weir does when it loads the plugin with these settings, which are JSON: the filter, and the hooks that weir would
/// call. The filter must be exported.
///
/// # Errors
/// The text with which weir would refuse the configuration.
pub fn load<T: Exported>(settings: &str) -> Result<(T, Hooks), String> {
    table::load(settings)
}

/// The lines of the log so far.
#[must_use]
pub fn log() -> Vec<(Level, String)> {
    world::with(|world| world.log.clone())
}

/// The value of each series: `name` or `name{label="value"}`. Of a histogram, how many values were counted.
#[must_use]
pub fn metrics() -> BTreeMap<String, f64> {
    world::with(|world| world.metrics.clone())
}

/// Timers that are set, and after which time they are over.
#[must_use]
pub fn timers() -> BTreeMap<String, Duration> {
    let timers = world::with(|world| world.timers.clone());
    timers.into_iter().map(|(name, seconds)| (name, Duration::from_secs_f64(seconds))).collect()
}

/// Sets a secret.
pub fn secret(name: &str, value: impl Into<Vec<u8>>) {
    world::with(|world| world.secrets.insert(name.to_owned(), value.into()));
}

/// Grants a namespace of the key-value store that plugins share.
pub fn grant(namespace: &str) {
    world::with(|world| world.namespaces.insert(namespace.to_owned()));
}

/// Lets time pass.
pub fn advance(time: Duration) {
    world::with(|world| world.now += time.as_secs_f64());
}

/// Answers the plugin's own requests from now on.
pub fn answer(
    answer: impl FnMut(&crate::bindings::weir::plugin::http::Call) -> Result<Response, Error> + 'static,
) {
    world::with(|world| world.answer = Some(Box::new(answer)));
}

/// A message of text, as a hook gets it.
#[must_use]
pub fn text(direction: Direction, data: &str) -> Frame {
    message(direction, Opcode::Text, data.as_bytes())
}

/// A message, as a hook gets it.
#[must_use]
pub fn message(direction: Direction, opcode: Opcode, data: &[u8]) -> Frame {
    Frame {
        direction,
        opcode,
        data: data.to_vec(),
        first: true,
        last: true,
        sequence: 1,
        compressed: false,
        size: data.len() as u64,
    }
}
