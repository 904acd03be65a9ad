//! What a hook returns.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// A whole answer made by a plugin instead of an upstream.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 200 to 599.
    pub status: StatusCode,
    /// Without framing: `content-length` and `transfer-encoding` are set by the host.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// What `on_connect` returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectVerdict {
    /// Go on with the next plugin, then with the connection.
    Accept,
    /// Close the connection without an answer; later plugins are not asked.
    Refuse,
    /// The plugin could not decide; its failure policy says what happens. The text goes to the log only.
    Fail(String),
}

/// What `on_request` and `on_response` return.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Go on with the next plugin, then with the exchange.
    Proceed,
    /// Answer with this; later plugins' `on_request` does not run, no upstream is asked.
    Respond(Reply),
    /// The plugin could not decide; its failure policy says what happens. The text goes to the log only.
    Fail(String),
}

/// What a body hook makes of a piece.
#[derive(Clone, Debug)]
pub enum Piece {
    /// It goes on as it is.
    Pass,
    /// These bytes go on instead; none at all holds the piece back.
    Replace(Bytes),
    /// Of a request whose response has not begun: answer with this instead.
    Respond(Reply),
    /// The plugin could not do its work; its failure policy says what happens. The text goes to the log only.
    Fail(String),
}

/// What `select_upstream` returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// What the route says.
    Default,
    /// The upstream group of this name, balanced as configured.
    Group(Arc<str>),
    /// This endpoint of the group, by its configured address.
    Endpoint(Arc<str>),
    /// The group, by consistent hash of these bytes.
    HashKey(Bytes),
}

/// What `select_upstream` is told.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The upstream group of the route, or the one that a plugin has set for the request.
    pub group: Arc<str>,
    /// In the order of the configuration.
    pub candidates: Vec<Candidate>,
    /// Attempts made before: 0 at the first.
    pub attempt: u32,
    /// Why the last attempt failed; `None` at the first.
    pub failure: Option<&'static str>,
}

/// An endpoint that `select_upstream` may choose.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// As configured, for example `10.0.0.1:8080`.
    pub address: Arc<str>,
    /// 1 to 65535.
    pub weight: u16,
    /// Exchanges that are under way on it now, over all workers.
    pub load: u32,
    /// False while it is skipped because it refused connections.
    pub available: bool,
}
