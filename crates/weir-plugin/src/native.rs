//! Plugins as Rust closures: for tests, and the proof that the data plane knows no engine.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::message::headers::Side;
use crate::websocket::{Closed, Frame, FrameVerdict, Watch};
use crate::{
    ConnectVerdict, Connection, Exchange, Flow, Held, Hooks, Instance, Piece, Plugin, PluginError, Policy,
    Selection, Step, Talk, Target, Verdict, Visit, WebSocket,
};

type ConnectHook = dyn Fn(&Connection) -> ConnectVerdict + Send + Sync;
type RequestHook = dyn Fn(&mut Exchange) -> Verdict + Send + Sync;
type SelectHook = dyn Fn(&mut Exchange, &Selection) -> Target + Send + Sync;
type BodyHook = dyn Fn(Bytes, bool) -> Piece + Send + Sync;
type WebSocketHook = dyn Fn(&mut Exchange, &WebSocket, Watch) -> Watch + Send + Sync;
type FrameHook = dyn Fn(&Frame, &WebSocket) -> FrameVerdict + Send + Sync;
type CloseHook = dyn Fn(&Closed, &WebSocket) + Send + Sync;
type LogHook = dyn Fn(&Exchange) + Send + Sync;

/// A plugin made of closures.
///
/// ```
/// use weir_plugin::{Verdict, native::Native};
/// let plugin = Native::new("stamp").on_request(|x| {
///     x.headers.insert("x-stamp", http::HeaderValue::from_static("1"));
///     Verdict::Proceed
/// });
/// # let _ = plugin;
/// ```
#[derive(Clone)]
pub struct Native {
    name: Arc<str>,
    policy: Policy,
    connect: Option<Arc<ConnectHook>>,
    request: Option<Arc<RequestHook>>,
    request_body: Option<Arc<BodyHook>>,
    select: Option<Arc<SelectHook>>,
    response: Option<Arc<RequestHook>>,
    response_body: Option<Arc<BodyHook>>,
    websocket: Option<Arc<WebSocketHook>>,
    frame: Option<Arc<FrameHook>>,
    message: Option<Arc<FrameHook>>,
    close: Option<Arc<CloseHook>>,
    log: Option<Arc<LogHook>>,
}

impl Native {
    /// A plugin of this name without hooks.
    pub fn new(name: &str) -> Self {
        Native {
            name: name.into(),
            policy: Policy::default(),
            connect: None,
            request: None,
            request_body: None,
            select: None,
            response: None,
            response_body: None,
            websocket: None,
            frame: None,
            message: None,
            close: None,
            log: None,
        }
    }

    /// Sets how it is run.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets [`Instance::on_connect`].
    pub fn on_connect(
        mut self,
        hook: impl Fn(&Connection) -> ConnectVerdict + Send + Sync + 'static,
    ) -> Self {
        self.connect = Some(Arc::new(hook));
        self
    }

    /// Sets [`Visit::on_request`].
    pub fn on_request(mut self, hook: impl Fn(&mut Exchange) -> Verdict + Send + Sync + 'static) -> Self {
        self.request = Some(Arc::new(hook));
        self
    }

    /// Sets [`Flow::piece`] of requests.
    pub fn on_request_body(mut self, hook: impl Fn(Bytes, bool) -> Piece + Send + Sync + 'static) -> Self {
        self.request_body = Some(Arc::new(hook));
        self
    }

    /// Sets [`Visit::select_upstream`].
    pub fn select_upstream(
        mut self,
        hook: impl Fn(&mut Exchange, &Selection) -> Target + Send + Sync + 'static,
    ) -> Self {
        self.select = Some(Arc::new(hook));
        self
    }

    /// Sets [`Visit::on_response`].
    pub fn on_response(mut self, hook: impl Fn(&mut Exchange) -> Verdict + Send + Sync + 'static) -> Self {
        self.response = Some(Arc::new(hook));
        self
    }

    /// Sets [`Flow::piece`] of responses.
    pub fn on_response_body(mut self, hook: impl Fn(Bytes, bool) -> Piece + Send + Sync + 'static) -> Self {
        self.response_body = Some(Arc::new(hook));
        self
    }

    /// Sets [`Visit::on_websocket`].
    pub fn on_websocket(
        mut self,
        hook: impl Fn(&mut Exchange, &WebSocket, Watch) -> Watch + Send + Sync + 'static,
    ) -> Self {
        self.websocket = Some(Arc::new(hook));
        self
    }

    /// Sets [`Talk::on_frame`].
    pub fn on_frame(
        mut self,
        hook: impl Fn(&Frame, &WebSocket) -> FrameVerdict + Send + Sync + 'static,
    ) -> Self {
        self.frame = Some(Arc::new(hook));
        self
    }

    /// Sets [`Talk::on_message`].
    pub fn on_message(
        mut self,
        hook: impl Fn(&Frame, &WebSocket) -> FrameVerdict + Send + Sync + 'static,
    ) -> Self {
        self.message = Some(Arc::new(hook));
        self
    }

    /// Sets [`Talk::on_close`].
    pub fn on_close(mut self, hook: impl Fn(&Closed, &WebSocket) + Send + Sync + 'static) -> Self {
        self.close = Some(Arc::new(hook));
        self
    }

    /// Sets [`Visit::on_log`].
    pub fn on_log(mut self, hook: impl Fn(&Exchange) + Send + Sync + 'static) -> Self {
        self.log = Some(Arc::new(hook));
        self
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").field("name", &self.name).field("hooks", &self.hooks()).finish()
    }
}

impl Plugin for Native {
    fn name(&self) -> &str {
        &self.name
    }

    fn hooks(&self) -> Hooks {
        Hooks {
            connect: self.connect.is_some(),
            request: self.request.is_some(),
            request_body: self.request_body.is_some(),
            select_upstream: self.select.is_some(),
            response: self.response.is_some(),
            response_body: self.response_body.is_some(),
            log: self.log.is_some(),
            websocket: self.websocket.is_some(),
            frame: self.frame.is_some(),
            message: self.message.is_some(),
            close: self.close.is_some(),
            migrate: false,
            timer: false,
            tick: None,
        }
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn instantiate(&self) -> Step<'_, Result<Rc<dyn Instance>, PluginError>> {
        Step::Done(Ok(Rc::new(self.clone())))
    }
}

impl Instance for Native {
    fn visit(self: Rc<Self>) -> Box<dyn Visit> {
        Box::new(NativeVisit(self))
    }

    fn on_connect(&self, connection: Rc<Connection>) -> Step<'static, ConnectVerdict> {
        Step::Done(self.connect.as_ref().map_or(ConnectVerdict::Accept, |hook| hook(&connection)))
    }
}

/// A plugin made of closures, on one exchange.
struct NativeVisit(Rc<Native>);

impl Visit for NativeVisit {
    fn on_request<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Verdict> {
        Step::Done(self.0.request.as_ref().map_or(Verdict::Proceed, |hook| hook(exchange)))
    }

    fn select_upstream<'a>(
        &'a mut self,
        exchange: &'a mut Held,
        selection: &'a Selection,
    ) -> Step<'a, Result<Target, String>> {
        Step::Done(Ok(self.0.select.as_ref().map_or(Target::Default, |hook| hook(exchange, selection))))
    }

    fn on_response<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Verdict> {
        Step::Done(self.0.response.as_ref().map_or(Verdict::Proceed, |hook| hook(exchange)))
    }

    fn flow(&mut self, side: Side, _: &Exchange) -> Option<Box<dyn Flow>> {
        let hook = match side {
            Side::Request => &self.0.request_body,
            Side::Response => &self.0.response_body,
        };
        hook.clone().map(|hook| Box::new(NativeFlow(hook)) as Box<dyn Flow>)
    }

    fn on_websocket<'a>(
        &'a mut self,
        exchange: &'a mut Held,
        ws: &'a Rc<WebSocket>,
        has: Watch,
    ) -> Step<'a, Result<Watch, String>> {
        Step::Done(Ok(self.0.websocket.as_ref().map_or(has, |hook| hook(exchange, ws, has))))
    }

    fn talk(&mut self, ws: &Rc<WebSocket>) -> Option<Rc<dyn Talk>> {
        let (native, ws) = (self.0.clone(), ws.clone());
        native.hooks().is_for_relays().then(|| Rc::new(NativeTalk { native, ws }) as Rc<dyn Talk>)
    }

    fn on_log<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Result<(), String>> {
        if let Some(hook) = &self.0.log {
            hook(exchange);
        }
        Step::Done(Ok(()))
    }
}

/// A closure on a body.
struct NativeFlow(Arc<BodyHook>);

impl Flow for NativeFlow {
    fn piece(&mut self, piece: Bytes, last: bool) -> Step<'static, Piece> {
        Step::Done((self.0)(piece, last))
    }
}

/// A plugin made of closures, on one relay.
struct NativeTalk {
    native: Rc<Native>,
    ws: Rc<WebSocket>,
}

impl Talk for NativeTalk {
    fn on_frame(&self, frame: Frame) -> Step<'static, FrameVerdict> {
        let hook = self.native.frame.as_ref();
        Step::Done(hook.map_or(FrameVerdict::Forward, |hook| hook(&frame, &self.ws)))
    }

    fn on_message(&self, message: Frame) -> Step<'static, FrameVerdict> {
        let hook = self.native.message.as_ref();
        Step::Done(hook.map_or(FrameVerdict::Forward, |hook| hook(&message, &self.ws)))
    }

    fn on_close(&self, closed: Closed) -> Step<'static, Result<(), String>> {
        if let Some(hook) = &self.native.close {
            hook(&closed, &self.ws);
        }
        Step::Done(Ok(()))
    }
}
