//! Upstream groups: where requests go.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::UpstreamTls;

/// A group of endpoints that serve the same thing.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Unique; routes name it.
    pub name: Arc<str>,
    /// At least one.
    pub endpoints: Vec<EndpointSpec>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// What is spoken to them.
    pub protocol: Protocol,
    /// TLS to them; `None`: plain.
    pub tls: Option<UpstreamTls>,
    /// Waits and their bounds.
    pub timeouts: UpstreamTimeouts,
    /// Idle HTTP/1.1 connections kept a worker and endpoint. Default 256.
    pub max_idle: usize,
    /// How long an idle connection is kept. Default 60 s.
    pub idle_timeout: Duration,
    /// When and how often another attempt is made.
    pub retry: Retry,
    /// How long an endpoint that refused a connection is skipped while another is left. Default 10 s.
    pub skip_refused: Duration,
    /// How often names are resolved again; the last good answer is kept. Default 30 s.
    pub resolve_every: Duration,
    /// Requests whose body is at most so long keep a copy, so that they can be sent again. Default 64 KiB.
    pub replay_body: usize,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its share; 1 to 65535. Default 1.
    pub weight: u16,
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A name to resolve, and a port.
    Name(Arc<str>, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn, smoothly by weight; every worker starts at an offset of its own.
    RoundRobin,
    /// Of two chosen at random by weight, the one with fewer exchanges under way.
    LeastRequests,
    /// At random by weight.
    Random,
    /// By consistent hash.
    Hash(HashKey),
    /// A cookie of weir's own names the endpoint; without one, or when it is gone, chosen by `LeastRequests`.
    Sticky(StickyCookie),
}

/// What a consistent hash is taken of. Where a request lacks it, the endpoint is chosen at random.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The client's address.
    Client,
    /// A header's first value.
    Header(HeaderName),
    /// A cookie.
    Cookie(Arc<str>),
    /// A query parameter.
    Query(Arc<str>),
    /// The path.
    Path,
}

/// The cookie of [`Balance::Sticky`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickyCookie {
    /// Its name. Default `weir-sticky`.
    pub name: Arc<str>,
    /// `Max-Age`; `None`: a session cookie.
    pub max_age: Option<Duration>,
    /// `Path`. Default `/`.
    pub path: Arc<str>,
    /// `Secure` is set on TLS connections; `SameSite` as given here, `HttpOnly` always. Default `Lax`.
    pub same_site: SameSite,
}

/// `SameSite` of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// `SameSite=Lax`.
    Lax,
    /// `SameSite=Strict`.
    Strict,
    /// `SameSite=None`.
    None,
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: ALPN `h2` over TLS, prior knowledge over plain connections.
    Http2,
    /// Over TLS whichever ALPN settles; HTTP/1.1 over plain connections.
    Auto,
}

/// Waits on an upstream and their bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// Name, TCP and TLS. Default 5 s.
    pub connect: Duration,
    /// From the end of the request (or its last progress) to the response head. Default 60 s.
    pub response: Duration,
    /// Between two reads of a response body, and between two successful writes of a request. Default 60 s.
    pub idle: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        UpstreamTimeouts {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

/// When and how often another attempt is made. Only while no byte of the body was sent that cannot be sent again.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts in all; 1 never retries. Default 3.
    pub attempts: u32,
    /// Also on these statuses of the upstream, for idempotent methods. Default: none.
    pub statuses: Vec<u16>,
    /// Also for methods that are not idempotent, once the request was sent. Default false.
    pub non_idempotent: bool,
    /// Retries may be this share of the requests of the last ten seconds. Default 0.2.
    pub budget: f64,
    /// But this many a second are always allowed. Default 10.
    pub budget_min: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: 3, statuses: Vec::new(), non_idempotent: false, budget: 0.2, budget_min: 10 }
    }
}
