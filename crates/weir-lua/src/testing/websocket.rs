//! WebSockets as tables of Lua.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use mlua::{Lua, LuaString, Table, Value};
use weir_plugin::Reply;
use weir_plugin::scenario::Attempt;
use weir_plugin::scenario::websocket::{Conversation, Conversed, Event, Other, Sent};
use weir_plugin::websocket::{CloseReason, Closed, ClosedBy, Direction, Opcode};

use super::scenario::{Fields, outcome, scenario};
use crate::fault;
use crate::handles::{relay_id, text};
use crate::services::seconds;
use crate::state::kind;

type Result<T, E = String> = std::result::Result<T, E>;

/// What a WebSocket may have.
const NAMES: [&str; 15] = [
    "path",
    "headers",
    "client_ip",
    "scheme",
    "tls",
    "request_id",
    "route",
    "captures",
    "group",
    "upstreams",
    "upstream",
    "subprotocol",
    "connect",
    "others",
    "events",
];
/// What another relay may have.
const OTHER_NAMES: [&str; 3] = ["id", "route", "groups"];
/// What says what happens: one of them.
const HAPPENS: [&str; 8] = ["text", "binary", "ping", "pong", "fragments", "close", "wait", "migrate"];
/// What may be said beside it.
const BESIDE: [&str; 3] = ["from", "opcode", "compressed"];
/// What an end may have.
const CLOSE_NAMES: [&str; 3] = ["from", "code", "reason"];

/// Reads a WebSocket as a test gives it.
pub(super) fn read(told: &Value) -> Result<Conversation> {
    let fields = Fields::new(told, "a websocket", &NAMES)?;
    let subprotocol = fields.text("subprotocol")?;
    let protocol = subprotocol.as_deref().map(HeaderValue::from_str).transpose();
    let protocol = protocol.map_err(|_| "`subprotocol` of a websocket is the name of one".to_owned())?;
    let mut handshake = scenario(&fields)?;
    let asked = &mut handshake.headers;
    asked.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    asked.insert(UPGRADE, HeaderValue::from_static("websocket"));
    asked.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    asked.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
    if let Some(protocol) = &protocol {
        asked.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
    if fields.value("upstream").is_nil() {
        let agreed = protocol.map(|protocol| (SEC_WEBSOCKET_PROTOCOL, protocol));
        let headers: HeaderMap = agreed.into_iter().collect();
        let reply = Reply { status: StatusCode::SWITCHING_PROTOCOLS, headers, body: Bytes::new() };
        handshake.attempts = vec![Attempt::Response(reply)];
    }
    let late = match fields.text("connect")?.as_deref() {
        None | Some("handshake") => false,
        Some("first-message") => true,
        Some(_) => return Err("`connect` of a websocket is \"handshake\" or \"first-message\"".to_owned()),
    };
    Ok(Conversation {
        handshake,
        subprotocol,
        late,
        others: each(&fields.value("others"), "others", other)?,
        events: each(&fields.value("events"), "events", event)?,
    })
}

/// Reads a list.
fn each<T>(given: &Value, name: &str, read: impl Fn(&Value) -> Result<T>) -> Result<Vec<T>> {
    let list = match given {
        Value::Nil => return Ok(Vec::new()),
        Value::Table(list) => list,
        other => return Err(format!("`{name}` is a list, not a {}", kind(other))),
    };
    let items = (1..).zip(list.sequence_values::<Value>());
    let items = items.map(|(number, item)| {
        let item = item.map_err(|error| fault::message(&error))?;
        read(&item).map_err(|message| format!("`{name}[{number}]`: {message}"))
    });
    items.collect()
}

fn other(given: &Value) -> Result<Other> {
    let fields = Fields::new(given, "a relay", &OTHER_NAMES)?;
    let id = fields.text("id")?.ok_or("a relay has an `id`: a text of digits")?;
    let groups = each(&fields.value("groups"), "groups", |name| {
        name.as_string()
            .map(LuaString::to_string_lossy)
            .ok_or_else(|| "the name of a group is a string".to_owned())
    })?;
    Ok(Other {
        id: relay_id(&id).map_err(|error| fault::message(&error))?,
        route: fields.text("route")?.map_or_else(|| Arc::from("test"), Arc::from),
        groups: groups.into_iter().collect::<BTreeSet<_>>(),
    })
}

/// What happens.
fn event(given: &Value) -> Result<Event> {
    let known: Vec<&str> = HAPPENS.into_iter().chain(BESIDE).collect();
    let fields = Fields::new(given, "an event", &known)?;
    let mut said = HAPPENS.into_iter().filter(|name| !fields.value(name).is_nil());
    let (Some(happens), None) = (said.next(), said.next()) else {
        return Err(format!("an event has one of {}", HAPPENS.join(", ")));
    };
    if !matches!(happens, "text" | "binary" | "ping" | "pong" | "fragments")
        && BESIDE.into_iter().any(|name| !fields.value(name).is_nil())
    {
        return Err(format!("`{happens}` has none of {} beside it", BESIDE.join(", ")));
    }
    match happens {
        "wait" => match fields.value("wait") {
            Value::Number(time) => wait(time),
            #[allow(clippy::cast_precision_loss, reason = "far less than that")]
            Value::Integer(time) => wait(time as f64),
            other => Err(format!("`wait` is a number of seconds, not a {}", kind(&other))),
        },
        "migrate" => Ok(Event::Migrate),
        "close" => close(&fields.value("close")),
        _ => message(&fields, happens),
    }
}

fn wait(time: f64) -> Result<Event> {
    seconds(time).map(Event::Wait).map_err(|error| fault::message(&error))
}

fn message(fields: &Fields<'_>, happens: &str) -> Result<Event> {
    let direction = match fields.text("from")?.as_deref() {
        Some("client") => Direction::ToUpstream,
        Some("upstream") => Direction::ToClient,
        _ => return Err("`from` of an event is \"client\" or \"upstream\"".to_owned()),
    };
    let opcode = match (happens, fields.text("opcode")?.as_deref()) {
        ("fragments", None | Some("text")) => Opcode::Text,
        ("fragments", Some("binary")) => Opcode::Binary,
        ("fragments", Some(_)) => return Err("`opcode` of fragments is \"text\" or \"binary\"".to_owned()),
        (_, Some(_)) => return Err("`opcode` is for fragments".to_owned()),
        (name, None) => Opcode::of_name(name).ok_or("an event has no such opcode")?,
    };
    let fragments = match happens {
        "fragments" => each(&fields.value("fragments"), "fragments", |fragment| {
            let fragment = fragment.as_string().ok_or("a fragment is a string")?;
            Ok(Bytes::copy_from_slice(&fragment.as_bytes()))
        })?,
        _ => vec![fields.bytes(happens)?.unwrap_or_default()],
    };
    if fragments.is_empty() {
        return Err("a message has one fragment or more".to_owned());
    }
    opcode.check(&fragments.concat()).map_err(|error| error.to_string())?;
    let compressed = match fields.value("compressed") {
        Value::Nil => false,
        Value::Boolean(compressed) => compressed && !opcode.is_control(),
        other => return Err(format!("`compressed` is true or false, not a {}", kind(&other))),
    };
    Ok(Event::Message { direction, opcode, fragments, compressed })
}

fn close(given: &Value) -> Result<Event> {
    let fields = Fields::new(given, "`close`", &CLOSE_NAMES)?;
    let by = match fields.text("from")?.as_deref() {
        Some("client") => ClosedBy::Client,
        Some("upstream") => ClosedBy::Upstream,
        Some("nobody") => ClosedBy::Nobody,
        _ => return Err("`from` of `close` is \"client\", \"upstream\" or \"nobody\"".to_owned()),
    };
    let code = match fields.value("code") {
        Value::Nil => None,
        _ => Some(fields.number::<u16>("code", 0)?),
    };
    let reason = fields.text("reason")?.unwrap_or_default();
    match code {
        None if !reason.is_empty() => return Err("a reason comes beside a code".to_owned()),
        Some(_) if by == ClosedBy::Nobody => {
            return Err("a connection that breaks off brings no code".to_owned());
        }
        Some(code) => drop(CloseReason::new(code.into(), &reason).map_err(|error| error.to_string())?),
        None => {}
    }
    Ok(Event::Close(Closed { code, reason: reason.into(), by }))
}

/// What came of a WebSocket, for a test to look at.
pub(super) fn conversed(lua: &Lua, conversed: &Conversed) -> mlua::Result<Table> {
    let table = outcome(lua, &conversed.exchange)?;
    table.raw_set("to_upstream", all_sent(lua, &conversed.to_upstream)?)?;
    table.raw_set("to_client", all_sent(lua, &conversed.to_client)?)?;
    let closed = conversed.closed.as_ref().map(|closed| crate::host::closed(lua, closed)).transpose()?;
    table.raw_set("closed", closed)?;
    table.raw_set("groups", lua.create_sequence_from(conversed.groups.iter().map(String::as_str))?)?;
    let (limits, set) = (lua.create_table()?, &conversed.limits);
    limits.raw_set("max_message", set.max_message)?;
    limits.raw_set("idle_timeout", set.idle_timeout.map(|time| time.as_secs_f64()))?;
    limits.raw_set("max_age", set.max_age.map(|time| time.as_secs_f64()))?;
    limits.raw_set("ping_interval", set.ping_interval.map(|time| time.as_secs_f64()))?;
    table.raw_set("limits", limits)?;
    let others = lua.create_table_with_capacity(conversed.others.len(), 0)?;
    for done in &conversed.others {
        let entry = match &done.what {
            Ok((to, sent)) => {
                let entry = one_sent(lua, sent)?;
                entry.raw_set("to", to.name())?;
                entry
            }
            Err(close) => {
                let entry = lua.create_table()?;
                entry.raw_set("code", close.code())?;
                entry.raw_set("reason", &**close.reason())?;
                entry
            }
        };
        entry.raw_set("relay", done.id.to_string())?;
        others.raw_push(entry)?;
    }
    table.raw_set("sent", others)?;
    Ok(table)
}

fn all_sent(lua: &Lua, all: &[Sent]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(all.len(), 0)?;
    for sent in all {
        table.raw_push(one_sent(lua, sent)?)?;
    }
    Ok(table)
}

fn one_sent(lua: &Lua, sent: &Sent) -> mlua::Result<Table> {
    let entry = lua.create_table()?;
    entry.raw_set("opcode", sent.opcode.name())?;
    entry.raw_set("data", text(lua, &sent.data)?)?;
    Ok(entry)
}
