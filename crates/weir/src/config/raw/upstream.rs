//! `[upstreams.NAME]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_core::spec::{EndpointAddress, HashKey};

use super::{Bytes, Text, Time, UpstreamTls, kib, secs};

/// A group of servers that serve the same thing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// The servers: "10.0.0.1:8080", "app.internal:8080", "unix:/run/app.sock", or a table with a weight.
    #[schemars(extend("x-required" = true))]
    pub endpoints: Vec<Endpoint>,
    /// How one is chosen: "round-robin", "least-requests", "random", "hash" or "sticky" (by a cookie).
    pub balance: Balance,
    /// With `balance = "hash"`, of what: "client", "path", "header:NAME", "cookie:NAME" or "query:NAME".
    pub hash: Option<Text<HashKey>>,
    /// With `balance = "sticky"`, the cookie.
    pub sticky: Sticky,
    /// What is spoken: "http1", "http2" or "auto" (over TLS what both speak, else HTTP/1.1). WebSockets go over HTTP/1.1 with
    /// "auto", and with "http2" over HTTP/2 if the servers take them there (RFC 8441).
    pub protocol: Protocol,
    /// TLS to the servers: true, or a table of settings.
    pub tls: UpstreamTls,
    /// How long weir waits.
    pub timeouts: Timeouts,
    /// Connections kept for the next request.
    pub pool: Pool,
    /// When and how often another attempt is made.
    pub retry: Retry,
    /// How long a server that refused a connection is skipped while another is left.
    pub skip_refused: Time,
    /// How often names are resolved again; the last good answer is kept.
    pub resolve_every: Time,
    /// Request bodies up to this size are kept so that they can be sent again.
    pub replay_body: Bytes,
}

impl Default for Upstream {
    fn default() -> Self {
        Upstream {
            endpoints: Vec::new(),
            balance: Balance::RoundRobin,
            hash: None,
            sticky: Sticky::default(),
            protocol: Protocol::Auto,
            tls: UpstreamTls::Switch(false),
            timeouts: Timeouts::default(),
            pool: Pool::default(),
            retry: Retry::default(),
            skip_refused: secs(10),
            resolve_every: secs(30),
            replay_body: kib(64),
        }
    }
}

/// One server.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Endpoint {
    /// Its address.
    Address(Text<EndpointAddress>),
    /// Its address and weight.
    Weighted(WeightedEndpoint),
}

/// One server with a weight.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WeightedEndpoint {
    /// Where it is.
    #[schemars(extend("x-required" = true))]
    pub address: Option<Text<EndpointAddress>>,
    /// Its share of the requests.
    #[schemars(range(min = 1, max = 65535))]
    pub weight: u16,
}

impl Default for WeightedEndpoint {
    fn default() -> Self {
        WeightedEndpoint { address: None, weight: 1 }
    }
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Balance {
    /// Each in turn, by weight.
    RoundRobin,
    /// Of two at random, the one with fewer requests under way.
    LeastRequests,
    /// At random, by weight.
    Random,
    /// By consistent hash of `hash`.
    Hash,
    /// The one that the client's cookie names.
    Sticky,
}

/// The cookie that names a client's server.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sticky {
    /// Its name.
    pub cookie: String,
    /// How long browsers keep it. Default: until they close.
    pub max_age: Option<Time>,
    /// The paths for which browsers send it.
    pub path: String,
    /// Whether browsers send it to requests from other sites: "lax", "strict" or "none".
    pub same_site: SameSite,
}

impl Default for Sticky {
    fn default() -> Self {
        Sticky { cookie: "weir-sticky".into(), max_age: None, path: "/".into(), same_site: SameSite::Lax }
    }
}

/// `SameSite` of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SameSite {
    /// `SameSite=Lax`.
    Lax,
    /// `SameSite=Strict`.
    Strict,
    /// `SameSite=None`.
    None,
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Over TLS what both speak, else HTTP/1.1.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
}

/// How long weir waits for an upstream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// Resolving the name, TCP and TLS.
    pub connect: Time,
    /// From the end of the request to the head of the response.
    pub response: Time,
    /// Between two reads of a response body, and between two writes of a request.
    pub idle: Time,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: secs(5), response: secs(60), idle: secs(60) }
    }
}

/// Connections kept for the next request.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// Idle HTTP/1.1 connections kept for each server by each worker.
    pub max_idle: u32,
    /// How long an idle connection is kept.
    pub idle_timeout: Time,
}

impl Default for Pool {
    fn default() -> Self {
        Pool { max_idle: 256, idle_timeout: secs(60) }
    }
}

/// When and how often another attempt is made. Never after a part of the body was sent that weir did not keep.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Attempts in all; 1 never retries.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// Also on these statuses of the upstream, for idempotent methods.
    #[schemars(inner(range(min = 400, max = 599)))]
    pub statuses: Vec<u16>,
    /// Also for methods that are not idempotent (POST, PATCH), once the request was sent.
    pub non_idempotent: bool,
    /// Retries may be this share of the requests of the last ten seconds.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub budget: f64,
    /// But so many a second are always allowed.
    pub budget_min: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: 3, statuses: Vec::new(), non_idempotent: false, budget: 0.2, budget_min: 10 }
    }
}
