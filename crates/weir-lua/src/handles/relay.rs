//! WebSocket relays, and groups of them. These handles may be kept.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use mlua::{
    BorrowedBytes, BorrowedStr, Lua, LuaString, Table, UserData, UserDataFields, UserDataMethods, Value,
    Variadic,
};
use weir_plugin::websocket::{
    Access, Direction, Group as Members, Opcode, Relay as Live, RelayLimits, Watch, relay_id,
};
use weir_plugin::{Error, WebSocket};

use super::{list, lua_error, strict, text};
use crate::host::{Why, close_reason, watching};
use crate::services::seconds;
use crate::state::kind;

/// A relay.
pub(crate) struct Relay {
    live: Arc<dyn Live>,
    /// What is known of one's own.
    own: Option<Rc<WebSocket>>,
    /// What its plugin wants to see of it, where that was said since it was asked last.
    watch: Rc<Cell<Option<Watch>>>,
    access: Rc<Access>,
}

/// The relays of one name.
pub(crate) struct Group(pub(crate) Members);

impl Relay {
    /// The one of a hook's own exchange. What is said of what is to be watched is put there.
    pub(crate) fn own(ws: Rc<WebSocket>, access: Rc<Access>, watch: Rc<Cell<Option<Watch>>>) -> Self {
        Relay { live: ws.relay.clone(), own: Some(ws), watch, access }
    }

    /// One that was found.
    pub(crate) fn found(live: Arc<dyn Live>, access: Rc<Access>) -> Self {
        Relay { live, own: None, watch: Rc::default(), access }
    }
}

/// To which side, the data, and the opcode, which is text where it is left out.
type Sent = (BorrowedStr, BorrowedBytes, Option<BorrowedStr>);

impl UserData for Relay {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("id", |_, this| Ok(this.live.id().to_string()));
        fields.add_field_method_get("route", |lua, this| text(lua, this.live.route().as_bytes()));
        get(fields, "request_id", |ws| Some(&ws.request_id), Some(""));
        get(fields, "client_ip", |ws| Some(&*ws.client_ip).filter(|ip| !ip.is_empty()), None);
        get(fields, "subprotocol", |ws| ws.subprotocol.as_deref(), None);
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("send", |_, this, (to, data, opcode): Sent| {
            let (to, opcode) = (direction(&to)?, self::opcode(opcode.as_deref())?);
            opcode.check(&data).map_err(lua_error)?;
            this.live.send(to, opcode, Bytes::copy_from_slice(&data)).map_err(lua_error)
        });
        methods
            .add_method("close", |_, this, why: Why| this.live.close(close_reason(&why)?).map_err(lua_error));
        methods.add_method("join", |_, this, group: BorrowedStr| {
            this.access.check(&group).and_then(|()| this.live.join(&group)).map_err(lua_error)
        });
        methods.add_method("leave", |_, this, group: BorrowedStr| {
            this.access.check(&group).map(|()| this.live.leave(&group)).map_err(lua_error)
        });
        methods.add_method("watch", |_, this, names: Variadic<LuaString>| {
            if this.own.is_none() {
                let text = "only a relay of the hook's own can be watched, not one that was found";
                return Err(lua_error(Error::denied(text)));
            }
            this.watch.set(Some(watching("ws:watch", &names)?));
            Ok(())
        });
        methods.add_method("limit", |_, this, limits: Table| {
            this.live.limit(relay_limits(&limits)?);
            Ok(())
        });
        strict(methods, "websocket");
    }
}

impl UserData for Group {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        type Sent = (BorrowedStr, BorrowedBytes, Option<BorrowedStr>, Option<BorrowedStr>);
        methods.add_method("send", |_, this, (to, data, opcode, except): Sent| {
            let (to, opcode) = (direction(&to)?, self::opcode(opcode.as_deref())?);
            let except = except.as_deref().map(id).transpose()?;
            this.0.send(to, opcode, Bytes::copy_from_slice(&data), except).map_err(lua_error)
        });
        methods.add_method("close", |_, this, why: Why| Ok(this.0.close(&close_reason(&why)?)));
        methods.add_method("count", |_, this, ()| Ok(this.0.count()));
        methods.add_method("members", |lua, this, ()| {
            list(lua, this.0.members().iter().map(|id| id.to_string()))
        });
        strict(methods, "group");
    }
}

/// Adds a field that only one's own relay has; others have what is `absent`.
fn get(
    fields: &mut impl UserDataFields<Relay>,
    name: &str,
    f: impl Fn(&WebSocket) -> Option<&str> + 'static,
    absent: Option<&'static str>,
) {
    fields.add_field_method_get(name, move |lua: &Lua, this| -> mlua::Result<Option<LuaString>> {
        let value = this.own.as_ref().map_or(absent, |ws| f(ws));
        value.map(|value| text(lua, value.as_bytes())).transpose()
    });
}

fn direction(name: &str) -> mlua::Result<Direction> {
    Direction::of_name(name).ok_or_else(|| {
        let text = format!("\"{name}\" is no side to send to: \"to_upstream\" and \"to_client\" are");
        lua_error(Error::invalid(text))
    })
}

fn opcode(name: Option<&str>) -> mlua::Result<Opcode> {
    let Some(name) = name else { return Ok(Opcode::Text) };
    Opcode::of_name(name).ok_or_else(|| {
        let text = format!("\"{name}\" is no opcode: \"text\", \"binary\", \"ping\" and \"pong\" are");
        lua_error(Error::invalid(text))
    })
}

/// The id of a relay.
pub(crate) fn id(text: &str) -> mlua::Result<u64> {
    relay_id(text).map_err(lua_error)
}

/// The names of bounds.
const LIMITS: [&str; 4] = ["max_message", "idle_timeout", "max_age", "ping_interval"];

fn relay_limits(given: &Table) -> mlua::Result<RelayLimits> {
    let mut limits = RelayLimits::default();
    for pair in given.pairs::<Value, Value>() {
        let (name, value) = pair?;
        let name = name.as_string().map(|name| name.to_string_lossy()).unwrap_or_default();
        if !LIMITS.contains(&name.as_str()) {
            let known = LIMITS.join(", ");
            return Err(lua_error(Error::invalid(format!(
                "a websocket has no limit `{name}`: there are {known}"
            ))));
        }
        if name == "max_message" {
            let whole =
                value.as_i64().or_else(|| value.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64));
            let bytes = whole.and_then(|bytes| u64::try_from(bytes).ok());
            limits.max_message = Some(
                bytes.ok_or_else(|| lua_error(Error::invalid("`max_message` is a whole number of bytes")))?,
            );
            continue;
        }
        let number = value.as_f64().or_else(|| value.as_i64().map(|n| n as f64)).ok_or_else(|| {
            let kind = kind(&value);
            lua_error(Error::invalid(format!("`{name}` is a number, not a {kind}")))
        })?;
        let time = Some(seconds(number)?);
        match name.as_str() {
            "idle_timeout" => limits.idle_timeout = time,
            "max_age" => limits.max_age = time,
            _ => limits.ping_interval = time,
        }
    }
    limits.check().map_err(lua_error)?;
    Ok(limits)
}
