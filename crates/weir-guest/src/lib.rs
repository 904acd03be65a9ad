//! Plugins of weir in Rust, compiled to WebAssembly components.
//!
//! A plugin is a type with [`Filter`], which makes it of its settings, and one more trait for each hook that it has:
//! [`OnRequest`], [`OnResponse`], [`OnMessage`] and so on. [`export!`] makes the component of it; which hooks weir is told
//! of follows from the traits alone, so a hook that is written is called, and one that is not costs nothing.
//!
//! ```
//! use weir_guest::prelude::*;
//!
//! #[derive(serde::Deserialize)]
//! struct Settings {
//!     block: String,
//! }
//!
//! struct Guard(Settings);
//!
//! impl Filter for Guard {
//!     type Settings = Settings;
//!     type Exchange = ();
//!
//!     fn load(settings: Settings) -> Result<Guard> {
//!         Ok(Guard(settings))
//!     }
//! }
//!
//! impl OnRequest for Guard {
//!     fn on_request(&self, _: &mut (), req: &Request) -> Result<Verdict> {
//!         if req.path() == self.0.block {
//!             return Ok(Reply::text(403, "not here\n").into());
//!         }
//!         req.headers().set("x-guard", b"passed")?;
//!         Ok(Verdict::Proceed)
//!     }
//! }
//!
//! weir_guest::export!(Guard);
//! # fn main() {}
//! ```
//!
//! Off WebAssembly, as in `cargo test`, the same types are there and kept in memory, and the module `testing` makes and
//! looks at them: a plugin is tested without weir and without a WebAssembly runtime.
//!
//! In reading order: [`filter`] and [`verdict`] (what a plugin has), [`message`] and [`websocket`] (what its hooks are
//! given), [`kv`], [`http`] and the other services, `table` (which hooks there are), `glue` (the component).

#[doc(hidden)]
pub mod bindings;
pub mod filter;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod glue;
pub mod http;
pub mod kv;
pub mod log;
pub mod message;
pub mod metrics;
#[cfg(not(target_family = "wasm"))]
mod standin;
#[doc(hidden)]
pub mod table;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod time;
pub mod timer;
pub mod verdict;

/// The host's functions: of the component, or what stands in for them.
#[cfg(target_family = "wasm")]
use bindings::weir::plugin as sys;
#[cfg(not(target_family = "wasm"))]
use standin as sys;

pub use bindings::weir::plugin::types::{Error, Hooks};
pub use filter::{
    Failure, Filter, Migrate, OnClose, OnConnect, OnFrame, OnLog, OnMessage, OnRequest, OnRequestBody,
    OnResponse, OnResponseBody, OnTick, OnTimer, OnWebsocket, Result, SelectUpstream,
};
/// Encodings of bytes as text.
pub use sys::codec;
/// Hashes, message authentication, encryption, signatures, random numbers.
pub use sys::crypto;
/// IP addresses and networks.
pub use sys::ip;
/// Signed tokens.
pub use sys::jwt;
/// Hashes of passwords.
pub use sys::password;
/// Regular expressions, in time that grows with the text only.
pub use sys::regex;
/// Secrets that the configuration names for this plugin.
pub use sys::secrets;
/// WebSocket relays: those of a plugin's own hooks, and others as far as the configuration grants them.
pub use sys::websocket;

/// What most plugins need: `use weir_guest::prelude::*`.
pub mod prelude {
    pub use crate::bindings::weir::plugin::types::{
        Candidate, Closed, ClosedBy, Direction, Frame, Header, Hooks, Opcode, Selection, Target, Watch,
    };
    pub use crate::filter::{
        Failure, Filter, Migrate, OnClose, OnConnect, OnFrame, OnLog, OnMessage, OnRequest, OnRequestBody,
        OnResponse, OnResponseBody, OnTick, OnTimer, OnWebsocket, Result, SelectUpstream,
    };
    pub use crate::message::{Body, Connection, Cookies, Headers, Query, Request, Response};
    pub use crate::verdict::{ConnectVerdict, FrameVerdict, Piece, Reply, Verdict};
    pub use crate::websocket::Relay;
    pub use crate::{
        Error, codec, crypto, http, ip, jwt, kv, log, metrics, password, regex, secrets, time, timer,
    };
}
