//! Calls of plugins to other servers.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};

use crate::Content;
use crate::error::Result;

/// A request of a plugin's own.
#[derive(Clone, Debug)]
pub struct HttpCall {
    /// The upstream group that takes it: its name in the configuration, or an origin that the plugin was granted
    /// (`https://login.example.com`), which is a group of its own.
    pub group: Arc<str>,
    /// Request method.
    pub method: Method,
    /// Path and query.
    pub target: PathAndQuery,
    /// With `host`; without fields of the connection.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// For the whole call: until the head of the response is there, and for each piece of its body.
    pub timeout: Duration,
}

/// The answer to a request of a plugin's own.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Final, never informational.
    pub status: StatusCode,
    /// Without fields of the connection.
    pub headers: HeaderMap,
    /// Its body, which is read as it is asked for.
    pub body: Content,
}

/// Sends requests of plugins, through the same connections, balance and health as those of clients.
pub trait HttpClient: Debug + Send + Sync {
    /// Sends a request and waits for the head of its response. Dropping the future gives it up.
    fn send(&self, call: HttpCall) -> Pin<Box<dyn Future<Output = Result<HttpAnswer>>>>;
}
