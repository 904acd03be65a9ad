//! One request and its response as a plugin sees them.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};

use crate::{Connection, Content};

/// Values of the placeholders of a path template, in the template's order.
pub type Captures = Vec<(Arc<str>, String)>;

/// How far an exchange is, which says what a plugin may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The request may still be changed.
    #[default]
    Request,
    /// The request stands; an upstream is chosen.
    Upstream,
    /// The response's head may be changed.
    Response,
    /// It has ended.
    Ended,
}

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
    /// Whether it is the handshake of a WebSocket that weir takes as one: in HTTP/1.1 (RFC 6455, section 4), or made of an
    /// extended CONNECT of HTTP/2 (RFC 8441).
    pub is_websocket: bool,
    /// Request headers, hop-by-hop ones removed; `host` is always there (HTTP/2's `:authority` is put there).
    /// `on_request` may change them.
    pub headers: HeaderMap,
    /// The request's body, while a hook may read and replace it.
    pub request_body: Content,
    /// Response status; set from `on_response` on.
    pub status: StatusCode,
    /// Response headers, hop-by-hop ones removed. `on_response` may change them.
    pub response_headers: HeaderMap,
    /// The response's body, while a hook may read and replace it.
    pub response_body: Content,
    /// How far it is.
    pub phase: Phase,
    /// The upstream group that a plugin has set instead of the route's.
    pub group: Option<Arc<str>>,
    /// The upstream group, where one was chosen.
    pub upstream: Option<Arc<str>>,
    /// The endpoint of the last attempt.
    pub endpoint: Option<Arc<str>>,
    /// Attempts made so far.
    pub attempts: u32,
    /// Why the last attempt failed, where one did.
    pub failure: Option<&'static str>,
}

impl Exchange {
    /// An exchange at its begin, of a request `GET /` without headers. `route` is what stands for its route until one
    /// is found.
    pub fn new(id: u64, connection: Rc<Connection>, route: Arc<str>) -> Self {
        Exchange {
            id,
            request_id: HeaderValue::from_static(""),
            client: connection.peer.ip(),
            connection,
            route,
            captures: Vec::new(),
            method: Method::GET,
            uri: Uri::default(),
            version: Version::HTTP_11,
            is_websocket: false,
            headers: HeaderMap::new(),
            request_body: Content::default(),
            status: StatusCode::OK,
            response_headers: HeaderMap::new(),
            response_body: Content::default(),
            phase: Phase::Request,
            group: None,
            upstream: None,
            endpoint: None,
            attempts: 0,
            failure: None,
        }
    }
}
