//! `[plugins.NAME]`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Bytes, Text, Time, kib, secs};

/// A script or a component, and how it is run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Plugin {
    /// The script, a component of WebAssembly, or a folder with `plugin.lua` or `plugin.wasm`, relative to this file. Default:
    /// what is there of plugins/NAME.lua, plugins/NAME.wasm and the folder plugins/NAME.
    pub path: Option<String>,
    /// Where it is fetched from, instead of a path: "https://HOST/PATH", whose `sha256` is wanted, or
    /// "oci://REGISTRY/REPOSITORY:TAG@sha256:DIGEST" with the digest of the manifest. What was fetched once is kept.
    pub url: Option<String>,
    /// Who fetches it: "env:NAME" or "file:PATH" with a user and a password, as "user:password".
    pub credentials: Option<String>,
    /// The SHA-256 of the script or component, in hexadecimal: another file is refused. Not for a folder with several scripts.
    pub sha256: Option<String>,
    /// What it is configured with; the plugin says what there is.
    pub settings: BTreeMap<String, Json>,
    /// What only this plugin is told, by name: "env:NAME" is an environment variable, "file:PATH" a file. Read with the
    /// configuration.
    pub secrets: BTreeMap<String, String>,
    /// What happens when it fails, to a request or to a connection that it is asked about: "closed" (502, or the end of
    /// the connection) or "open" (as if it were not there).
    pub on_failure: OnFailure,
    /// What its requests and WebSockets share, of a component: "none" (an instance has many), or "exchange" (each has an
    /// instance of its own).
    pub isolation: Isolation,
    /// What it may use.
    pub limits: PluginLimits,
    /// What it may do beyond the request that it is asked about.
    pub grants: PluginGrants,
}

/// What happens to a request or a connection when a plugin fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// A request gets 502, a connection is closed.
    #[default]
    Closed,
    /// It goes on as if the plugin were not there.
    Open,
}

/// What requests and WebSockets of a component share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// An instance has many.
    #[default]
    None,
    /// Each has an instance of its own.
    Exchange,
}

/// What a plugin may use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Processor time of one hook.
    pub cpu: Time,
    /// Processor time after which others have their turn.
    pub slice: Time,
    /// Processor time where others cannot have their turn, in a comparator of a sort for example.
    pub stall: Time,
    /// From the begin of one hook to its end, with all that it waits for.
    pub deadline: Time,
    /// Memory on each worker.
    pub memory: Bytes,
    /// The most of a body that it may read as a whole.
    pub body: Bytes,
    /// Calls on one worker that wait at the same time.
    #[schemars(range(min = 1))]
    pub waiting: u32,
    /// Instances of a component on each worker, which run one call at a time: there are more while all are busy.
    #[schemars(range(min = 1))]
    pub instances: u32,
}

impl Default for PluginLimits {
    fn default() -> Self {
        let micros = |n| Text(std::time::Duration::from_micros(n));
        PluginLimits {
            cpu: micros(20_000),
            slice: micros(500),
            stall: micros(5_000),
            deadline: secs(10),
            memory: kib(64 << 10),
            body: kib(1 << 10),
            waiting: 1000,
            instances: 64,
        }
    }
}

/// What a plugin may do beyond the request that it is asked about.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginGrants {
    /// Upstreams that it may send requests of its own to.
    pub upstreams: Vec<String>,
    /// Servers that it may send requests of its own to, as `"https://login.example.com"`.
    pub hosts: Vec<String>,
    /// Namespaces of the key-value store that it may open beside its own.
    pub kv: Vec<String>,
    /// Groups of WebSockets that it may put WebSockets into and send to; `*` at the end of a name stands for anything.
    pub groups: Vec<String>,
    /// Routes whose WebSockets it may find by their ids.
    pub relays: Vec<String>,
}

/// A plugin of a route or a listener.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum RoutePlugin {
    /// Its name.
    Name(String),
    /// Its name, and settings for this place.
    Settings(RoutePluginSettings),
}

/// A plugin of a route or a listener with settings of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RoutePluginSettings {
    /// The plugin's name.
    #[schemars(extend("x-required" = true))]
    pub name: Option<String>,
    /// Settings that take the place of the plugin's own, one by one.
    pub settings: BTreeMap<String, Json>,
}

/// Values that plugins keep over requests, in the memory of this process.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kv {
    /// All values of all plugins; what was not used for long goes when it is full. Read at the start only.
    pub size: Bytes,
}

impl Default for Kv {
    fn default() -> Self {
        Kv { size: kib(64 << 10) }
    }
}
