//! An exchange, or a connection, as a test of a plugin scripts it, and what came of it: plain data, the same for every
//! engine. WebSockets are in [`websocket`].

pub mod websocket;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};

use crate::{Candidate, Captures, Reply, Tls};

/// An exchange to be run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Request method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Request headers.
    pub headers: HeaderMap,
    /// The whole body of the request.
    pub body: Bytes,
    /// The client's address; `None` for one on a Unix socket.
    pub client: Option<IpAddr>,
    /// What the TLS handshake settled; `None` on a plain connection.
    pub tls: Option<Arc<Tls>>,
    /// `X-Request-Id`.
    pub request_id: String,
    /// The name of the route.
    pub route: Arc<str>,
    /// What the route's path captured.
    pub captures: Captures,
    /// The upstream group of the route.
    pub group: Arc<str>,
    /// All upstream groups.
    pub groups: BTreeMap<Arc<str>, Vec<Candidate>>,
    /// What becomes of each attempt on an upstream. All but the last are tried again.
    pub attempts: Vec<Attempt>,
}

/// What becomes of an attempt on an upstream.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// The upstream answers.
    Response(Reply),
    /// It fails, for this reason: one of those that [`Selection::failure`](crate::Selection::failure) tells.
    Failure(String),
}

/// A connection on which nothing was asked yet.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The client's address; `None` for one on a Unix socket.
    pub client: Option<IpAddr>,
    /// What the TLS handshake settled; `None` on a plain connection.
    pub tls: Option<Arc<Tls>>,
}

/// What came of a connection.
#[derive(Clone, Debug)]
pub struct Admission {
    /// Whether the client may go on.
    pub accepted: bool,
    /// How the hook failed, where it did.
    pub failure: Option<String>,
    /// What the plugin logged.
    pub log: Vec<LogLine>,
}

/// What came of an exchange.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The request as the upstream would see it.
    pub request: Asked,
    /// The response as the client would see it.
    pub response: Reply,
    /// Whose response that is.
    pub answered_by: AnsweredBy,
    /// Attempts on upstreams, in order.
    pub attempts: Vec<Attempted>,
    /// The hook that failed first, and how; or why the last attempt did.
    pub failure: Option<String>,
    /// What the plugin logged.
    pub log: Vec<LogLine>,
}

/// A request as the upstream would see it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Request method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Request headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The upstream group; `None` where none was asked.
    pub group: Option<Arc<str>>,
    /// The endpoint; `None` where none was asked, or a hash chooses it.
    pub endpoint: Option<Arc<str>>,
    /// What the endpoint is chosen by, where a plugin said so.
    pub hash_key: Option<Bytes>,
}

/// An attempt that was made on an upstream.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// The upstream group.
    pub group: Arc<str>,
    /// The endpoint; `None` where a hash chooses it.
    pub endpoint: Option<Arc<str>>,
    /// What the endpoint is chosen by, where a plugin said so.
    pub hash_key: Option<Bytes>,
    /// Why it failed, or was tried again; `None` for the one whose response the exchange goes on with.
    pub failure: Option<&'static str>,
}

/// Whose response the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnsweredBy {
    /// The plugin's own.
    Plugin,
    /// The upstream's.
    Upstream,
    /// weir's, because the plugin failed or chose what is not there, or the last attempt failed.
    Failure,
}

impl AnsweredBy {
    /// As tests name it.
    pub fn name(self) -> &'static str {
        match self {
            AnsweredBy::Plugin => "plugin",
            AnsweredBy::Upstream => "upstream",
            AnsweredBy::Failure => "failure",
        }
    }
}

/// A line that a plugin logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// What it says.
    pub text: String,
}
