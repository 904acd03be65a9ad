//! The host API of weir: what a plugin is, what it sees and what it may do.
//!
//! Engines (Lua, WebAssembly, [`native`] closures) implement [`Plugin`] and [`Instance`]; the data plane calls
//! them and knows nothing else about them. Every rule about plugins lives here, once; an engine only converts.
//!
//! This crate must never know an engine, a socket or a runtime.
//!
//! In reading order: [`plugin`] (what an engine implements), [`verdict`] (what a hook returns), [`exchange`] and
//! [`connection`] (what a hook sees), [`native`] (plugins as Rust closures).

pub mod connection;
pub mod exchange;
pub mod native;
pub mod plugin;
pub mod verdict;

pub use connection::{ClientCertificate, Connection, Peer, Tls};
pub use exchange::{Captures, Exchange};
pub use plugin::{Hooks, Instance, Plugin, PluginError, Step};
pub use verdict::{Candidate, Reply, Target, Verdict};
