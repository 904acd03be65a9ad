//! A guest on one exchange, on a body, and on a WebSocket relay.

use std::rc::Rc;

use bytes::Bytes;
use http::HeaderValue;
use weir_plugin::message::headers::Side;
use weir_plugin::websocket::{Closed, Frame, FrameVerdict, Watch};
use weir_plugin::{
    Exchange, Flow, Held, Hooks, Piece, Selection, Slot, Step, Talk, Target, Verdict, Visit, WebSocket,
};

use crate::calls::Call;
use crate::guest::{Bound, Called, Job, Returned};
use crate::host::convert;
use crate::instance::{WasmInstance, step};
use crate::now::For;
use crate::returned;

/// A guest on one exchange, bound at its first hook.
pub(crate) struct WasmVisit {
    instance: Rc<WasmInstance>,
    slot: Slot,
    bound: Option<Rc<Bound>>,
}

impl WasmVisit {
    pub(crate) fn new(instance: Rc<WasmInstance>) -> Self {
        WasmVisit { instance, slot: Slot::default(), bound: None }
    }

    fn hooks(&self) -> &Hooks {
        &self.instance.common.inner.hooks
    }

    fn bound(&mut self, id: u64) -> Result<Rc<Bound>, String> {
        let bound = match self.bound.take() {
            Some(bound) => bound,
            None => self.instance.bind(id)?,
        };
        Ok(self.bound.insert(bound).clone())
    }

    /// Runs a hook with the exchange lent to it.
    fn run<'a, T: 'a>(
        &'a mut self,
        exchange: &'a mut Held,
        call: Call,
        ws: Option<&Rc<WebSocket>>,
        convert: impl FnOnce(Returned) -> T + 'a,
    ) -> Step<'a, T> {
        let bound = match self.bound(exchange.id) {
            Ok(bound) => bound,
            Err(message) => return Step::Done(convert(Err(message))),
        };
        let loan = self.slot.lend(exchange);
        let what = For {
            slot: Some(self.slot.clone()),
            number: bound.number,
            ws: ws.cloned(),
            watch: ws.map(|_| bound.watch.clone()),
            ..For::default()
        };
        let guest = bound.guest.clone();
        match guest.call(Job { call, what, bound: Some(bound) }) {
            Called::Done(returned) => Step::Done(convert(returned)),
            Called::Wait(wait) => Step::Wait(Box::pin(async move {
                // Taken back when the call has ended, or is given up.
                let _loan = loan;
                convert(wait.await)
            })),
        }
    }
}

impl Visit for WasmVisit {
    fn on_request<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Verdict> {
        if !self.hooks().request {
            return Step::Done(Verdict::Proceed);
        }
        self.run(exchange, Call::Request, None, returned::verdict)
    }

    fn select_upstream<'a>(
        &'a mut self,
        exchange: &'a mut Held,
        selection: &'a Selection,
    ) -> Step<'a, Result<Target, String>> {
        if !self.hooks().select_upstream {
            return Step::Done(Ok(Target::Default));
        }
        self.run(exchange, Call::Select(Box::new(convert::selection(selection))), None, returned::target)
    }

    fn on_response<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Verdict> {
        if !self.hooks().response {
            return Step::Done(Verdict::Proceed);
        }
        self.run(exchange, Call::Response, None, returned::verdict)
    }

    fn flow(&mut self, side: Side, exchange: &Exchange) -> Option<Box<dyn Flow>> {
        let wanted = match side {
            Side::Request => self.hooks().request_body,
            Side::Response => self.hooks().response_body,
        };
        if !wanted || self.slot.passes(side) {
            return None;
        }
        let bound = self.bound(exchange.id);
        Some(Box::new(WasmFlow { bound, side, request_id: Rc::new(exchange.request_id.clone()) }))
    }

    fn on_websocket<'a>(
        &'a mut self,
        exchange: &'a mut Held,
        ws: &'a Rc<WebSocket>,
        has: Watch,
    ) -> Step<'a, Result<Watch, String>> {
        if !self.hooks().websocket {
            return Step::Done(Ok(has));
        }
        self.run(exchange, Call::WebSocket, Some(ws), returned::watch)
    }

    fn talk(&mut self, ws: &Rc<WebSocket>) -> Option<Rc<dyn Talk>> {
        let hooks = *self.hooks();
        if !hooks.is_for_relays() && !hooks.migrate {
            return None;
        }
        let bound = self.bound(ws.relay.id());
        Some(Rc::new(WasmTalk { bound, ws: ws.clone(), hooks }))
    }

    fn on_migrate<'a>(
        &'a mut self,
        exchange: &'a mut Held,
        ws: &'a Rc<WebSocket>,
        saved: Bytes,
        _: Watch,
    ) -> Step<'a, Result<Watch, String>> {
        if !self.hooks().migrate {
            return Step::Done(Err("the plugin has no hook on_migrate(old, ws, ctx)".to_owned()));
        }
        self.run(exchange, Call::Migrate(saved), Some(ws), returned::watch)
    }

    fn on_log<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Result<(), String>> {
        if !self.hooks().log {
            return Step::Done(Ok(()));
        }
        self.run(exchange, Call::Log, None, returned::done)
    }
}

/// Begins a call of an exchange that is not lent.
fn call(bound: &Result<Rc<Bound>, String>, call: Call, what: For) -> Called {
    match bound {
        Ok(bound) => {
            let job = Job { call, what: For { number: bound.number, ..what }, bound: Some(bound.clone()) };
            bound.guest.call(job)
        }
        Err(message) => Called::Done(Err(message.clone())),
    }
}

/// A guest on a body.
struct WasmFlow {
    bound: Result<Rc<Bound>, String>,
    side: Side,
    request_id: Rc<HeaderValue>,
}

impl Flow for WasmFlow {
    fn piece(&mut self, piece: Bytes, last: bool) -> Step<'static, Piece> {
        let what = For { request_id: Some(self.request_id.clone()), ..For::default() };
        step(call(&self.bound, Call::Piece(self.side, piece, last), what), returned::piece)
    }
}

/// A guest on a relay.
struct WasmTalk {
    bound: Result<Rc<Bound>, String>,
    ws: Rc<WebSocket>,
    hooks: Hooks,
}

impl WasmTalk {
    fn call(&self, of: Call) -> Called {
        let watch = self.bound.as_ref().ok().map(|bound| bound.watch.clone());
        call(&self.bound, of, For { ws: Some(self.ws.clone()), watch, ..For::default() })
    }
}

impl Talk for WasmTalk {
    fn on_frame(&self, frame: Frame) -> Step<'static, FrameVerdict> {
        if !self.hooks.frame {
            return Step::Done(FrameVerdict::Forward);
        }
        step(self.call(Call::Frame(convert::frame(frame))), returned::frame)
    }

    fn on_message(&self, message: Frame) -> Step<'static, FrameVerdict> {
        if !self.hooks.message {
            return Step::Done(FrameVerdict::Forward);
        }
        step(self.call(Call::Message(convert::frame(message))), returned::frame)
    }

    fn changed(&self) -> Option<Watch> {
        self.bound.as_ref().ok()?.watch.take()
    }

    fn on_close(&self, closed: Closed) -> Step<'static, Result<(), String>> {
        if !self.hooks.close {
            return Step::Done(Ok(()));
        }
        step(self.call(Call::Close(Box::new(convert::closed(&closed)))), returned::done)
    }

    fn save(&self) -> Step<'static, Result<Bytes, String>> {
        if !self.hooks.migrate {
            return Step::Done(Ok(Bytes::new()));
        }
        step(self.call(Call::Save), returned::saved)
    }
}
