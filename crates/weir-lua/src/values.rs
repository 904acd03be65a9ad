//! Settings and JSON as Lua values, and back.

use std::collections::BTreeMap;

use mlua::{IntoLua, Lua, Value};
use weir_plugin::settings::{Settings, Value as Setting};

use crate::state::kind;

/// How many values there may be.
const NODES: usize = 10_000;
/// How deep values may be nested.
const DEPTH: usize = 64;

/// A setting as a Lua value. Tables are read-only: every exchange sees them.
pub(crate) fn to_lua(lua: &Lua, value: &Setting) -> mlua::Result<Value> {
    Ok(match value {
        Setting::Null => Value::Nil,
        Setting::Bool(b) => Value::Boolean(*b),
        #[allow(clippy::cast_precision_loss, reason = "numbers of Lua are doubles")]
        Setting::Integer(n) => Value::Number(*n as f64),
        Setting::Number(n) => Value::Number(*n),
        Setting::String(text) => text.as_str().into_lua(lua)?,
        Setting::List(list) => {
            let table = lua.create_table_with_capacity(list.len(), 0)?;
            for (i, item) in list.iter().enumerate() {
                table.raw_set(i + 1, to_lua(lua, item)?)?;
            }
            table.set_readonly(true);
            Value::Table(table)
        }
        Setting::Table(settings) => settings_to_lua(lua, settings)?,
    })
}

/// Settings as a read-only Lua table.
pub(crate) fn settings_to_lua(lua: &Lua, settings: &Settings) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, settings.len())?;
    for (name, value) in settings {
        table.raw_set(name.as_str(), to_lua(lua, value)?)?;
    }
    table.set_readonly(true);
    Ok(Value::Table(table))
}

/// A Lua value as a setting.
pub(crate) fn from_lua(value: &Value) -> Result<Setting, String> {
    nested(value, DEPTH, &mut { NODES })
}

fn nested(value: &Value, depth: usize, left: &mut usize) -> Result<Setting, String> {
    // A table may hold another twice, and that one too: what comes of it has no end.
    *left = left.checked_sub(1).ok_or_else(|| format!("it has more than {NODES} values"))?;
    if depth == 0 {
        return Err(format!("it is nested more than {DEPTH} times"));
    }
    Ok(match value {
        Value::Nil => Setting::Null,
        Value::Boolean(b) => Setting::Bool(*b),
        Value::Integer(n) => Setting::Integer(*n),
        Value::Number(n) => number(*n),
        Value::String(text) => {
            Setting::String(text.to_str().map_err(|_| "a text is not UTF-8".to_owned())?.to_owned())
        }
        Value::Table(table) => {
            let length = table.raw_len();
            if length > 0 {
                let items = table.sequence_values::<Value>();
                let items = items.map(|item| nested(&item.map_err(|e| e.to_string())?, depth - 1, left));
                return Ok(Setting::List(items.collect::<Result<_, _>>()?));
            }
            let mut named = BTreeMap::new();
            for pair in table.pairs::<Value, Value>() {
                let (name, value) = pair.map_err(|e| e.to_string())?;
                let Value::String(name) = name else {
                    return Err(format!("a {} is no name of a setting", kind(&name)));
                };
                let name = name.to_str().map_err(|_| "a name is not UTF-8".to_owned())?.to_owned();
                named.insert(name, nested(&value, depth - 1, left)?);
            }
            Setting::Table(named)
        }
        other => return Err(format!("a {} is no setting", kind(other))),
    })
}

/// Numbers of Lua are doubles: a whole one is an integer.
fn number(n: f64) -> Setting {
    #[allow(clippy::cast_possible_truncation, reason = "whole, and within the doubles that are exact")]
    match n.fract() == 0.0 && n.abs() < 9_007_199_254_740_992.0 {
        true => Setting::Integer(n as i64),
        false => Setting::Number(n),
    }
}
