//! The resolved configuration: typed values that cannot be wrong on their own. The program lowers TOML into a
//! [`Spec`]; [`Snapshot::assemble`](crate::Snapshot::assemble) compiles it into what workers read.

pub mod listener;
pub mod matching;
pub mod pattern;
pub mod route;
pub mod tls;
pub mod upstream;
pub mod websocket;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use weir_plugin::Plugin;

use crate::challenges::Challenges;

pub use listener::*;
pub use matching::*;
pub use pattern::PatternError;
pub use route::*;
pub use tls::*;
pub use upstream::*;
pub use websocket::*;

/// A whole configuration.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Where connections are accepted.
    pub listeners: Vec<Listener>,
    /// Plugins whose `on_connect` runs, in order, by the listener's name. Not a part of the listeners: those are kept by
    /// connections for as long as they live, which would keep plugins that were replaced long ago.
    pub connect_plugins: HashMap<Arc<str>, Arc<[Arc<dyn Plugin>]>>,
    /// HTTP routes. Their order does not matter: see [`crate::route`] for the precedence.
    pub routes: Vec<Route>,
    /// Layer 4 routes of listeners that serve [`Serve::Tcp`].
    pub tcp_routes: Vec<TcpRoute>,
    /// Upstream groups; routes name them.
    pub upstreams: Vec<Upstream>,
    /// What holds for every request.
    pub proxy: Proxy,
    /// Challenges of ACME that plain HTTP listeners answer before they route.
    pub challenges: Option<Arc<Challenges>>,
    /// How many workers, one thread and one event loop each. 0: one a core.
    pub workers: usize,
    /// How long connections may go on after a stop was asked for. Default 30 s.
    pub drain: Duration,
    /// What becomes of relays when another configuration is published.
    pub reload: Reload,
}

/// What becomes of relays when another configuration is published. One whose route is what it was goes on, and so does
/// one whose route says [`OnReload::Pin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// Those that are to end are told so over this time, each at a moment of its own, so that their clients do not all
    /// come back at once. Default 30 s.
    pub spread: Duration,
    /// How long those go on whose route is gone. Default 60 s.
    pub grace: Duration,
    /// How many older configurations relays may hold; those of the oldest end. Default 1000.
    pub generations: usize,
}

impl Default for Reload {
    fn default() -> Self {
        Reload { spread: Duration::from_secs(30), grace: Duration::from_secs(60), generations: 1000 }
    }
}

/// What becomes of the relays of a route when the route, its upstream or a plugin of it is another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReload {
    /// They go on as they are until they end.
    #[default]
    Pin,
    /// They are told to come again (WebSocket close code 1012), see [`Reload::spread`].
    Close,
    /// They go over to the new generation between two messages, with what their plugins keep of them. Those that cannot
    /// stay as with [`OnReload::Pin`].
    Migrate,
}

/// What holds for every request.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Proxies in front of weir whose forwarding headers and request ids are believed. Default: none.
    pub trusted: Vec<IpNet>,
    /// How request paths are normalised before routing and forwarding.
    pub path: PathPolicy,
    /// Which forwarding headers are sent to upstreams.
    pub forwarded: Forwarded,
    /// The pseudonym in `Via` (RFC 9110, section 7.6.3); `None` sends no `Via`. Default `weir`.
    pub via: Option<Arc<str>>,
    /// Name of the request-id header, made here or kept from trusted clients; `None` neither makes nor touches
    /// one. Default `x-request-id`.
    pub request_id: Option<HeaderName>,
    /// Bodies of weir's own error responses.
    pub error_pages: Vec<ErrorPage>,
    /// The most bytes of compression state that WebSocket relays with context takeover hold, all together; over it new ones
    /// agree on none. Default 64 MiB.
    pub takeover_memory: usize,
}

impl Default for Proxy {
    fn default() -> Self {
        Proxy {
            trusted: Vec::new(),
            path: PathPolicy::default(),
            forwarded: Forwarded::default(),
            via: Some("weir".into()),
            request_id: Some(HeaderName::from_static("x-request-id")),
            error_pages: Vec::new(),
            takeover_memory: 64 << 20,
        }
    }
}

/// What becomes of the odd parts of a path. The same path is used to route and to forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathPolicy {
    /// `.` and `..` segments, also percent-encoded ones. Default [`PathRule::Normalise`].
    pub dot_segments: PathRule,
    /// `%2F` and `%5C`. Default [`PathRule::Keep`].
    pub encoded_slashes: PathRule,
    /// `//`. Default [`PathRule::Keep`].
    pub double_slashes: PathRule,
}

impl Default for PathPolicy {
    fn default() -> Self {
        PathPolicy {
            dot_segments: PathRule::Normalise,
            encoded_slashes: PathRule::Keep,
            double_slashes: PathRule::Keep,
        }
    }
}

/// What to do with one odd part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRule {
    /// Leave it as it is.
    Keep,
    /// Resolve, decode or merge it.
    Normalise,
    /// Answer 400.
    Reject,
}

/// Which forwarding headers are sent to upstreams. What an untrusted client sent under these names is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// `X-Forwarded-For`, `-Proto`, `-Host`. Default true.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239). Default false.
    pub forwarded: bool,
    /// `X-Real-IP`. Default true.
    pub x_real_ip: bool,
}

impl Default for Forwarded {
    fn default() -> Self {
        Forwarded { x_forwarded: true, forwarded: false, x_real_ip: true }
    }
}

/// The body of an error response that weir itself makes.
#[derive(Clone, Debug)]
pub struct ErrorPage {
    /// For which statuses.
    pub statuses: Vec<u16>,
    /// `content-type`.
    pub content_type: Arc<str>,
    /// `{status}`, `{reason}` and `{request_id}` are filled in.
    pub body: Arc<str>,
}
