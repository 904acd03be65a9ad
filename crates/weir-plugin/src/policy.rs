//! What a plugin may use and do, and what happens when it fails.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::Secrets;

/// What a plugin may use. Every bound is a key of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processor time of one hook call. Default: 20 ms.
    pub cpu: Duration,
    /// Processor time after which a call lets others on its worker have their turn. Default: 500 µs.
    pub slice: Duration,
    /// Processor time after which a call that cannot let others have their turn (a comparator of a sort, say) gets
    /// an error. Default: 5 ms.
    pub stall: Duration,
    /// Wall-clock time of one hook call, with everything that it waits for. Default: 10 s.
    pub deadline: Duration,
    /// Memory of one instance on one worker, in bytes. Default: 64 MiB.
    pub memory: usize,
    /// The most bytes of a body that it may read as a whole. Default: 1 MiB.
    pub body: usize,
    /// The most calls on one worker that wait at the same time, for an answer or their next turn. Default: 1000.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            cpu: Duration::from_millis(20),
            slice: Duration::from_micros(500),
            stall: Duration::from_millis(5),
            deadline: Duration::from_secs(10),
            memory: 64 << 20,
            body: 1 << 20,
            waiting: 1000,
        }
    }
}

/// What happens to an exchange, or to a connection that a plugin is asked about, when the plugin fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The client gets 502; a connection is closed.
    #[default]
    Closed,
    /// It goes on as if the plugin were not there.
    Open,
}

/// What a plugin may do beyond its own exchange. Nothing, where the configuration does not say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Upstream groups that it may send requests of its own to.
    pub upstreams: BTreeSet<String>,
    /// Origins that it may send requests of its own to, for example `https://login.example.com`.
    pub hosts: BTreeSet<String>,
    /// Namespaces of the key-value store beside its own.
    pub kv: BTreeSet<String>,
    /// Groups of WebSocket relays that it may put relays into and send to; `*` at the end of a name stands for anything.
    pub groups: BTreeSet<String>,
    /// Routes whose WebSocket relays it may address by id, also where it is not on that route.
    pub relays: BTreeSet<String>,
}

/// All that the configuration says about how a plugin is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What it may use.
    pub limits: Limits,
    /// What happens when it fails.
    pub on_failure: OnFailure,
    /// What it may do beyond its own exchange.
    pub grants: Grants,
    /// What it is told that nobody else is.
    pub secrets: Secrets,
}
