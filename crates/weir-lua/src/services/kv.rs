//! `weir.kv`: the plugin's own values as functions, and those that plugins share as a handle with the same functions.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mlua::{
    BorrowedBytes, BorrowedStr, FromLuaMulti, IntoLuaMulti, Lua, LuaString, Table, UserData, UserDataMethods,
};
use weir_plugin::services::{KeyValue, Services};
use weir_plugin::{Grants, Namespace};

use super::seconds;
use crate::handles::{lua_error, strict, text};

/// Values of one namespace.
#[derive(Clone)]
pub(crate) struct Store {
    kv: Arc<dyn KeyValue>,
    namespace: Namespace,
}

pub(super) fn table(lua: &Lua, plugin: &str, grants: &Grants, services: &Services) -> mlua::Result<Table> {
    let own = Store { kv: services.kv.clone(), namespace: Namespace::own(plugin) };
    let mut functions = Functions { lua, table: lua.create_table()?, store: own };
    add(&mut functions)?;
    let (plugin, grants, kv) = (plugin.to_owned(), grants.clone(), services.kv.clone());
    let open = lua.create_function(move |_, name: BorrowedStr| {
        let namespace = Namespace::shared(&plugin, &name, &grants).map_err(lua_error)?;
        Ok(Store { kv: kv.clone(), namespace })
    })?;
    functions.table.set("open", open)?;
    Ok(functions.table)
}

impl UserData for Store {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        // Adding to a handle cannot fail.
        let _ = add(&mut Methods(methods));
        strict(methods, "store");
    }
}

/// Something that functions on a store are added to.
trait Take {
    fn take<A, R>(
        &mut self,
        name: &str,
        function: fn(&Lua, &Store, A) -> mlua::Result<R>,
    ) -> mlua::Result<()>
    where
        A: FromLuaMulti + 'static,
        R: IntoLuaMulti + 'static;
}

/// A table, with functions on one store.
struct Functions<'a> {
    lua: &'a Lua,
    table: Table,
    store: Store,
}

impl Take for Functions<'_> {
    fn take<A, R>(&mut self, name: &str, function: fn(&Lua, &Store, A) -> mlua::Result<R>) -> mlua::Result<()>
    where
        A: FromLuaMulti + 'static,
        R: IntoLuaMulti + 'static,
    {
        let store = self.store.clone();
        let function = self.lua.create_function(move |lua, arguments: A| function(lua, &store, arguments))?;
        self.table.set(name, function)
    }
}

/// A handle, whose methods are on the store that it is.
struct Methods<'a, M>(&'a mut M);

impl<M: UserDataMethods<Store>> Take for Methods<'_, M> {
    fn take<A, R>(&mut self, name: &str, function: fn(&Lua, &Store, A) -> mlua::Result<R>) -> mlua::Result<()>
    where
        A: FromLuaMulti + 'static,
        R: IntoLuaMulti + 'static,
    {
        self.0.add_method(name, function);
        Ok(())
    }
}

fn add(to: &mut impl Take) -> mlua::Result<()> {
    to.take("get", get)?;
    to.take("set", set)?;
    to.take("add", add_one)?;
    to.take("incr", incr)?;
    to.take("cas", cas)?;
    to.take("delete", delete)?;
    to.take("ttl", ttl)
}

fn time(ttl: Option<f64>) -> mlua::Result<Option<Duration>> {
    ttl.map(seconds).transpose()
}

type New = (BorrowedBytes, BorrowedBytes, Option<f64>);

fn get(lua: &Lua, store: &Store, key: BorrowedBytes) -> mlua::Result<Option<LuaString>> {
    let value = store.kv.get(store.namespace.as_str(), &key).map_err(lua_error)?;
    value.map(|value| text(lua, &value)).transpose()
}

fn set(_: &Lua, store: &Store, (key, value, ttl): New) -> mlua::Result<()> {
    let value = Bytes::copy_from_slice(&value);
    store.kv.set(store.namespace.as_str(), &key, value, time(ttl)?).map_err(lua_error)
}

fn add_one(_: &Lua, store: &Store, (key, value, ttl): New) -> mlua::Result<bool> {
    let value = Bytes::copy_from_slice(&value);
    store.kv.add(store.namespace.as_str(), &key, value, time(ttl)?).map_err(lua_error)
}

type Incr = (BorrowedBytes, Option<i64>, Option<i64>, Option<f64>);

fn incr(_: &Lua, store: &Store, (key, by, initial, ttl): Incr) -> mlua::Result<i64> {
    let (by, initial) = (by.unwrap_or(1), initial.unwrap_or(0));
    store.kv.incr(store.namespace.as_str(), &key, by, initial, time(ttl)?).map_err(lua_error)
}

type Cas = (BorrowedBytes, Option<BorrowedBytes>, BorrowedBytes, Option<f64>);

fn cas(_: &Lua, store: &Store, (key, expected, value, ttl): Cas) -> mlua::Result<bool> {
    let value = Bytes::copy_from_slice(&value);
    store.kv.cas(store.namespace.as_str(), &key, expected.as_deref(), value, time(ttl)?).map_err(lua_error)
}

fn delete(_: &Lua, store: &Store, key: BorrowedBytes) -> mlua::Result<bool> {
    store.kv.delete(store.namespace.as_str(), &key).map_err(lua_error)
}

fn ttl(_: &Lua, store: &Store, key: BorrowedBytes) -> mlua::Result<Option<f64>> {
    let ttl = store.kv.ttl(store.namespace.as_str(), &key).map_err(lua_error)?;
    Ok(ttl.map(|ttl| ttl.as_secs_f64()))
}
