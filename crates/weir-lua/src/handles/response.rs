//! The response.

use mlua::{UserData, UserDataFields, UserDataMethods};
use weir_plugin::message::headers::Side;
use weir_plugin::message::set_status;
use weir_plugin::{Exchange, Limits, Slot};

use super::{Body, Headers, Part, lua_error, strict, text};

/// The response of an exchange.
pub(crate) struct Response {
    slot: Slot,
    headers: Part,
    body: Part,
    limits: Limits,
}

impl Response {
    pub(crate) fn new(slot: Slot, limits: Limits) -> Self {
        Response { slot, headers: Part::default(), body: Part::default(), limits }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Exchange) -> T) -> mlua::Result<T> {
        self.slot.with("response", f).map_err(lua_error)
    }
}

impl UserData for Response {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("status", |_, this| this.with(|x| x.status.as_u16()));
        fields.add_field_method_set("status", |_, this, status: i64| {
            this.with(|x| set_status(x, status))?.map_err(lua_error)
        });
        fields.add_field_method_get("endpoint", |lua, this| {
            this.with(|x| x.endpoint.as_ref().map(|endpoint| text(lua, endpoint.as_bytes())).transpose())?
        });
        fields.add_field_method_get("headers", |lua, this| {
            this.headers.get(lua, || Headers::new(this.slot.clone(), Side::Response))
        });
        fields.add_field_method_get("body", |lua, this| {
            this.body.get(lua, || Body::new(this.slot.clone(), Side::Response, this.limits.clone()))
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        strict(methods, "response");
    }
}
