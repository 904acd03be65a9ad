//! Plugins as Lua scripts. Lua is Luau: the one Lua with a real sandbox, limits of memory, and interrupts that work
//! inside compiled code and library functions.
//!
//! A binding only converts: every rule about what a plugin may see and do lives in [`weir_plugin`].
//!
//! In reading order: [`Source`] (a script and the files beside it), [`LuaPlugin`] (checked and compiled), `functions` (the
//! table that it returns), `state` (a
//! Lua state of a plugin on a worker), `call` (running a hook: turns, budgets, cancelling), `ticker` (when a turn has
//! lasted long enough), `handles` (requests, responses, frames and relays as scripts see them), `talk` (a
//! script on a relay), `saved` (what it keeps of one, as bytes), `host` (the table `weir`), `services` (what it lends),
//! `values` (settings and JSON), [`testing`] (tests of plugins, as scripts).

mod call;
mod fault;
mod functions;
mod handles;
mod host;
mod http;
mod plugin;
mod saved;
mod services;
mod source;
mod state;
mod talk;
pub mod testing;
mod ticker;
mod values;

#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use plugin::{LoadError, LuaPlugin};
pub use source::Source;
