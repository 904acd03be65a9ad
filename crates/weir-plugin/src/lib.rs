//! The host API of weir: what a plugin is, what it sees and what it may do.
//!
//! Engines (Lua, WebAssembly, [`native`] closures) implement [`Plugin`], [`Instance`] and [`Visit`]; the data plane
//! calls them and knows nothing else about them. Every rule about plugins lives here, once; an engine only
//! converts. The API by which plugins themselves see all this is the WIT package in `wit/`.
//!
//! This crate must never know an engine, a socket or a runtime.
//!
//! In reading order: [`plugin`] (what an engine implements), [`policy`] (what a plugin may use and do),
//! [`verdict`] (what a hook returns), [`exchange`], [`content`] and [`connection`] (what a hook sees), [`lend`] (how it gets to
//! see that), [`message`] (the rules of reading and changing messages), [`websocket`] (frames, and the relays that they pass), [`settings`] (what a plugin is configured
//! with), [`services`] and [`timers`] (what it is lent), [`namespace`] (whose values are whose), [`secrets`] (what it
//! alone is told), [`native`] (plugins as Rust closures), [`scenario`] (exchanges of tests).

pub mod connection;
pub mod content;
pub mod error;
pub mod exchange;
pub mod lend;
pub mod message;
pub mod namespace;
pub mod native;
pub mod plugin;
pub mod policy;
pub mod scenario;
pub mod secrets;
pub mod services;
pub mod settings;
pub mod ticker;
pub mod timers;
pub mod verdict;
pub mod websocket;

pub use connection::{ClientCertificate, Connection, Peer, Tls};
pub use content::{Content, Source};
pub use error::Error;
pub use exchange::{Captures, Exchange, Phase};
pub use lend::{ConnectionLoan, Held, Loan, Slot};
pub use namespace::Namespace;
pub use plugin::{Flow, Hooks, Instance, Plugin, PluginError, Step, Talk, Visit};
pub use policy::{Grants, Limits, OnFailure, Policy};
pub use secrets::Secrets;
pub use timers::Timers;
pub use verdict::{Candidate, ConnectVerdict, Piece, Reply, Selection, Target, Verdict};
pub use websocket::WebSocket;
