//! What an engine implements.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::message::headers::Side;
use crate::services::Services;
use crate::websocket::{Closed, Frame, FrameVerdict, Watch};
use crate::{
    ConnectVerdict, Connection, Exchange, Held, Piece, Policy, Selection, Target, Timers, Verdict, WebSocket,
};

/// The hooks that a plugin wants. One that is not wanted is never called and costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// [`Instance::on_connect`].
    pub connect: bool,
    /// [`Visit::on_request`].
    pub request: bool,
    /// [`Visit::flow`] of requests.
    pub request_body: bool,
    /// [`Visit::select_upstream`].
    pub select_upstream: bool,
    /// [`Visit::on_response`].
    pub response: bool,
    /// [`Visit::flow`] of responses.
    pub response_body: bool,
    /// [`Visit::on_log`].
    pub log: bool,
    /// [`Visit::on_websocket`].
    pub websocket: bool,
    /// [`Talk::on_frame`].
    pub frame: bool,
    /// [`Talk::on_message`].
    pub message: bool,
    /// [`Talk::on_close`].
    pub close: bool,
    /// [`Visit::on_migrate`].
    pub migrate: bool,
    /// [`Instance::on_timer`].
    pub timer: bool,
    /// [`Instance::on_tick`], so often; at least every second.
    pub tick: Option<Duration>,
}

/// Why a plugin could not be made ready.
#[derive(Clone, Debug, thiserror::Error)]
#[error("plugin {plugin}: {message}")]
pub struct PluginError {
    /// The plugin's name.
    pub plugin: String,
    /// What went wrong, with the plugin's own file and line where there is one.
    pub message: String,
}

/// A compiled plugin with its settings: part of a snapshot, shared by all workers.
pub trait Plugin: Send + Sync + std::fmt::Debug + 'static {
    /// Its name in the configuration.
    fn name(&self) -> &str;
    /// What it wants; asked once when a snapshot is assembled.
    fn hooks(&self) -> Hooks;
    /// What it may use and do, and what happens when it fails.
    fn policy(&self) -> &Policy;
    /// A fresh instance for the worker that calls this; waits where the plugin's own start does.
    fn instantiate(&self) -> Step<'_, Result<Rc<dyn Instance>, PluginError>>;
    /// The same plugin, lent these services instead, to be tried without effects before it serves. `None` where it has
    /// no way to be lent others.
    fn lent(&self, _services: &Services) -> Option<Arc<dyn Plugin>> {
        None
    }
}

/// What a call comes to: a value at once, or one that waits.
pub enum Step<'a, T> {
    /// It has run.
    Done(T),
    /// It waits; dropping the future cancels it.
    Wait(Pin<Box<dyn Future<Output = T> + 'a>>),
}

impl Hooks {
    /// Whether there is one that runs for the requests of a route.
    pub fn is_for_routes(&self) -> bool {
        let body = self.request_body || self.response_body;
        self.request || self.select_upstream || self.response || self.log || body || self.is_for_relays()
    }

    /// Whether there is one for which the frames of WebSockets are read.
    pub fn is_for_relays(&self) -> bool {
        self.websocket || self.frame || self.message || self.close
    }
}

impl<T> Step<'_, T> {
    /// The value, waited for if need be.
    pub async fn finish(self) -> T {
        match self {
            Step::Done(value) => value,
            Step::Wait(future) => future.await,
        }
    }
}

/// A plugin on one worker.
pub trait Instance: 'static {
    /// Begins an exchange.
    fn visit(self: Rc<Self>) -> Box<dyn Visit>;

    /// A client has connected to a listener that names the plugin: after the PROXY header and the TLS handshake, before
    /// anything is read of what it asks. Dropped where it waits and the client leaves, or weir stops.
    fn on_connect(&self, _connection: Rc<Connection>) -> Step<'static, ConnectVerdict> {
        Step::Done(ConnectVerdict::Accept)
    }

    /// Timers that the plugin has set on this instance; asked for where it wants [`Instance::on_timer`].
    fn timers(&self) -> Option<Rc<Timers>> {
        None
    }

    /// A timer of this name is over. One at a time.
    fn on_timer(&self, _name: String) -> Step<'static, Result<(), String>> {
        Step::Done(Ok(()))
    }

    /// Every so often, on one worker only.
    fn on_tick(&self) -> Step<'static, Result<(), String>> {
        Step::Done(Ok(()))
    }

    /// Whether new exchanges should get a fresh instance, for example because the memory of this one is nearly used
    /// up. What is under way on it comes to its end.
    fn is_spent(&self) -> bool {
        false
    }
}

/// A plugin on one exchange, from its first hook to its last. Hooks run in the order of the configuration, those of
/// the response in reverse. An `Err` is a failure of the plugin (its text is for the log only): its failure policy
/// says what happens.
pub trait Visit {
    /// After routing, before an upstream is chosen. May change the request.
    fn on_request<'a>(&'a mut self, _exchange: &'a mut Held) -> Step<'a, Verdict> {
        Step::Done(Verdict::Proceed)
    }

    /// Before each attempt. The first plugin that does not return [`Target::Default`] decides.
    fn select_upstream<'a>(
        &'a mut self,
        _exchange: &'a mut Held,
        _selection: &'a Selection,
    ) -> Step<'a, Result<Target, String>> {
        Step::Done(Ok(Target::Default))
    }

    /// When the response head is there, before it is sent. May change status and headers.
    fn on_response<'a>(&'a mut self, _exchange: &'a mut Held) -> Step<'a, Verdict> {
        Step::Done(Verdict::Proceed)
    }

    /// The plugin on the body of the request, asked for after `on_request`, or of the response, after `on_response`.
    /// `None` where it lets this one pass. It goes on beside the other hooks, and may outlive this.
    fn flow(&mut self, _side: Side, _exchange: &Exchange) -> Option<Box<dyn Flow>> {
        None
    }

    /// The exchange has become a WebSocket relay, whose frames are not read before this has come to its end. What the
    /// plugin wants to see of it; where it has no such hook, what [`Hooks`] say.
    fn on_websocket<'a>(
        &'a mut self,
        _exchange: &'a mut Held,
        _ws: &'a Rc<WebSocket>,
        has: Watch,
    ) -> Step<'a, Result<Watch, String>> {
        Step::Done(Ok(has))
    }

    /// The plugin on the relay, asked for after [`Visit::on_websocket`] or [`Visit::on_migrate`]. `None` where it wants
    /// none of [`Talk`].
    fn talk(&mut self, _ws: &Rc<WebSocket>) -> Option<Rc<dyn Talk>> {
        None
    }

    /// Instead of [`Visit::on_websocket`]: the relay was another generation's, whose plugin of this name has saved this of
    /// its state. On an error the relay stays with the other.
    fn on_migrate<'a>(
        &'a mut self,
        _exchange: &'a mut Held,
        _ws: &'a Rc<WebSocket>,
        _saved: Bytes,
        has: Watch,
    ) -> Step<'a, Result<Watch, String>> {
        Step::Done(Ok(has))
    }

    /// Exactly once when the exchange has ended, also after a client abort.
    fn on_log<'a>(&'a mut self, _exchange: &'a mut Held) -> Step<'a, Result<(), String>> {
        Step::Done(Ok(()))
    }
}

/// A plugin on a body that flows through it.
pub trait Flow {
    /// The next piece, without its content coding where that is one that is known; in the end once more, with `last`
    /// and no bytes. Not called again before what it returned has come to its end.
    fn piece(&mut self, piece: Bytes, last: bool) -> Step<'static, Piece>;
}

/// A plugin on a WebSocket relay. Each direction is on its own: a hook that waits holds back what follows in its
/// direction, and nothing else. All but [`Talk::on_close`] may therefore be called for one direction while a call for the
/// other waits.
pub trait Talk {
    /// A frame as it came: a message, a fragment of one, a ping or a pong.
    fn on_frame(&self, _frame: Frame) -> Step<'static, FrameVerdict> {
        Step::Done(FrameVerdict::Forward)
    }

    /// A message, put together. After [`Talk::on_frame`] of all plugins.
    fn on_message(&self, _message: Frame) -> Step<'static, FrameVerdict> {
        Step::Done(FrameVerdict::Forward)
    }

    /// What the plugin wants to see of the relay from now on, where it has asked for something else since this was called
    /// last. Asked before frames are looked at, and when a hook has come to its end.
    fn changed(&self) -> Option<Watch> {
        None
    }

    /// The relay has ended: exactly once, before [`Visit::on_log`].
    fn on_close(&self, _closed: Closed) -> Step<'static, Result<(), String>> {
        Step::Done(Ok(()))
    }

    /// What the plugin keeps of the relay, for the one of a later generation, which may be another engine's. Called
    /// between two messages, while no other hook runs.
    fn save(&self) -> Step<'static, Result<Bytes, String>> {
        Step::Done(Ok(Bytes::new()))
    }
}
