//! `[reload]`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Text, Time, secs};
use crate::config::value::Share;

/// How the configuration is read again while weir runs, and what becomes of what is under way.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    /// Read it again when something that it was read from changes: the configuration, certificates and keys, secrets,
    /// scripts, pages. Else only when that is asked for.
    pub watch: bool,
    /// How many earlier configurations are kept, for `weir rollback`.
    #[schemars(range(max = 20))]
    pub keep: u32,
    /// Relays (WebSockets, connections of `tcp_routes`) that end because of a change do so over this time, each at a moment
    /// of its own, so that their clients do not all come back at once.
    pub spread: Time,
    /// How long relays go on whose route is gone.
    pub grace: Time,
    /// How many earlier configurations relays may go on with; those of the oldest end.
    #[schemars(range(max = 10000))]
    pub generations: u32,
    /// How a change is proved before it serves.
    pub prove: Prove,
    /// How long the tests of all plugins may take together, with `prove = "tests"` or `"shadow"`.
    pub prove_timeout: Time,
    /// How hooks are tried on live requests, with `prove = "shadow"`.
    pub shadow: Shadow,
    /// Take a change back by itself when requests fail after it. Default: no.
    pub rollback: Option<Rollback>,
}

/// How a change is proved before it serves. Each has those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Prove {
    /// Plugins that have changed are compiled, and their `on_load` runs.
    Load,
    /// Their tests pass, those that `weir test` runs.
    Tests,
    /// Their hooks for requests run beside those that serve, on some of the requests and without effects, and neither fail
    /// nor take longer than they may.
    Shadow,
}

/// How hooks are tried on live requests, with `prove = "shadow"`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shadow {
    /// The share of requests that are tried.
    pub share: Text<Share>,
    /// For how long.
    pub r#for: Time,
    /// The least number of requests to judge by. With fewer the change serves, and it is told.
    #[schemars(range(min = 1))]
    pub requests: u32,
    /// The share of them for which hooks may fail.
    pub errors: Text<Share>,
    /// How much longer than the hooks that serve they may take, in the mean.
    pub latency: Time,
}

impl Default for Shadow {
    fn default() -> Self {
        Shadow {
            share: Text(Share::of(1, 100)),
            r#for: secs(10),
            requests: 100,
            errors: Text(Share::of(1, 100)),
            latency: Text(Duration::from_millis(2)),
        }
    }
}

/// What becomes of relays when what opened them changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnReload {
    /// They go on as they are until they end.
    Pin,
    /// They are told to come again.
    Close,
    /// They go over to the new plugins. Not for connections of `tcp_routes`.
    Migrate,
}

/// When a change is taken back: requests fail that have a status of 500 or more at the end, made by weir or by an
/// upstream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rollback {
    /// More than this share of all requests since the change have failed.
    #[schemars(extend("x-required" = true))]
    pub errors: Option<Text<Share>>,
    /// For how long after a change that is looked at.
    pub within: Time,
    /// It takes at least so many requests.
    #[schemars(range(min = 1))]
    pub requests: u32,
}

impl Default for Rollback {
    fn default() -> Self {
        Rollback { errors: None, within: secs(60), requests: 100 }
    }
}

impl Default for Reload {
    fn default() -> Self {
        Reload {
            watch: true,
            keep: 3,
            spread: secs(30),
            grace: secs(60),
            generations: 1000,
            prove: Prove::Load,
            prove_timeout: secs(60),
            shadow: Shadow::default(),
            rollback: None,
        }
    }
}
