//! Which route takes a request.
//!
//! # Precedence
//! A route with several hosts and paths stands once for each pair of them. A request goes to the first of all
//! these, in the following order, whose conditions all hold; the order in the configuration does not matter.
//! 1. The most specific host: exact, then the longest `*.` suffix, then shorter ones, then any.
//! 2. The most specific path: exact; then templates, those with more literal segments first, then those whose first
//!    segment that differs in kind is literal rather than a capture, and a capture rather than the rest; then
//!    prefixes, the longest first; then regular expressions; then any.
//! 3. More further conditions: a list of methods, of clients and of listeners counts one each, every header and
//!    every query parameter counts one.
//! 4. Only between routes that look at the same field, and between regular expressions of paths: an exact value,
//!    then a prefix (longest first), then a regular expression (longest text first), then presence, then absence.
//!    What is then still equal is asked in the order of names.
//!
//! Two routes that could take the same request and neither of which comes first by 1 to 4 are an error, as long as
//! no condition sets them apart (see [`RouteError`]).

mod compile;
mod condition;
mod explain;
mod order;
mod table;
mod tcp;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use weir_plugin::Captures;

use crate::spec;
use crate::upstream::Group;

pub use tcp::TcpRouter;

/// All HTTP routes, compiled.
#[derive(Debug, Default)]
pub struct Router {
    /// Everything that a request is held against, in the order in which it is asked.
    entries: Vec<order::Entry>,
    /// In the order of the configuration.
    routes: Vec<Arc<CompiledRoute>>,
    hosts: table::Hosts,
}

/// A route ready to serve.
#[derive(Debug)]
pub struct CompiledRoute {
    /// What was asked for.
    pub spec: spec::Route,
    /// Its upstream group, where its action is one.
    pub group: Option<Arc<Group>>,
}

/// A layer 4 route ready to serve.
#[derive(Debug)]
pub struct CompiledTcpRoute {
    /// What was asked for.
    pub spec: spec::TcpRoute,
    /// Its upstream group.
    pub group: Arc<Group>,
}

/// What routing looks at.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// Host without port; compared without regard to case.
    pub host: &'a str,
    /// The normalised path.
    pub path: &'a str,
    /// The raw query, without `?`.
    pub query: &'a str,
    /// The method.
    pub method: &'a Method,
    /// All request headers.
    pub headers: &'a HeaderMap,
    /// The client after trusted proxies are taken into account.
    pub client: Option<IpAddr>,
}

/// The route that takes a request.
#[derive(Debug)]
pub struct Found<'a> {
    /// The route.
    pub route: &'a Arc<CompiledRoute>,
    /// What its template (or the named groups of its regular expression) captured: as it is in the path, not
    /// percent-decoded.
    pub captures: Captures,
}

/// How a route stands to a request: for `weir explain`.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The route's name.
    pub route: Arc<str>,
    /// `None`: it would take the request if none before it did. Otherwise the first condition that does not hold,
    /// for example `path /a is not below /api`.
    pub mismatch: Option<String>,
}

/// Routes that cannot be together.
#[derive(Debug, thiserror::Error)]
pub enum RouteError {
    /// Two routes take exactly the same requests.
    #[error("routes {first} and {second} take the same requests")]
    Conflict {
        /// The earlier one.
        first: Arc<str>,
        /// The later one.
        second: Arc<str>,
    },
    /// Two routes take some requests in common, and neither is more specific.
    #[error(
        "routes {first} and {second} both take requests to {at} for which the conditions of both hold, and neither \
         is more specific: add a condition to one of them, or one that tells them apart to both"
    )]
    Ambiguous {
        /// The earlier one.
        first: Arc<str>,
        /// The later one.
        second: Arc<str>,
        /// The host and path that they share.
        at: String,
    },
    /// A route names an upstream that is not there.
    #[error("route {route} names the upstream {upstream}, which is not there")]
    NoUpstream {
        /// The route.
        route: Arc<str>,
        /// What it names.
        upstream: Arc<str>,
    },
}
