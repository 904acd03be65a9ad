//! What stands in for the host off WebAssembly: messages and relays in memory, a key-value store, lines of the log that are
//! kept, a clock that stands still. The functions are those of the generated bindings, with the same signatures.
//!
//! Everything belongs to the thread that calls: tests of one plugin do not see each other.
#![allow(unreachable_pub, reason = "named from outside as what stands in for it is")]

pub mod codec;
pub mod message;
pub mod services;
pub mod websocket;
pub(crate) mod world;

pub use services::{crypto, http, ip, jwt, kv, log, metrics, password, regex, secrets, time, timer};
