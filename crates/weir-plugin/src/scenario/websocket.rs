//! A WebSocket as a test of a plugin scripts it, and what came of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Outcome, Scenario};
use crate::websocket::{CloseReason, Closed, ClosedBy, Direction, Opcode, RelayLimits};

/// A WebSocket to be run: its handshake, and what happens on it then.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The handshake. An answer of its last attempt that is no 101 is one of an upstream that does not agree.
    pub handshake: Scenario,
    /// What both sides agree on.
    pub subprotocol: Option<String>,
    /// Whether the upstream is opened when there is something to be sent to it, instead of with the handshake.
    pub late: bool,
    /// Other relays that there are meanwhile.
    pub others: Vec<Other>,
    /// What happens, in order. Where nothing ends it, the client does in the end, with 1000.
    pub events: Vec<Event>,
}

/// Another relay.
#[derive(Clone, Debug)]
pub struct Other {
    /// Its id.
    pub id: u64,
    /// The name of its route.
    pub route: Arc<str>,
    /// The groups that it is in.
    pub groups: BTreeSet<String>,
}

/// What happens on a WebSocket.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message, a ping or a pong comes.
    Message {
        /// Where it goes.
        direction: Direction,
        /// What it carries.
        opcode: Opcode,
        /// Its frames, of which there is at least one.
        fragments: Vec<Bytes>,
        /// Whether it comes compressed.
        compressed: bool,
    },
    /// It ends.
    Close(Closed),
    /// So much time passes, in which timers and ticks of the plugin run.
    Wait(Duration),
    /// The configuration is read again, and the relay goes to a fresh instance of the plugin.
    Migrate,
}

/// What came of a WebSocket.
#[derive(Clone, Debug)]
pub struct Conversed {
    /// The handshake: answered with 101 by the upstream where the WebSocket was opened. With the first failure of all, and
    /// what was logged in all.
    pub exchange: Outcome,
    /// Messages, pings and pongs as the upstream sees them.
    pub to_upstream: Vec<Sent>,
    /// The same as the client sees them.
    pub to_client: Vec<Sent>,
    /// How it ended; `None` where it was not opened.
    pub closed: Option<Closed>,
    /// The groups that it was in when it ended.
    pub groups: BTreeSet<String>,
    /// The bounds that the plugin has set, the last of each kind.
    pub limits: RelayLimits,
    /// What the plugin has done to others.
    pub others: Vec<ToOther>,
}

/// A message, a ping or a pong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// What it carries.
    pub opcode: Opcode,
    /// The whole of it.
    pub data: Bytes,
}

/// What the plugin has done to another relay.
#[derive(Clone, Debug)]
pub struct ToOther {
    /// The id of the relay.
    pub id: u64,
    /// What was sent to which side, or how it was ended.
    pub what: Result<(Direction, Sent), CloseReason>,
}

impl Closed {
    /// The end of a WebSocket to which nothing else happens: the client's, with 1000.
    pub fn in_the_end() -> Self {
        Closed { code: Some(1000), reason: "".into(), by: ClosedBy::Client }
    }
}
