//! Harness of the end-to-end tests: the real `weir` binary between real servers and clients, all on 127.0.0.1.
//!
//! Every wait here is for a signal (a line, a byte, a close, an exit) and ends with a panic after [`PATIENCE`];
//! nothing sleeps, and nothing depends on how long something took. What a test starts it also ends, by process id.
//!
//! In reading order: [`process`] (children and their lines), [`weir`] (the binary and a running proxy), [`raw`]
//! (a client and an upstream that speak bytes), [`answer`] (reading a response off the wire), [`certificates`],
//! [`nginx`], [`pebble`] (an authority), [`node`] (servers), [`tools`] (programs that `cargo xtask setup` installs),
//! [`autobahn`] (its cases, in all the ways in which weir carries a WebSocket), [`conformance`] (cases that every engine of
//! plugins passes).

pub mod answer;
pub mod autobahn;
pub mod certificates;
pub mod conformance;
pub mod nginx;
pub mod node;
pub mod pebble;
pub mod process;
pub mod raw;
pub mod registry;
pub mod tools;
pub mod weir;

use std::time::Duration;

pub use answer::Answer;
pub use certificates::Authority;
pub use process::Process;
pub use raw::{RawClient, RawUpstream};
pub use weir::Weir;

/// How long a test waits for something that must happen. Long, because only a failing test ever waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);
