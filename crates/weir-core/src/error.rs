//! What can go wrong in an exchange: whom to blame, which status that is, and the short reason in the log.

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client, or the network to it.
    Downstream,
    /// An upstream, or the network to it.
    Upstream,
    /// A plugin.
    Plugin,
    /// weir.
    Internal,
}

/// Why an exchange did not go as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request breaks a rule of HTTP. 400.
    BadRequest,
    /// The request names a transfer coding, upgrade or method that weir does not speak. 501.
    NotImplemented,
    /// No route takes the request. 404.
    NoRoute,
    /// The route does not take this method. 405.
    MethodNotAllowed,
    /// The client was not there in time with the rest of its request. 408.
    RequestTimeout,
    /// The body is longer than the route allows. 413.
    BodyTooLarge,
    /// The request target is too long. 414.
    UriTooLong,
    /// This connection was not verified for what the route asks of clients. 421 (RFC 9110, section 15.5.20).
    Misdirected,
    /// The route takes no WebSockets. 403.
    UpgradeRefused,
    /// A WebSocket version other than 13. 426 (RFC 6455, section 4.2.2).
    WebSocketVersion,
    /// The head is too long or has too many fields. 431.
    HeadTooLarge,
    /// No byte passed through a relay for too long. 408.
    Idle,
    /// weir was told to stop before a relay had ended. 503.
    Stopped,
    /// A relay was to end because of a changed configuration. 503.
    Reloaded,
    /// A version of HTTP other than 1.0, 1.1 and 2. 505.
    VersionNotSupported,
    /// The client went away. Logged as 499.
    ClientGone,
    /// The endpoint could not be connected to. 502.
    Connect,
    /// The upstream's certificate was not accepted, or the handshake failed. 502.
    UpstreamTls,
    /// The upstream closed the connection before its response was whole. 502.
    UpstreamClosed,
    /// The upstream's response breaks a rule of HTTP. 502.
    UpstreamInvalid,
    /// No endpoint of the group has an address. 503.
    NoEndpoint,
    /// A bound of weir's own was reached. 503.
    Overloaded,
    /// The endpoint did not accept the connection in time. 504.
    ConnectTimeout,
    /// The upstream did not answer in time. 504.
    ResponseTimeout,
    /// The exchange took longer than the route allows. 504.
    ExchangeTimeout,
    /// A plugin failed. 502.
    Plugin,
    /// A fault of weir's own. 500.
    Internal,
}

impl Kind {
    /// Blame, status and the short reason that the access log shows.
    const fn facts(self) -> (Blame, u16, &'static str) {
        use Blame::{Downstream, Internal, Plugin, Upstream};
        match self {
            Kind::BadRequest => (Downstream, 400, "bad_request"),
            Kind::NotImplemented => (Downstream, 501, "not_implemented"),
            Kind::NoRoute => (Downstream, 404, "no_route"),
            Kind::MethodNotAllowed => (Downstream, 405, "method_not_allowed"),
            Kind::RequestTimeout => (Downstream, 408, "request_timeout"),
            Kind::BodyTooLarge => (Downstream, 413, "body_too_large"),
            Kind::UriTooLong => (Downstream, 414, "uri_too_long"),
            Kind::Misdirected => (Downstream, 421, "misdirected"),
            Kind::UpgradeRefused => (Downstream, 403, "upgrade_refused"),
            Kind::WebSocketVersion => (Downstream, 426, "websocket_version"),
            Kind::HeadTooLarge => (Downstream, 431, "head_too_large"),
            Kind::Idle => (Downstream, 408, "idle"),
            Kind::Stopped => (Internal, 503, "stopped"),
            Kind::Reloaded => (Internal, 503, "reloaded"),
            Kind::VersionNotSupported => (Downstream, 505, "version_not_supported"),
            Kind::ClientGone => (Downstream, 499, "client_gone"),
            Kind::Connect => (Upstream, 502, "connect_failed"),
            Kind::UpstreamTls => (Upstream, 502, "upstream_tls"),
            Kind::UpstreamClosed => (Upstream, 502, "upstream_closed"),
            Kind::UpstreamInvalid => (Upstream, 502, "upstream_invalid"),
            Kind::NoEndpoint => (Upstream, 503, "no_endpoint"),
            Kind::Overloaded => (Internal, 503, "overloaded"),
            Kind::ConnectTimeout => (Upstream, 504, "connect_timeout"),
            Kind::ResponseTimeout => (Upstream, 504, "response_timeout"),
            Kind::ExchangeTimeout => (Upstream, 504, "exchange_timeout"),
            Kind::Plugin => (Plugin, 502, "plugin_failed"),
            Kind::Internal => (Internal, 500, "internal"),
        }
    }

    /// Whose fault it is.
    pub fn blame(self) -> Blame {
        self.facts().0
    }

    /// The status that tells the client.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.facts().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// One word for logs and metrics.
    pub fn reason(self) -> &'static str {
        self.facts().2
    }
}

/// Why an attempt on an upstream failed that may be made again.
#[derive(Clone, Copy, Debug)]
pub struct AttemptFailure {
    /// What plugins are told ([`weir_plugin::Selection::failure`]).
    pub text: &'static str,
    /// What the exchange comes to if it is not made again; `None` where that is the upstream's response.
    pub kind: Option<Kind>,
    /// Whether the endpoint is skipped for a while.
    pub skips: bool,
}

impl AttemptFailure {
    /// What is said of a response whose status is one to try again for.
    pub const STATUS: &str = "its status is one to try again for";

    /// What is said of an upstream with `protocol = "http2"` and no TLS that cannot be sent a WebSocket.
    pub const NO_WEBSOCKETS: &str =
        "the upstream takes no WebSockets over HTTP/2: protocol = \"http1\" opens them over HTTP/1.1";

    /// All that there are.
    pub const ALL: [AttemptFailure; 22] = {
        const fn of(kind: Kind, skips: bool, text: &'static str) -> AttemptFailure {
            AttemptFailure { text, kind: Some(kind), skips }
        }
        use Kind::{
            Connect, ConnectTimeout, NoEndpoint, ResponseTimeout, UpstreamClosed, UpstreamInvalid,
            UpstreamTls,
        };
        [
            of(Connect, true, "the endpoint refused the connection"),
            of(Connect, true, "the endpoint cannot be reached"),
            of(Connect, true, "the endpoint did not answer the kernel's connection attempts"),
            of(Connect, true, "the endpoint's queue of connections is full"),
            of(Connect, true, "there is no such Unix socket"),
            of(Connect, false, "no local port is left for another connection to the endpoint"),
            of(Connect, false, "the connection failed"),
            of(ConnectTimeout, true, "the endpoint did not take the connection in time"),
            of(NoEndpoint, false, "the endpoint has no address"),
            of(UpstreamTls, false, "the TLS handshake with the endpoint failed"),
            of(UpstreamTls, false, "the endpoint does not offer HTTP/2 (ALPN h2)"),
            of(UpstreamClosed, false, "the upstream closed the connection before its response"),
            of(UpstreamClosed, false, "the HTTP/2 connection did not open"),
            of(UpstreamClosed, false, "the upstream closed the HTTP/2 connection"),
            of(UpstreamClosed, false, "the upstream is closing the connection"),
            of(UpstreamClosed, false, "the upstream refused the stream"),
            of(UpstreamClosed, false, "the upstream reset the stream"),
            of(UpstreamInvalid, false, "the upstream wants HTTP/1.1 for this request"),
            of(UpstreamInvalid, false, "the upstream broke a rule of HTTP/2"),
            of(UpstreamInvalid, false, Self::NO_WEBSOCKETS),
            of(ResponseTimeout, false, "no response from the upstream"),
            AttemptFailure { text: Self::STATUS, kind: None, skips: false },
        ]
    };

    /// The one that is said in these words.
    pub fn said(text: &str) -> Option<&'static AttemptFailure> {
        const ALL: &[AttemptFailure] = &AttemptFailure::ALL;
        ALL.iter().find(|failure| failure.text == text)
    }
}

/// An error of an exchange. The text is for logs, never for clients.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    detail: &'static str,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind; `detail` says what in a few words, lower case, without a full stop.
    pub fn new(kind: Kind, detail: &'static str) -> Self {
        Error { kind, detail, source: None }
    }

    /// The same with a cause.
    pub fn because(
        kind: Kind,
        detail: &'static str,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Error { kind, detail, source: Some(source.into()) }
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What happened, in a few words.
    pub fn detail(&self) -> &'static str {
        self.detail
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.reason(), self.detail)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn StdError + 'static))
    }
}

/// A result with an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
