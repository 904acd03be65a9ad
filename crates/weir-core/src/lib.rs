//! weir's data plane: it accepts connections, speaks TLS, HTTP and WebSocket, routes and forwards.
//!
//! It must never know an engine (Lua, WebAssembly) or a configuration format: plugins come as
//! [`weir_plugin::Plugin`], configuration as a [`spec::Spec`].
//!
//! In reading order: [`spec`] (what is asked for), [`snapshot`] (what workers read), [`shadow`] (one that is tried
//! before it is published), [`server`] and [`worker`]
//! (threads), [`listen`] (accepting), [`tls`], [`challenges`] (what authorities ask before they
//! sign a certificate), [`http1`] and [`http2`] (protocols), [`exchange`] (one request and
//! its response), [`route`], [`headers`] and [`action`] (what is done with it), [`upstream`] (where it goes), [`client`] (requests of
//! plugins),
//! [`relay`] (bytes both ways), [`ws`] (what WebSocket bytes mean), [`error`] and [`log`] (what is told). Beside them, in tests and fuzzing only,
//! `fuzzing` (what must hold of every parser here, whatever comes).

#![allow(rustdoc::private_intra_doc_links, reason = "who reads how it works reads the private parts too")]

pub mod action;
pub mod body;
pub mod challenges;
pub mod client;
pub mod error;
pub mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod headers;
pub mod http1;
pub mod http2;
mod instances;
pub mod listen;
pub mod log;
pub mod net;
pub mod path;
pub mod relay;
pub mod route;
pub mod server;
pub mod shadow;
pub mod snapshot;
pub mod spec;
mod ticks;
pub mod tls;
pub mod upstream;
pub mod worker;
pub(crate) mod ws;

pub use server::Server;
pub use snapshot::Snapshot;
