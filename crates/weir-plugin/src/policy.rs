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
    /// The most instances of it on one worker, of an engine in which an instance runs one call at a time. Default: 64.
    pub instances: usize,
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
            instances: 64,
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

/// What exchanges of a plugin share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// An instance has many, one after the other and beside each other.
    #[default]
    None,
    /// Each has an instance of its own, which ends with it.
    Exchange,
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
    /// What its exchanges share.
    pub isolation: Isolation,
}

/// What a plugin imports of the host API that its configuration does not let it use at all: for each, what is missing.
/// `functions` are the ones of `interface` that it imports, by their names in the WIT package. An engine whose plugins
/// name what they import refuses them by this when they are loaded; each call is checked besides.
pub fn ungranted(plugin: &str, policy: &Policy, interface: &str, functions: &[&str]) -> Vec<String> {
    let grants = &policy.grants;
    let has = |function: &str| functions.contains(&function);
    let mut missing = Vec::new();
    let mut need = |wanted: bool, granted: bool, what: &str, how: &str| {
        if wanted && !granted {
            missing.push(format!(
                "it imports `{what}`, which it was not granted: {how} in [plugins.{plugin}] would grant it"
            ));
        }
    };
    match interface {
        "http" => {
            let granted = !grants.upstreams.is_empty() || !grants.hosts.is_empty();
            let wanted = has("request") || has("all");
            need(wanted, granted, "http", "`grants.upstreams` or `grants.hosts`");
        }
        "secrets" => need(has("get"), !policy.secrets.is_empty(), "secrets", "a name in `secrets`"),
        "kv" => need(has("[static]store.open"), !grants.kv.is_empty(), "kv.store.open", "`grants.kv`"),
        "websocket" => {
            let group = has("[static]group.open") || has("[method]relay.join") || has("[method]relay.leave");
            need(group, !grants.groups.is_empty(), "websocket.group", "`grants.groups`");
            need(has("find"), !grants.relays.is_empty(), "websocket.find", "`grants.relays`");
        }
        _ => {}
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plugin_imports_must_be_granted() {
        let none = Policy::default();
        for (interface, functions, missing) in [
            ("http", &["request"][..], "grants.upstreams"),
            ("secrets", &["get"], "`secrets`"),
            ("kv", &["get", "[static]store.open"], "grants.kv"),
            ("websocket", &["find"], "grants.relays"),
            ("websocket", &["[static]group.open"], "grants.groups"),
        ] {
            let refused = ungranted("api", &none, interface, functions);
            let [text] = refused.as_slice() else { panic!("{interface}: {refused:?}") };
            assert!(text.contains(missing) && text.contains("[plugins.api]"), "{text}");
        }
        for (interface, functions) in [
            ("kv", &["get"][..]),
            ("http", &["header"]),
            ("websocket", &["[method]relay.send"]),
            ("time", &["now"]),
        ] {
            assert_eq!(ungranted("api", &none, interface, functions), Vec::<String>::new());
        }
        let grants = Grants { upstreams: ["auth".to_owned()].into(), ..Grants::default() };
        let some = Policy { grants, ..Policy::default() };
        assert!(ungranted("api", &some, "http", &["all"]).is_empty());
    }
}
