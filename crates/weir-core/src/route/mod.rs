//! Which route takes a request.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use weir_plugin::Captures;

use crate::spec;
use crate::upstream::Group;

/// All HTTP routes, compiled.
#[derive(Debug, Default)]
pub struct Router {}

/// All layer 4 routes, compiled.
#[derive(Debug, Default)]
pub struct TcpRouter {}

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
    /// What its template captured.
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
    /// A route names an upstream that is not there.
    #[error("route {route} names the upstream {upstream}, which is not there")]
    NoUpstream {
        /// The route.
        route: Arc<str>,
        /// What it names.
        upstream: Arc<str>,
    },
}

impl Router {
    /// Compiles routes.
    ///
    /// # Errors
    /// When two routes conflict or one names an upstream that is not there.
    pub fn new(_routes: &[spec::Route], _groups: &HashMap<Arc<str>, Arc<Group>>) -> Result<Self, RouteError> {
        unimplemented!()
    }

    /// The route that takes a request.
    pub fn find(&self, _question: &Question<'_>) -> Option<Found<'_>> {
        unimplemented!()
    }

    /// Every route in the order in which they are asked, with the reason why it does not match.
    pub fn explain(&self, _question: &Question<'_>) -> Vec<Explanation> {
        unimplemented!()
    }
}

impl TcpRouter {
    /// Compiles layer 4 routes.
    ///
    /// # Errors
    /// When two routes conflict or one names an upstream that is not there.
    pub fn new(
        _routes: &[spec::TcpRoute],
        _groups: &HashMap<Arc<str>, Arc<Group>>,
    ) -> Result<Self, RouteError> {
        unimplemented!()
    }

    /// The route of a listener for a server name.
    pub fn find(&self, _listener: &str, _sni: Option<&str>) -> Option<&Arc<CompiledTcpRoute>> {
        unimplemented!()
    }
}
