//! Tests of plugins without a proxy.
//!
//! In reading order: [`find`] (which plugins have which tests), `suite` (running the tests of one), `bench` (what a
//! test gets: a plugin, a clock, a store of its own), [`exchange`] (an exchange through a plugin of any engine),
//! `websocket` (a WebSocket), [`report`] and [`junit`] (what people and machines are told).

mod bench;
pub mod exchange;
pub mod find;
pub mod junit;
mod lines;
pub mod report;
mod suite;
mod websocket;

pub use suite::{Broken, Suite, Test, run, run_until};
