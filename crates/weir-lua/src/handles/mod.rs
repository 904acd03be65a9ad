//! Requests and responses as scripts see them. A getter without arguments in the WIT package is a field here, and
//! `set-x` is an assignment to `x`.

mod body;
mod connection;
mod fields;
mod request;
mod response;

use std::cell::OnceCell;

use mlua::{AnyUserData, Lua, LuaString, MetaMethod, UserData, UserDataMethods, Value};
use weir_plugin::Error;

pub(crate) use body::Body;
pub(crate) use connection::Connection;
pub(crate) use fields::{Cookies, Headers, Query, list, pairs};
pub(crate) use request::Request;
pub(crate) use response::Response;

/// An error of the host as scripts see it.
pub(crate) fn lua_error(error: Error) -> mlua::Error {
    mlua::Error::RuntimeError(error.to_string())
}

/// Bytes as a Lua string.
pub(crate) fn text(lua: &Lua, bytes: &[u8]) -> mlua::Result<LuaString> {
    lua.create_string(bytes)
}

/// A handle within a handle, made on first use.
#[derive(Default)]
pub(crate) struct Part(OnceCell<AnyUserData>);

impl Part {
    pub(crate) fn get<T: UserData + 'static>(
        &self,
        lua: &Lua,
        make: impl FnOnce() -> T,
    ) -> mlua::Result<AnyUserData> {
        if let Some(part) = self.0.get() {
            return Ok(part.clone());
        }
        let part = lua.create_userdata(make())?;
        Ok(self.0.get_or_init(|| part).clone())
    }
}

/// Makes what is not there an error that names it.
pub(crate) fn strict<T>(methods: &mut impl UserDataMethods<T>, what: &'static str) {
    methods.add_meta_method(MetaMethod::Index, move |_, _, name: Value| -> mlua::Result<Value> {
        Err(mlua::Error::RuntimeError(format!("a {what} has no `{}`", shown(&name))))
    });
    methods.add_meta_method_mut(
        MetaMethod::NewIndex,
        move |_, _, (name, _): (Value, Value)| -> mlua::Result<()> {
            Err(mlua::Error::RuntimeError(format!("`{}` of a {what} cannot be set", shown(&name))))
        },
    );
}

fn shown(name: &Value) -> String {
    match name {
        Value::String(name) => name.to_string_lossy(),
        other => crate::state::kind(other).to_owned(),
    }
}
