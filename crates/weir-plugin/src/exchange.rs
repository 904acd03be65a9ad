//! One request and its response as a plugin sees them.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};

use crate::Connection;

/// Values of the placeholders of a path template, in the template's order.
pub type Captures = Vec<(Arc<str>, String)>;

/// An exchange: what the client asked, where it goes and what came back. Handed to every hook of its life.
#[derive(Debug)]
pub struct Exchange {
    /// Unique in this process, the same in every hook and in the access log.
    pub id: u64,
    /// `X-Request-Id`: made by weir, or kept from a trusted client.
    pub request_id: HeaderValue,
    /// The downstream connection.
    pub connection: Rc<Connection>,
    /// The client's address after trusted proxies are taken into account; `None` on Unix sockets.
    pub client: Option<IpAddr>,
    /// The name of the route in the configuration.
    pub route: Arc<str>,
    /// What the route's path template captured.
    pub captures: Captures,
    /// Request method.
    pub method: Method,
    /// Path (normalised) and query (as received). A hook may change it before an upstream is chosen.
    pub uri: Uri,
    /// As received.
    pub version: Version,
    /// Request headers, hop-by-hop ones removed; `host` is always there (HTTP/2's `:authority` is put there).
    /// `on_request` may change them.
    pub headers: HeaderMap,
    /// Response status; set from `on_response` on.
    pub status: StatusCode,
    /// Response headers, hop-by-hop ones removed. `on_response` may change them.
    pub response_headers: HeaderMap,
    /// The upstream group, where one was chosen.
    pub upstream: Option<Arc<str>>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<Arc<str>>,
    /// Attempts made so far.
    pub attempts: u32,
}
