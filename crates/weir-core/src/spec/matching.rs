//! What a route asks of a request.

use std::sync::Arc;

use http::{HeaderName, Method};
use ipnet::IpNet;
use regex::Regex;

/// The conditions of a route: all that are given must hold; within a list any one.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Names of listeners; empty: any.
    pub listeners: Vec<Arc<str>>,
    /// Hosts without port, lower case; empty: any.
    pub hosts: Vec<HostPattern>,
    /// Paths; empty: any.
    pub paths: Vec<PathPattern>,
    /// Methods; empty: any.
    pub methods: Vec<Method>,
    /// Header conditions; all must hold.
    pub headers: Vec<(HeaderName, ValueMatch)>,
    /// Conditions on query parameters (after percent-decoding); all must hold.
    pub query: Vec<(Arc<str>, ValueMatch)>,
    /// Client networks; empty: any.
    pub clients: Vec<IpNet>,
}

/// A host as a route names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// `example.com`.
    Exact(Arc<str>),
    /// `*.example.com`: holds the part with the dot, `.example.com`. One or more labels before it.
    Suffix(Arc<str>),
}

/// The name used by TLS and layer 4 for the same patterns.
pub type StringMatch = HostPattern;

/// A path as a route names it, matched against the normalised path.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// The whole path.
    Exact(Arc<str>),
    /// The path or any path below it, by whole segments: `/api` matches `/api` and `/api/x`, not `/apis`.
    Prefix(Arc<str>),
    /// `/users/{id}/posts`; `{rest*}` as the last segment takes all that is left.
    Template(PathTemplate),
    /// Anchored at both ends.
    Regex(Regex),
}

/// A parsed path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    /// As written.
    pub source: Arc<str>,
    /// Its segments in order.
    pub segments: Vec<Segment>,
}

/// One segment of a [`PathTemplate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Literal(Arc<str>),
    /// `{name}`: any one segment that is not empty.
    Capture(Arc<str>),
    /// `{name*}`: the rest of the path, at least one character.
    Rest(Arc<str>),
}

/// A condition on a value.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    /// It is there, whatever its value.
    Present,
    /// It is not there.
    Absent,
    /// One of its values is this.
    Exact(Arc<str>),
    /// One of its values starts with this.
    Prefix(Arc<str>),
    /// One of its values matches, anchored at both ends.
    Regex(Regex),
}
