//! What the access log is told about an exchange.

use std::fmt;
use std::time::{Duration, SystemTime};

use weir_plugin::Exchange;

use crate::error::Kind;

/// Takes records of exchanges that have ended. Called on workers: must neither block nor wait.
pub trait AccessLog: Send + Sync + fmt::Debug {
    /// One exchange, relay or layer 4 connection has ended.
    fn record(&self, record: &Record<'_>);
}

/// An exchange that has ended.
#[derive(Debug)]
pub struct Record<'a> {
    /// The exchange as plugins see it. `exchange.status` is what the client got (499 if it left before).
    pub exchange: &'a Exchange,
    /// The request target as the client sent it, before normalisation.
    pub target: &'a str,
    /// When the request head was read.
    pub started: SystemTime,
    /// Where the time went.
    pub timings: Timings,
    /// Bytes of the request body; of a relay, bytes from the client.
    pub bytes_in: u64,
    /// Bytes of the response body; of a relay, bytes to the client.
    pub bytes_out: u64,
    /// Why weir itself answered, or how the exchange broke off; `None`: the upstream answered to the end.
    pub reason: Option<Kind>,
    /// More about `reason` in a few words.
    pub detail: Option<&'a str>,
    /// Whether it became a relay.
    pub upgraded: bool,
}

/// Where the time of an exchange went, from its start. `None`: it did not come so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Until the connection of the last attempt was there (about 0 for a pooled one).
    pub connected: Option<Duration>,
    /// Until the response head was there.
    pub responded: Option<Duration>,
    /// Until the last byte was sent.
    pub total: Duration,
}
