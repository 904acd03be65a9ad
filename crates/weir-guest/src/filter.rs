//! What a plugin is: [`Filter`], and one trait for each hook.
//!
//! A hook may run many times in one instance, for many exchanges, but never at the same time as another: while one waits
//! for the host, no other is called. State that is the instance's goes into the filter, in a `Cell` or a `RefCell`.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::bindings::weir::plugin::types::{Closed, Error, Frame, Hooks, Selection, Target, Watch};
use crate::message::{Connection, Request, Response};
use crate::verdict::{ConnectVerdict, FrameVerdict, Piece, Verdict};
use crate::websocket::Relay;

/// Why a plugin could not do its work: what its failure policy says happens then. The text goes to weir's log only.
///
/// Every error becomes one with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// With this text for the log.
    pub fn new(text: impl Into<String>) -> Failure {
        Failure(text.into())
    }

    /// The text for the log.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The text for the log.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Failure {
        let any: &(dyn std::error::Error + 'static) = &error;
        Failure(any.downcast_ref::<Error>().map_or_else(|| error.to_string(), describe))
    }
}

/// As in weir's log.
fn describe(error: &Error) -> String {
    match error {
        Error::Denied(text) => format!("denied: {text}"),
        Error::NotFound => "not found".to_owned(),
        Error::TooLarge(most) => format!("too large: at most {most}"),
        Error::Timeout => "took too long".to_owned(),
        Error::Cancelled => "cancelled".to_owned(),
        Error::Invalid(text) => format!("invalid: {text}"),
        Error::Failed(text) => text.clone(),
    }
}

/// What hooks return.
pub type Result<T> = std::result::Result<T, Failure>;

/// A plugin: made of its settings, once in each instance.
pub trait Filter: Sized + 'static {
    /// The plugin's settings in weir's configuration, which were checked against its schema, with defaults filled in.
    type Settings: DeserializeOwned;
    /// What the plugin keeps for one exchange, from its first hook to its last.
    type Exchange: Default + 'static;

    /// Before any other, in each instance, and once more in the proof before a configuration is published; it has no
    /// effects outside, and no calls of `http`. A failure refuses the configuration.
    fn load(settings: Self::Settings) -> Result<Self>;

    /// Of the hooks that there are traits for, those that these settings need; one that is not wanted costs nothing.
    fn wants(&self) -> Hooks {
        Hooks::all()
    }

    /// What is kept for a new exchange, whose number is unique in this instance. Where `Exchange` has no size, as `()`, this is
    /// called once, with 0.
    fn open(&self, id: u64) -> Self::Exchange {
        let _ = id;
        Self::Exchange::default()
    }
}

/// The hook of a connection, before there is a request.
pub trait OnConnect: Filter {
    /// Once for each connection of the listeners that name the plugin: after the PROXY header and the TLS handshake, before
    /// anything is read of what the client asks.
    fn on_connect(&self, connection: &Connection) -> Result<ConnectVerdict>;
}

/// The hook of a request's head.
pub trait OnRequest: Filter {
    /// After routing, before an upstream is chosen.
    fn on_request(&self, x: &mut Self::Exchange, req: &Request) -> Result<Verdict>;
}

/// The hook of a request's body.
pub trait OnRequestBody: Filter {
    /// Each piece on its way to the upstream, as it comes, without its content coding; in the end once more, with `last` and
    /// no bytes.
    fn on_request_body(&self, x: &mut Self::Exchange, data: &[u8], last: bool) -> Result<Piece>;
}

/// The hook that chooses where a request goes.
pub trait SelectUpstream: Filter {
    /// Before each attempt; the first plugin that does not say [`Target::Default`] decides.
    fn select_upstream(&self, x: &mut Self::Exchange, selection: &Selection, req: &Request)
    -> Result<Target>;
}

/// The hook of a response's head.
pub trait OnResponse: Filter {
    /// When the head is there, before it is sent; plugins in reverse order.
    fn on_response(&self, x: &mut Self::Exchange, res: &Response, req: &Request) -> Result<Verdict>;
}

/// The hook of a response's body.
pub trait OnResponseBody: Filter {
    /// Each piece on its way to the client, as [`OnRequestBody::on_request_body`]; plugins in reverse order.
    fn on_response_body(&self, x: &mut Self::Exchange, data: &[u8], last: bool) -> Result<Piece>;
}

/// The hook of an exchange's end.
pub trait OnLog: Filter {
    /// Exactly once when the exchange has ended, also after the client left. A failure goes to the log.
    fn on_log(&self, x: &mut Self::Exchange, res: &Response, req: &Request) -> Result<()>;
}

/// The hook of a WebSocket's begin.
pub trait OnWebsocket: Filter {
    /// Once, when both sides have agreed, before any frame is read. Says what the plugin wants of this relay; where no plugin
    /// wants anything, bytes pass unread from then on.
    fn on_websocket(&self, x: &mut Self::Exchange, ws: &Relay, req: &Request) -> Result<Watch>;
}

/// The hook of a WebSocket's frames.
pub trait OnFrame: Filter {
    /// Each frame as it comes: messages, their fragments, pings and pongs.
    fn on_frame(&self, x: &mut Self::Exchange, ws: &Relay, frame: &Frame) -> Result<FrameVerdict>;
}

/// The hook of a WebSocket's messages.
pub trait OnMessage: Filter {
    /// Each message, its fragments put together, after [`OnFrame::on_frame`] of all plugins.
    fn on_message(&self, x: &mut Self::Exchange, ws: &Relay, message: &Frame) -> Result<FrameVerdict>;
}

/// The hook of a WebSocket's end.
pub trait OnClose: Filter {
    /// Exactly once when the relay has ended, where the plugin wanted anything of it. A failure goes to the log.
    fn on_close(&self, x: &mut Self::Exchange, ws: &Relay, closed: &Closed) -> Result<()>;
}

/// The hooks that bring WebSockets of a route with `on_reload = "migrate"` to a new generation's code.
pub trait Migrate: Filter {
    /// What is kept of a relay, for the plugin of this name in the next generation.
    fn save(&self, x: &mut Self::Exchange) -> Result<Vec<u8>>;

    /// Instead of [`OnWebsocket::on_websocket`]: the state of an exchange from what the generation before has saved. On a
    /// failure the relay stays with that generation.
    fn on_migrate(&self, x: &mut Self::Exchange, ws: &Relay, old: &[u8]) -> Result<Watch>;
}

/// The hook of regular work in the background.
pub trait OnTick: Filter {
    /// Time between two ticks, at least a second; none: a minute.
    fn tick_every(&self) -> Option<Duration> {
        None
    }

    /// On one worker of the process only, for work that is needed once: also before the first request. A failure goes to
    /// the log.
    fn on_tick(&self) -> Result<()>;
}

/// The hook of timers.
pub trait OnTimer: Filter {
    /// A timer that [`timer::set`](crate::timer::set) has set is over. On the worker that set it; one at a time. A failure goes to
    /// the log.
    fn on_timer(&self, name: &str) -> Result<()>;
}
