//! Bodies.

use std::future::poll_fn;
use std::task::ready;

use bytes::Bytes;
use mlua::{Lua, LuaString, UserData, UserDataMethods};
use weir_plugin::message::body;
use weir_plugin::message::headers::Side;
use weir_plugin::{Limits, Slot};

use super::{lua_error, strict, text};

/// The body of a request or a response.
pub(crate) struct Body {
    slot: Slot,
    side: Side,
    limits: Limits,
}

impl Body {
    pub(crate) fn new(slot: Slot, side: Side, limits: Limits) -> Self {
        Body { slot, side, limits }
    }

    /// Makes Lua know it.
    pub(crate) fn register(lua: &Lua) -> mlua::Result<()> {
        lua.create_userdata(Body::new(Slot::default(), Side::Request, Limits::default())).map(drop)
    }

    fn name(&self) -> &'static str {
        match self.side {
            Side::Request => "request's body",
            Side::Response => "response's body",
        }
    }
}

impl UserData for Body {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("read", |lua, this, limit: Option<u64>| async move {
            let limit = body::limit(&this.limits, limit).map_err(lua_error)?;
            let read = poll_fn(|cx| {
                let read = this.slot.with(this.name(), |x| body::poll_read(x, this.side, cx, limit))?;
                ready!(read).into()
            });
            text(&lua, &read.await.map_err(lua_error)?)
        });
        methods.add_method("replace", |_, this, bytes: LuaString| {
            let bytes = Bytes::copy_from_slice(&bytes.as_bytes());
            let replace = |x: &mut _| body::replace(x, this.side, bytes);
            this.slot.with(this.name(), replace).flatten().map_err(lua_error)
        });
        methods.add_method("pass", |_, this, ()| {
            this.slot.pass(this.side);
            Ok(())
        });
        strict(methods, "body");
    }
}
