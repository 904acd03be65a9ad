//! HTTP/1.1 (RFC 9112), both sides. The seam of the design: the rest of the crate sees requests, responses and
//! bodies, never bytes.
//!
//! A codec of our own, because what hyper's costs and hides is what weir exists for: it holds no buffer while no bytes
//! wait, refuses framing that could be read in two ways, passes informational responses on, and lets bodies go from
//! socket to socket without becoming frames.
//!
//! In reading order: `head`, `chunked` and `framing` (sans-IO), `io` (a stream and the bytes that wait on it),
//! [`Incoming`] and `sender` (bodies), `server` (towards clients) and [`client`] (towards upstreams).

pub(crate) mod chunked;
pub mod client;
mod date;
pub(crate) mod framing;
pub(crate) mod head;
mod incoming;
pub(crate) mod io;
pub(crate) mod sender;
pub(crate) mod server;

pub use incoming::Incoming;
pub(crate) use incoming::Waits;
