//! A script on a WebSocket relay.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use bytes::Bytes;
use mlua::{AnyUserData, LightUserData, Table};
use weir_plugin::websocket::{Closed, Direction, Frame, FrameVerdict, Watch};
use weir_plugin::{Step, Talk, WebSocket};

use crate::call::{For, call_beside};
use crate::fault::message;
use crate::functions::Hook;
use crate::handles::{FrameSlot, Part, Relay};
use crate::host;
use crate::plugin::LuaInstance;
use crate::saved;

/// A script on a relay. What Lua holds for it is made once, when the first hook takes it.
pub(crate) struct LuaTalk {
    instance: Rc<LuaInstance>,
    ws: Rc<WebSocket>,
    relay: OnceCell<AnyUserData>,
    ctx: OnceCell<Table>,
    /// What it wants to see, where it has said so.
    watch: Rc<Cell<Option<Watch>>>,
    /// What goes to the upstream, and what goes to the client: hooks of both may be under way.
    slots: [Rc<FrameSlot>; 2],
}

impl LuaTalk {
    /// With the handle and the state that earlier hooks have made.
    pub(crate) fn new(
        instance: Rc<LuaInstance>,
        ws: Rc<WebSocket>,
        relay: Option<AnyUserData>,
        ctx: Option<Table>,
        watch: Rc<Cell<Option<Watch>>>,
    ) -> Self {
        let slots = [FrameSlot::new(ws.clone()), FrameSlot::new(ws.clone())];
        let (relay, ctx) =
            (relay.map_or_else(OnceCell::new, Into::into), ctx.map_or_else(OnceCell::new, Into::into));
        LuaTalk { instance, ws, relay, ctx, watch, slots }
    }

    /// Runs a hook of frames or messages.
    fn verdict(
        &self,
        name: &'static str,
        hook: &Option<Hook>,
        part: Part,
        frame: Frame,
    ) -> Step<'static, FrameVerdict> {
        let Some(hook) = hook else { return Step::Done(FrameVerdict::Forward) };
        let [to_upstream, to_client] = &self.slots;
        let slot = match frame.direction {
            Direction::ToUpstream => to_upstream,
            Direction::ToClient => to_client,
        };
        let (handle, loan) = slot.lend(part, frame);
        let handle = LightUserData(handle.to_bits() as *mut _);
        let (relay, ctx) = match self.others(hook) {
            Ok(others) => others,
            Err(error) => return Step::Done(FrameVerdict::Fail(message(&error))),
        };
        let what = For::Frame(slot.clone());
        call_beside(&self.instance.state, what, &hook.function, (handle, relay, ctx), move |returned| {
            // Taken back when the call has ended, or is given up.
            drop(loan);
            host::frame_verdict(name, returned)
        })
    }

    /// The relay and the plugin's state, as far as a hook takes them.
    fn others(&self, hook: &Hook) -> mlua::Result<(Option<&AnyUserData>, Option<&Table>)> {
        let state = &self.instance.state;
        if hook.takes > 1 && self.relay.get().is_none() {
            let handle = Relay::own(self.ws.clone(), state.access.clone(), self.watch.clone());
            let _ = self.relay.set(state.lua.create_userdata(handle)?);
        }
        if hook.ctx && self.ctx.get().is_none() {
            let _ = self.ctx.set(state.lua.create_table()?);
        }
        Ok((self.relay.get().filter(|_| hook.takes > 1), self.ctx.get().filter(|_| hook.ctx)))
    }
}

impl Talk for LuaTalk {
    fn on_frame(&self, frame: Frame) -> Step<'static, FrameVerdict> {
        self.verdict("on_frame", &self.instance.functions.frame, Part::Frame, frame)
    }

    fn on_message(&self, message: Frame) -> Step<'static, FrameVerdict> {
        self.verdict("on_message", &self.instance.functions.message, Part::Message, message)
    }

    fn changed(&self) -> Option<Watch> {
        self.watch.take()
    }

    fn on_close(&self, closed: Closed) -> Step<'static, Result<(), String>> {
        let Some(hook) = &self.instance.functions.close else { return Step::Done(Ok(())) };
        let state = &self.instance.state;
        let arguments = host::closed(&state.lua, &closed)
            .and_then(|closed| self.others(hook).map(|(relay, ctx)| (closed, relay, ctx)));
        match arguments {
            Ok(arguments) => {
                let what = For::Relay(self.ws.clone());
                call_beside(state, what, &hook.function, arguments, |returned| returned)
            }
            Err(error) => Step::Done(Err(message(&error))),
        }
    }

    fn save(&self) -> Step<'static, Result<Bytes, String>> {
        let state = &self.instance.state;
        Step::Done(saved::encode(&state.lua, self.ctx.get(), state.meter.limits.memory))
    }
}
