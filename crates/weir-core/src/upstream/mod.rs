//! Upstream groups: choosing an endpoint, connecting, pooling, trying again.
//!
//! A [`Group`] is immutable and shared by all workers; what changes (load, health, the retry budget, whose turn it
//! is) is atomic or a worker's own. Connections belong to one worker ([`Pools`]) and are found by the id of their
//! endpoint, which an endpoint keeps over generations as long as its connections stay good.
//!
//! In reading order: `group` and `endpoint` (what there is), `balance` (which one is taken), `pool` (a
//! connection to it), `connect` (a fresh one), `http2` (one that many requests share), `upload` (a request body on
//! such a one), `tunnel` (a WebSocket on such a one), `tasks` (what hyper runs for it), `retry` (how often again), `resolve` (where a name is), `shard` and `clock` (what these stand on).

mod balance;
mod clock;
mod connect;
mod endpoint;
mod group;
mod http2;
mod pool;
mod resolve;
mod retry;
mod shard;
mod tasks;
mod tunnel;
mod upload;

pub use balance::CookieError;
pub use connect::connect;
pub use endpoint::{Choice, Endpoint};
pub use group::{Group, GroupError};
pub use http2::{Http2Error, Http2Sender};
pub use pool::{Pools, lease, sweep};
pub use resolve::{resolve_blocking, resolve_first, resolve_forever};
pub use tunnel::Connected;
pub use upload::Upload;
pub(crate) use upload::UploadState;

use crate::http1;

/// A connection to send one request on.
pub enum Lease {
    /// HTTP/1.1.
    Http1 {
        /// The connection. It goes back to its pool by itself when the response was read to its end.
        connection: http1::client::Connection,
        /// Whether it carried a request before: then its failure may only mean that it had been idle too long.
        reused: bool,
    },
    /// HTTP/2.
    Http2(Http2Sender),
}
