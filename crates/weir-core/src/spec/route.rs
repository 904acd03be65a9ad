//! HTTP routes and what they do.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weir_plugin::Plugin;
use weir_plugin::services::Metrics;

use super::{Match, OnReload, WebSocket};

/// One HTTP route.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique; shown in logs and by `weir explain`.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matching: Match,
    /// What it does with them.
    pub action: Action,
    /// Changes to the request's headers before it is forwarded.
    pub request_headers: HeaderEdits,
    /// Changes to the response's headers.
    pub response_headers: HeaderEdits,
    /// Changes to the path before it is forwarded.
    pub path: PathRewrite,
    /// Which `Host` the upstream sees.
    pub host: HostRewrite,
    /// Largest request body; over it 413. Default 0: no bound.
    pub max_body: u64,
    /// From the request head to the end of the response; overrides the listener's. Zero: no bound. Not for
    /// WebSockets.
    pub request_timeout: Option<Duration>,
    /// Response compression; `None`: off.
    pub compression: Option<Arc<Compression>>,
    /// WebSocket upgrades; `None` refuses them with 403 on this route.
    pub websocket: Option<WebSocket>,
    /// Plugins in order.
    pub plugins: Vec<Arc<dyn Plugin>>,
    /// What becomes of its WebSockets when it changes.
    pub on_reload: OnReload,
    /// The same for as long as the route and its upstream are configured as they were; plugins are compared by
    /// themselves.
    pub identity: u64,
}

impl Route {
    /// A route of this name that takes every request.
    pub fn new(name: &str, action: Action) -> Self {
        Route {
            name: name.into(),
            matching: Match::default(),
            action,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            path: PathRewrite::default(),
            host: HostRewrite::Keep,
            max_body: 0,
            request_timeout: None,
            compression: None,
            websocket: Some(WebSocket::default()),
            plugins: Vec::new(),
            on_reload: OnReload::default(),
            identity: 0,
        }
    }
}

/// What a route does with a request.
#[derive(Clone, Debug)]
pub enum Action {
    /// Forward it to the upstream group of this name.
    Upstream(Arc<str>),
    /// Answer with a redirect.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
        /// The `Location`; `{scheme} {host} {path} {query}` and the route's captures are filled in.
        to: Arc<str>,
    },
    /// Answer with this.
    Respond {
        /// 200 to 599.
        status: StatusCode,
        /// Headers of the answer.
        headers: HeaderMap,
        /// The body.
        body: Bytes,
    },
    /// Answer with a file.
    Files(Files),
    /// Answer with all metrics.
    Metrics(Arc<dyn Metrics>),
}

/// Static files from a folder. GET and HEAD; ranges, validators and media types by the file.
#[derive(Clone, Debug)]
pub struct Files {
    /// The folder; nothing outside it is ever served.
    pub root: PathBuf,
    /// Served for a path that ends in `/`. Default `index.html`.
    pub index: Arc<str>,
    /// Served with 200 where no file is found, for single-page applications; relative to `root`.
    pub fallback: Option<PathBuf>,
    /// `Cache-Control` of what is found.
    pub cache_control: Option<HeaderValue>,
}

/// Header changes, in this order: remove, set, add.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    /// Names to remove.
    pub remove: Vec<HeaderName>,
    /// Replaces every value of the name.
    pub set: Vec<(HeaderName, ValueTemplate)>,
    /// Adds a value beside those there are.
    pub add: Vec<(HeaderName, ValueTemplate)>,
}

/// A header value, or text with placeholders: `{client_ip} {host} {scheme} {path} {request_id} {route}` and the
/// route's captures.
#[derive(Clone, Debug)]
pub enum ValueTemplate {
    /// The same every time.
    Fixed(HeaderValue),
    /// Literal and placeholder parts in turn.
    Parts(Vec<TemplatePart>),
}

/// One part of a [`ValueTemplate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// This text.
    Literal(Arc<str>),
    /// The value of this name.
    Placeholder(Arc<str>),
}

/// Changes to the path before it is forwarded: strip first, then replace, then add.
#[derive(Clone, Debug, Default)]
pub struct PathRewrite {
    /// Taken off the front where the path has it (by whole segments).
    pub strip_prefix: Option<Arc<str>>,
    /// The whole path anew; captures are filled in.
    pub replace: Option<Arc<str>>,
    /// Put in front.
    pub add_prefix: Option<Arc<str>>,
}

impl PathRewrite {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.strip_prefix.is_none() && self.replace.is_none() && self.add_prefix.is_none()
    }
}

/// Which `Host` the upstream sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRewrite {
    /// The client's.
    Keep,
    /// The endpoint's configured address.
    Endpoint,
    /// This.
    Set(HeaderValue),
}

/// Response compression.
#[derive(Clone, Debug)]
pub struct Compression {
    /// In order of preference where the client likes them equally.
    pub encodings: Vec<Encoding>,
    /// Media types, without parameters; `text/*` takes a whole family.
    pub types: Vec<Arc<str>>,
    /// Bodies known to be smaller are left alone. Default 1 KiB.
    pub min_size: u64,
}

/// A content coding that weir can produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `zstd` (RFC 8878).
    Zstd,
    /// `br` (RFC 7932).
    Brotli,
    /// `gzip` (RFC 1952).
    Gzip,
}
