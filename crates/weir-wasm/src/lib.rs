//! weir's WASM engine: plugins as components of the world in `weir-plugin`'s `wit/`.
//!
//! This crate must never know the data plane or another engine; and it only converts: what plugins may see and do is
//! `weir-plugin`'s.
//!
//! In reading order: `plugin` (what a snapshot holds), `component` (what a component imports and exports), `engine` and
//! `cache` (how it is compiled), `instance` (a plugin on a worker, and which guest an exchange gets), `guest` (one store
//! and its calls, one at a time), `calls` (the hooks), `visit` (a guest on an exchange, a body, a relay), `now` (the call
//! that runs), `host` (what guests call), `ticker`, `limits` and `starts` (what they may use), `local` (what cannot be sent),
//! `wasi` (what standard libraries import), `code` (loading native code).

mod bindings;
mod cache;
mod calls;
mod code;
mod component;
mod engine;
mod guest;
mod host;
mod instance;
mod limits;
mod local;
mod now;
mod plugin;
mod returned;
mod starts;
#[cfg(test)]
mod tests;
mod ticker;
mod visit;
mod wasi;

pub use component::{Compiled, Inspected, Kind, inspect};
pub use engine::make_room;
pub use plugin::{LoadError, WasmPlugin};
