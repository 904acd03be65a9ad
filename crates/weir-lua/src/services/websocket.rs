//! `weir.websocket`: relays beside those of the plugin's own hooks.

use std::rc::Rc;

use mlua::{BorrowedStr, Lua, Table};
use weir_plugin::websocket::Access;

use crate::handles::{Group, Relay, lua_error, relay_id};

pub(super) fn table(lua: &Lua, access: &Rc<Access>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let own = access.clone();
    let group = move |_: &Lua, name: BorrowedStr| own.group(&name).map(Group).map_err(lua_error);
    table.set("group", lua.create_function(group)?)?;
    let own = access.clone();
    let relay = move |_: &Lua, id: BorrowedStr| {
        let found = own.relay(relay_id(&id)?).map_err(lua_error)?;
        Ok(found.map(|live| Relay::found(live, own.clone())))
    };
    table.set("relay", lua.create_function(relay)?)?;
    Ok(table)
}
