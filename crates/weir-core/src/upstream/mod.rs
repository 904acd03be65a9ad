//! Upstream groups: choosing an endpoint, connecting, pooling, trying again.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use http::{HeaderMap, HeaderValue, Uri};
use weir_plugin::{Candidate, Exchange};

use crate::body::Body;
use crate::error::Error;
use crate::net::{Deadline, Stream};
use crate::worker::Worker;
use crate::{http1, spec};

/// A group of endpoints, ready to serve. Shared by all workers.
#[derive(Debug)]
pub struct Group {
    /// What was asked for.
    pub spec: spec::Upstream,
    /// In the order of the configuration.
    pub endpoints: Vec<Arc<Endpoint>>,
}

/// An endpoint, with what all workers know of it.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique in this process, also over generations: an unchanged endpoint keeps its id, pools and load.
    pub id: usize,
    /// As configured, for example `10.0.0.1:8080` or `unix:/run/app.sock`.
    pub address: Arc<str>,
    /// What was asked for.
    pub spec: spec::EndpointSpec,
    /// Exchanges under way, over all workers.
    pub load: AtomicU32,
}

/// Why a group cannot be.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// It has no endpoint.
    #[error("it has no endpoint")]
    Empty,
}

/// A chosen endpoint. Counts as load of the endpoint until it is dropped.
#[derive(Debug)]
pub struct Choice {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// A `Set-Cookie` to add to the response, for sticky groups.
    pub set_cookie: Option<HeaderValue>,
}

/// A connection to send one request on.
pub enum Lease {
    /// HTTP/1.1.
    Http1 {
        /// The connection. It goes back to its pool by itself when the response was read to its end.
        connection: http1::client::Connection,
        /// Whether it carried a request before: then its failure may only mean that it had been idle too long.
        reused: bool,
    },
    /// HTTP/2.
    Http2(Http2Sender),
}

/// Sends requests on an HTTP/2 connection to an upstream.
pub struct Http2Sender {}

/// Idle connections of one worker to all endpoints.
#[derive(Default)]
pub struct Pools {}

impl Group {
    /// Compiles a group. Endpoints that `previous` has too keep their identity.
    ///
    /// # Errors
    /// See [`GroupError`].
    pub fn new(_spec: &spec::Upstream, _previous: Option<&Group>) -> Result<Self, GroupError> {
        unimplemented!()
    }

    /// Chooses an endpoint that is not in `tried` (ids) as long as there is another; prefers those not skipped.
    /// `key` overrides what a hash is taken of. `None`: there is none with an address.
    pub fn choose(&self, _exchange: &Exchange, _key: Option<&[u8]>, _tried: &[usize]) -> Option<Choice> {
        unimplemented!()
    }

    /// The endpoint of this configured address, counted as load.
    pub fn endpoint(&self, _address: &str) -> Option<Choice> {
        unimplemented!()
    }

    /// What `select_upstream` may choose from.
    pub fn candidates(&self) -> Vec<Candidate> {
        unimplemented!()
    }

    /// Tells the retry budget of a request; called once an exchange.
    pub fn count_request(&self) {
        unimplemented!()
    }

    /// Takes one retry from the budget; false: there is none left.
    pub fn take_retry(&self) -> bool {
        unimplemented!()
    }
}

/// A connection to an endpoint: a pooled one, or a fresh one if there is none or `fresh` asks for it. Bounded by
/// the group's connect timeout. Marks the endpoint as refusing if it refuses.
///
/// # Errors
/// `Connect`, `ConnectTimeout`, `UpstreamTls`, `NoEndpoint`.
pub async fn lease(
    _worker: &Rc<Worker>,
    _group: &Arc<Group>,
    _endpoint: &Arc<Endpoint>,
    _fresh: bool,
    _deadline: &mut Deadline,
) -> Result<Lease, Error> {
    unimplemented!()
}

/// A fresh stream to an endpoint for bytes (layer 4, or an HTTP/1.1 upgrade: ALPN then says `http/1.1`).
///
/// # Errors
/// As [`lease`].
pub async fn connect(
    _group: &Group,
    _endpoint: &Endpoint,
    _deadline: &mut Deadline,
) -> Result<Stream, Error> {
    unimplemented!()
}

impl Http2Sender {
    /// Sends a request; resolves when the response head is there. Dropping the future resets the stream. The
    /// error says by [`Http2Error::unprocessed`] whether the upstream has certainly not seen the request.
    ///
    /// # Errors
    /// See [`Http2Error`].
    pub async fn send(
        &mut self,
        _method: http::Method,
        _uri: Uri,
        _headers: HeaderMap,
        _body: Body,
    ) -> Result<http::Response<Body>, Http2Error> {
        unimplemented!()
    }
}

/// Why an HTTP/2 request failed.
#[derive(Debug)]
pub struct Http2Error {
    /// What happened.
    pub error: Error,
    /// The upstream has certainly not processed the request (REFUSED_STREAM, or GOAWAY below its id).
    pub unprocessed: bool,
}
