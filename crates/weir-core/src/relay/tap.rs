//! What operators see of relays: which there are, and the messages of one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use ipnet::IpNet;
use weir_plugin::websocket::{Direction, Opcode};

/// A relay as operators see it.
#[derive(Clone, Debug)]
pub struct RelayInfo {
    /// Unique in this process.
    pub id: u64,
    /// The name of its route.
    pub route: Arc<str>,
    /// The client's address; `None` on Unix sockets.
    pub client: Option<IpAddr>,
    /// How long it has been open.
    pub age: Duration,
    /// How long nothing has passed.
    pub idle: Duration,
    /// Frames that have passed, to the upstream and to the client; zero where they are not read.
    pub frames: [u64; 2],
    /// Bytes that have passed on the wire, to the upstream and to the client.
    pub bytes: [u64; 2],
    /// What was sent into it and did not fit into its queue.
    pub dropped: u64,
    /// The generation that it holds.
    pub generation: u64,
    /// What is read of it.
    pub kind: RelayKind,
    /// The groups that it is in.
    pub groups: Vec<Arc<str>>,
}

/// What is read of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelayKind {
    /// A WebSocket whose bytes pass unread.
    Spliced,
    /// A WebSocket whose frames are read.
    Frames,
    /// A WebSocket whose messages are put together.
    Messages,
    /// A connection of layer 4.
    Tcp,
}

/// Which relays are meant: those for which all holds that is there.
#[derive(Clone, Debug, Default)]
pub struct RelayFilter {
    /// The one of this id.
    pub id: Option<u64>,
    /// Those of this route.
    pub route: Option<String>,
    /// Those of clients in this network.
    pub client: Option<IpNet>,
    /// Those that hold this generation.
    pub generation: Option<u64>,
    /// Those that are in this group.
    pub group: Option<String>,
}

/// Something that has passed a relay.
#[derive(Clone, Debug)]
pub struct Tapped {
    /// When.
    pub at: SystemTime,
    /// Where it went.
    pub direction: Direction,
    /// What it carries.
    pub opcode: Opcode,
    /// Its begin, redacted as the route says.
    pub data: Bytes,
    /// How many bytes it has.
    pub size: usize,
    /// What became of it.
    pub passed: Passed,
    /// How many could not be shown since the last one, because the operator was slow.
    pub lost: u64,
}

/// What became of a frame or a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// It went on as it was.
    Forwarded,
    /// A plugin has put something else in its place, which is what is shown.
    Replaced,
    /// A plugin has dropped it.
    Dropped,
    /// A plugin has sent it.
    Sent,
}

/// Why a relay cannot be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// There is none of this id.
    #[error("there is no such relay")]
    NoSuchRelay,
    /// Its frames are not read.
    #[error("its bytes pass unread")]
    Unread,
    /// Its route says nothing of it.
    #[error("its route has no `websocket.tap`")]
    NotConfigured,
    /// Somebody looks at it already.
    #[error("somebody looks at it already")]
    Taken,
}

impl RelayKind {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            RelayKind::Spliced => "spliced",
            RelayKind::Frames => "frames",
            RelayKind::Messages => "messages",
            RelayKind::Tcp => "tcp",
        }
    }
}

impl Passed {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Passed::Forwarded => "forwarded",
            Passed::Replaced => "replaced",
            Passed::Dropped => "dropped",
            Passed::Sent => "sent",
        }
    }
}

impl RelayFilter {
    /// Whether a relay is meant.
    pub(super) fn takes(&self, relay: &RelayInfo) -> bool {
        self.id.is_none_or(|id| id == relay.id)
            && self.route.as_ref().is_none_or(|route| **route == *relay.route)
            && self.client.is_none_or(|net| relay.client.is_some_and(|client| net.contains(&client)))
            && self.generation.is_none_or(|generation| generation == relay.generation)
            && self.group.as_ref().is_none_or(|group| relay.groups.iter().any(|joined| **joined == **group))
    }
}
