//! The configuration as it is written: what serde reads, and what the JSON Schema is made of. The doc comments
//! here are the descriptions in the schema, and the defaults here are the defaults.

#![allow(rustdoc::broken_intra_doc_links, reason = "the comments of keys are texts for users")]

mod acme;
mod admin;
mod listener;
mod log;
mod plugin;
mod proxy;
mod reload;
mod route;
mod tls;
mod upgrade;
mod upstream;
mod websocket;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use acme::*;
pub use admin::*;
pub use listener::*;
pub use log::*;
pub use plugin::*;
pub use proxy::*;
pub use reload::*;
pub use route::*;
pub use tls::*;
pub use upgrade::*;
pub use upstream::*;
pub use websocket::*;

use std::time::Duration;

pub use super::value::Text;

/// A duration written as a string.
pub type Time = Text<Duration>;
/// A size written as a string.
pub type Bytes = Text<super::value::Size>;

/// The configuration of weir.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "weir")]
pub struct Config {
    /// Worker threads, each with an event loop of its own. 0: one a core.
    pub workers: u32,
    /// How long connections may go on after a stop was asked for.
    pub drain: Time,
    /// Where connections are accepted.
    pub listeners: Vec<Listener>,
    /// Limits of every listener; a listener's own `limits` override them one by one.
    pub limits: Limits,
    /// Which requests go where. Their order does not matter: the more specific one wins.
    pub routes: Vec<Route>,
    /// Where connections of listeners with `protocol = "tcp"` go.
    pub tcp_routes: Vec<TcpRoute>,
    /// Groups of servers that serve the same thing, by name.
    pub upstreams: BTreeMap<String, Upstream>,
    /// Scripts that decide what routes and listeners do, by name. One at plugins/NAME.lua needs no entry here.
    pub plugins: BTreeMap<String, Plugin>,
    /// Values that plugins keep over requests, in the memory of this process.
    pub kv: Kv,
    /// What holds for every request.
    pub proxy: Proxy,
    /// One line for each request and connection that has ended.
    pub access_log: AccessLog,
    /// The authority that signs the certificates of listeners with `tls.acme`.
    pub acme: Acme,
    /// What weir tells about itself while it runs, to `weir status` for example.
    pub admin: Admin,
    /// How the configuration is read again while weir runs.
    pub reload: Reload,
    /// How another binary takes over while weir runs.
    pub upgrade: Upgrade,
    /// What weir writes about itself.
    pub log: Log,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            workers: 0,
            drain: secs(30),
            listeners: Vec::new(),
            limits: Limits::default(),
            routes: Vec::new(),
            tcp_routes: Vec::new(),
            upstreams: BTreeMap::new(),
            plugins: BTreeMap::new(),
            kv: Kv::default(),
            proxy: Proxy::default(),
            access_log: AccessLog::default(),
            acme: Acme::default(),
            admin: Admin::default(),
            reload: Reload::default(),
            upgrade: Upgrade::default(),
            log: Log::default(),
        }
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum OneOrMany<T> {
    /// A list.
    Many(Vec<T>),
    /// One value without brackets.
    One(T),
}

impl<T> OneOrMany<T> {
    /// All values.
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMany::Many(list) => list,
            OneOrMany::One(value) => std::slice::from_ref(value),
        }
    }
}

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        OneOrMany::Many(Vec::new())
    }
}

pub(super) fn secs(n: u64) -> Time {
    Text(Duration::from_secs(n))
}

pub(super) fn kib(n: u64) -> Bytes {
    Text(super::value::Size(n << 10))
}
