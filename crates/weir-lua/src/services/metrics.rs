//! `weir.metrics`.

use std::sync::Arc;

use mlua::{BorrowedStr, Lua, LuaString, Table, UserData, UserDataMethods, Value};
use weir_plugin::Error;
use weir_plugin::services::Services;
use weir_plugin::services::metrics::{self, Labels};

use crate::handles::{lua_error, strict};
use crate::state::{kind, shown};

/// A number that only grows.
pub(crate) struct Counter(Arc<dyn metrics::Counter>);

impl UserData for Counter {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("add", |_, this, n: Option<f64>| this.0.add(n.unwrap_or(1.0)).map_err(lua_error));
        strict(methods, "counter");
    }
}

/// A number that goes up and down.
pub(crate) struct Gauge(Arc<dyn metrics::Gauge>);

impl UserData for Gauge {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("set", |_, this, n: f64| this.0.set(n).map_err(lua_error));
        methods.add_method("add", |_, this, n: Option<f64>| this.0.add(n.unwrap_or(1.0)).map_err(lua_error));
        strict(methods, "gauge");
    }
}

/// How values are spread.
pub(crate) struct Histogram(Arc<dyn metrics::Histogram>);

impl UserData for Histogram {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("observe", |_, this, n: f64| this.0.observe(n).map_err(lua_error));
        strict(methods, "histogram");
    }
}

pub(super) fn table(lua: &Lua, plugin: &str, services: &Services) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let lend = || (plugin.to_owned(), services.metrics.clone());
    let (plugin_, metrics) = lend();
    table.set(
        "counter",
        lua.create_function(move |lua, (name, all): (BorrowedStr, Option<Table>)| {
            metrics.counter(&plugin_, &name, labels(lua, all)?).map(Counter).map_err(lua_error)
        })?,
    )?;
    let (plugin_, metrics) = lend();
    table.set(
        "gauge",
        lua.create_function(move |lua, (name, all): (BorrowedStr, Option<Table>)| {
            metrics.gauge(&plugin_, &name, labels(lua, all)?).map(Gauge).map_err(lua_error)
        })?,
    )?;
    let (plugin_, metrics) = lend();
    type Spread = (BorrowedStr, Option<Table>, Option<Vec<f64>>);
    table.set(
        "histogram",
        lua.create_function(move |lua, (name, all, buckets): Spread| {
            let buckets = buckets.unwrap_or_default();
            metrics.histogram(&plugin_, &name, labels(lua, all)?, &buckets).map(Histogram).map_err(lua_error)
        })?,
    )?;
    Ok(table)
}

/// The most that are looked at: the rest would be refused.
const MOST: usize = 100;

fn labels(lua: &Lua, table: Option<Table>) -> mlua::Result<Labels> {
    let Some(table) = table else { return Ok(Labels::new()) };
    let label = |pair: mlua::Result<(LuaString, Value)>| {
        let (name, value) = pair?;
        match value {
            Value::String(_) | Value::Integer(_) | Value::Number(_) | Value::Boolean(_) => {
                Ok((name.to_string_lossy(), shown(lua, &value)?))
            }
            other => Err(lua_error(Error::invalid(format!(
                "the label `{}` is a {}: a text, a number or a boolean is wanted",
                name.to_string_lossy(),
                kind(&other)
            )))),
        }
    };
    table.pairs::<LuaString, Value>().take(MOST).map(label).collect()
}
