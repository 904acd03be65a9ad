//! Bytes both ways between two streams, without looking at them.

use std::io;
use std::time::Duration;

use bytes::Bytes;

use crate::net::Stream;
use crate::worker::Stage;

/// How a relay ended, and what it carried.
#[derive(Debug, Default)]
pub struct Carried {
    /// Bytes from the client to the upstream.
    pub to_upstream: u64,
    /// Bytes from the upstream to the client.
    pub to_client: u64,
}

/// Why a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both sides closed.
    Closed,
    /// No byte passed either way for the idle timeout.
    Idle,
    /// The drain time was over.
    Stopped,
    /// Reading or writing failed: true if on the client's side.
    Failed(io::Error, bool),
}

/// What is done to a client when the drain time is over, before its stream is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Nothing: layer 4.
    None,
    /// A WebSocket close frame, 1001.
    WebSocket,
}

/// Carries bytes both ways until both sides have closed, nothing passes for `idle`, or the stage is
/// [`Stage::Ending`]. A side that closes for writing is closed for writing on the other (half-close). While no
/// bytes wait it holds neither buffer nor pipe. `head` are bytes already read from each side (client, upstream).
pub async fn relay(
    _client: Stream,
    _upstream: Stream,
    _head: (Bytes, Bytes),
    _idle: Duration,
    _farewell: Farewell,
    _stage: tokio::sync::watch::Receiver<Stage>,
) -> (Carried, End) {
    unimplemented!()
}
