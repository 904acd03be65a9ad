//! What plugins are lent, as tables of `weir`.

mod crypto;
mod identity;
pub(crate) mod kv;
pub(crate) mod metrics;
mod websocket;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use mlua::{
    BorrowedBytes, BorrowedStr, IntoLua, Lua, LuaSerdeExt, LuaString, Table, UserData, UserDataMethods, Value,
};
use weir_plugin::services::{Encoding, Networks as Set, Services, input, ip_address};
use weir_plugin::websocket::Access;
use weir_plugin::{Error, Policy};

use crate::handles::{lua_error, strict, text};

/// The largest text that JSON is read from or written to, in bytes. More would hold the worker up.
const MOST_JSON: usize = 1 << 20;

/// Adds all services to the table `weir` of a plugin of this name.
pub(crate) fn add(
    lua: &Lua,
    weir: &Table,
    plugin: &str,
    policy: &Policy,
    services: &Services,
    access: &Rc<Access>,
) -> mlua::Result<()> {
    weir.set("kv", kv::table(lua, plugin, &policy.grants, services)?)?;
    weir.set("secrets", secrets(lua, plugin, policy)?)?;
    weir.set("codec", codec(lua, services)?)?;
    weir.set("crypto", crypto::table(lua, services)?)?;
    weir.set("password", identity::password(lua, services)?)?;
    weir.set("jwt", identity::jwt(lua, services)?)?;
    weir.set("metrics", metrics::table(lua, plugin, services)?)?;
    weir.set("regex", regex(lua, services)?)?;
    weir.set("ip", ip(lua, services)?)?;
    weir.set("time", time(lua, services)?)?;
    weir.set("websocket", websocket::table(lua, access)?)?;
    weir.set("json", json(lua)?)
}

/// Seconds as a duration.
pub(crate) fn seconds(seconds: f64) -> mlua::Result<Duration> {
    weir_plugin::services::seconds(seconds).map_err(lua_error)
}

fn secrets(lua: &Lua, plugin: &str, policy: &Policy) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let (plugin, secrets) = (plugin.to_owned(), policy.secrets.clone());
    let get = lua.create_function(move |lua, name: BorrowedStr| {
        text(lua, secrets.named(&plugin, &name).map_err(lua_error)?)
    })?;
    table.set("get", get)?;
    Ok(table)
}

fn codec(lua: &Lua, services: &Services) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    for (name, encoding) in [
        ("base64", Encoding::Base64),
        ("base64url", Encoding::Base64Url),
        ("hex", Encoding::Hex),
        ("url", Encoding::Url),
    ] {
        let codec = services.codec.clone();
        let encode = lua.create_function(move |_, bytes: BorrowedBytes| {
            Ok(codec.encode(encoding, input(&bytes).map_err(lua_error)?))
        })?;
        table.set(format!("{name}_encode"), encode)?;
        let codec = services.codec.clone();
        let decode = lua.create_function(move |lua, bytes: BorrowedBytes| {
            text(lua, &input(&bytes).and_then(|bytes| codec.decode(encoding, bytes)).map_err(lua_error)?)
        })?;
        table.set(format!("{name}_decode"), decode)?;
    }
    Ok(table)
}

fn regex(lua: &Lua, services: &Services) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let patterns = services.patterns.clone();
    table.set(
        "is_match",
        lua.create_function(move |_, (pattern, text): (BorrowedStr, BorrowedBytes)| {
            patterns.is_match(&pattern, &text).map_err(lua_error)
        })?,
    )?;
    let patterns = services.patterns.clone();
    table.set(
        "find",
        lua.create_function(move |lua, (pattern, subject): (BorrowedStr, BorrowedBytes)| {
            let Some(groups) = patterns.find(&pattern, &subject).map_err(lua_error)? else { return Ok(None) };
            let table = lua.create_table_with_capacity(groups.len(), 0)?;
            for (i, group) in groups.iter().enumerate() {
                // A group that has no part in it is false: a list of Lua has no holes.
                let group = match group {
                    Some(group) => text(lua, group)?.into_lua(lua)?,
                    None => Value::Boolean(false),
                };
                table.raw_set(i + 1, group)?;
            }
            Ok(Some(table))
        })?,
    )?;
    let patterns = services.patterns.clone();
    table.set(
        "replace",
        lua.create_function(
            move |lua, (pattern, subject, with): (BorrowedStr, BorrowedBytes, BorrowedBytes)| {
                text(lua, &patterns.replace(&pattern, &subject, &with).map_err(lua_error)?)
            },
        )?,
    )?;
    Ok(table)
}

/// A set of networks.
pub(crate) struct Networks(Box<dyn Set>);

impl UserData for Networks {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("contains", |_, this, ip: BorrowedStr| {
            ip_address(&ip).map(|ip| this.0.contains(ip)).map_err(lua_error)
        });
        strict(methods, "set of networks");
    }
}

fn ip(lua: &Lua, services: &Services) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.set("is_valid", lua.create_function(|_, ip: BorrowedStr| Ok(ip.parse::<IpAddr>().is_ok()))?)?;
    let networks = services.networks.clone();
    table.set(
        "parse",
        lua.create_function(move |_, all: Vec<String>| {
            networks.parse(&all).map(Networks).map_err(lua_error)
        })?,
    )?;
    Ok(table)
}

fn time(lua: &Lua, services: &Services) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let clock = services.clock.clone();
    table.set("now", lua.create_function(move |_, ()| Ok(clock.now().as_secs_f64()))?)?;
    let clock = services.clock.clone();
    table.set("monotonic", lua.create_function(move |_, ()| Ok(clock.monotonic().as_secs_f64()))?)?;
    let clock = services.clock.clone();
    table.set(
        "sleep",
        lua.create_async_function(move |_, time: f64| {
            let clock = clock.clone();
            async move {
                clock.sleep(seconds(time)?).await;
                Ok(())
            }
        })?,
    )?;
    Ok(table)
}

/// Takes as much as JSON may have: a table that holds another twice, and so on, would be written without end.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MOST_JSON {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// JSON is Lua's alone: other languages have their own.
fn json(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.set(
        "encode",
        lua.create_function(|lua, value: Value| {
            let mut written = Bounded(Vec::new());
            match serde_json::to_writer(&mut written, &value) {
                Ok(()) => text(lua, &written.0),
                Err(error) if error.is_io() => Err(lua_error(Error::TooLarge(MOST_JSON as u64))),
                Err(error) => {
                    Err(lua_error(Error::invalid(format!("this cannot be written as JSON: {error}"))))
                }
            }
        })?,
    )?;
    table.set(
        "decode",
        lua.create_function(|lua, text: LuaString| {
            let bytes = text.as_bytes();
            if bytes.len() > MOST_JSON {
                return Err(lua_error(Error::TooLarge(MOST_JSON as u64)));
            }
            let value: serde_json::Value = serde_json::from_slice(&bytes)
                .map_err(|e| lua_error(Error::invalid(format!("this is no JSON: {e}"))))?;
            lua.to_value(&value)
        })?,
    )?;
    table.set("null", lua.null())?;
    Ok(table)
}
