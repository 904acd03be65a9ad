//! Headers, query and cookies: values by name.

use mlua::{BorrowedBytes, Lua, LuaString, Table, UserData, UserDataMethods};
use weir_plugin::Slot;
use weir_plugin::message::headers::{self, Side};
use weir_plugin::message::{cookies, query};

use super::{lua_error, strict, text};

/// Fields of a request or a response.
pub(crate) struct Headers {
    slot: Slot,
    side: Side,
}

impl Headers {
    pub(crate) fn new(slot: Slot, side: Side) -> Self {
        Headers { slot, side }
    }

    fn name(&self) -> &'static str {
        match self.side {
            Side::Request => "request's headers",
            Side::Response => "response's headers",
        }
    }
}

impl UserData for Headers {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, name: BorrowedBytes| {
            let get =
                |x: &mut _| headers::get(x, this.side, &name).map(|v| text(lua, v.as_bytes())).transpose();
            this.slot.with(this.name(), get).map_err(lua_error)?
        });
        methods.add_method("get_all", |lua, this, name: BorrowedBytes| {
            let all =
                |x: &mut _| list(lua, headers::get_all(x, this.side, &name).map(|value| value.as_bytes()));
            this.slot.with(this.name(), all).map_err(lua_error)?
        });
        methods.add_method("set", |_, this, (name, value): (BorrowedBytes, BorrowedBytes)| {
            let set = |x: &mut _| headers::set(x, this.side, &name, &value);
            this.slot.with(this.name(), set).flatten().map_err(lua_error)
        });
        methods.add_method("add", |_, this, (name, value): (BorrowedBytes, BorrowedBytes)| {
            let add = |x: &mut _| headers::add(x, this.side, &name, &value);
            this.slot.with(this.name(), add).flatten().map_err(lua_error)
        });
        methods.add_method("remove", |_, this, name: BorrowedBytes| {
            let remove = |x: &mut _| headers::remove(x, this.side, &name);
            this.slot.with(this.name(), remove).flatten().map_err(lua_error)
        });
        methods.add_method("entries", |lua, this, ()| {
            let all = |x: &mut _| {
                let fields = headers::of(x, this.side).iter();
                pairs(lua, fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())))
            };
            this.slot.with(this.name(), all).map_err(lua_error)?
        });
        strict(methods, "headers handle");
    }
}

/// Parameters of a query.
pub(crate) struct Query(pub(crate) Slot);

const QUERY: &str = "query";

impl UserData for Query {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, name: BorrowedBytes| {
            let get = |x: &mut _| query::get(x, &name).map(|value| text(lua, &value)).transpose();
            this.0.with(QUERY, get).map_err(lua_error)?
        });
        methods.add_method("get_all", |lua, this, name: BorrowedBytes| {
            let all = |x: &mut _| {
                list(lua, query::entries(x).filter(|(n, _)| **n == *name).map(|(_, value)| value))
            };
            this.0.with(QUERY, all).map_err(lua_error)?
        });
        methods.add_method("set", |_, this, (name, value): (BorrowedBytes, BorrowedBytes)| {
            this.0.with(QUERY, |x| query::set(x, &name, &value)).flatten().map_err(lua_error)
        });
        methods.add_method("remove", |_, this, name: BorrowedBytes| {
            this.0.with(QUERY, |x| query::remove(x, &name)).flatten().map_err(lua_error)
        });
        methods.add_method("entries", |lua, this, ()| {
            this.0.with(QUERY, |x| pairs(lua, query::entries(x))).map_err(lua_error)?
        });
        strict(methods, "query handle");
    }
}

/// Cookies of a request.
pub(crate) struct Cookies(pub(crate) Slot);

const COOKIES: &str = "request's cookies";

impl UserData for Cookies {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, name: BorrowedBytes| {
            let get = |x: &mut _| cookies::get(x, &name).map(|value| text(lua, value)).transpose();
            this.0.with(COOKIES, get).map_err(lua_error)?
        });
        methods.add_method("entries", |lua, this, ()| {
            this.0.with(COOKIES, |x| pairs(lua, cookies::entries(x))).map_err(lua_error)?
        });
        strict(methods, "cookies handle");
    }
}

/// A list of texts.
pub(crate) fn list(lua: &Lua, values: impl Iterator<Item = impl AsRef<[u8]>>) -> mlua::Result<Table> {
    let values: mlua::Result<Vec<LuaString>> = values.map(|value| text(lua, value.as_ref())).collect();
    lua.create_sequence_from(values?)
}

/// A list of tables with `name` and `value`.
pub(crate) fn pairs(
    lua: &Lua,
    pairs: impl Iterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>,
) -> mlua::Result<Table> {
    let entries = lua.create_table()?;
    for (i, (name, value)) in pairs.enumerate() {
        let entry = lua.create_table_with_capacity(0, 2)?;
        entry.raw_set("name", text(lua, name.as_ref())?)?;
        entry.raw_set("value", text(lua, value.as_ref())?)?;
        entries.raw_set(i + 1, entry)?;
    }
    Ok(entries)
}
