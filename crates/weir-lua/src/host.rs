//! The table `weir`: what scripts call, and what hooks return.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use mlua::{AnyUserData, BorrowedStr, Lua, LuaString, Table, UserData, Value, Variadic};
use weir_plugin::services::Services;
use weir_plugin::websocket::{CloseReason, Closed, FrameVerdict, Watch};
use weir_plugin::{ConnectVerdict, Error, Piece, Policy, Reply, Selection, Target, Timers, Verdict, message};

use crate::handles::{lua_error, text};
use crate::services::seconds;
use crate::state::{self, State};

/// What `weir.respond` returns.
#[derive(Clone)]
struct Answer(Reply);

impl UserData for Answer {}

/// What `weir.refuse` returns.
struct Refusal;

impl UserData for Refusal {}

/// What `weir.drop` returns.
struct Dropped;

impl UserData for Dropped {}

/// What `weir.close` returns.
#[derive(Clone)]
struct Closing(CloseReason);

impl UserData for Closing {}

/// What `weir.watch` returns.
#[derive(Clone, Copy)]
struct Watching(Watch);

impl UserData for Watching {}

/// What `weir.group` and the like return.
#[derive(Clone)]
struct Choice(Target);

impl UserData for Choice {}

/// The table `weir`.
pub(crate) fn table(
    lua: &Lua,
    state: &Rc<State>,
    policy: &Policy,
    services: &Services,
) -> mlua::Result<Table> {
    let weir = lua.create_table()?;
    weir.set("respond", lua.create_function(|_, what: Value| respond(&what).map(Answer))?)?;
    weir.set("refuse", lua.create_function(|_, ()| Ok(Refusal))?)?;
    weir.set("group", lua.create_function(|_, name: String| Ok(Choice(Target::Group(Arc::from(name)))))?)?;
    weir.set(
        "endpoint",
        lua.create_function(|_, address: String| Ok(Choice(Target::Endpoint(Arc::from(address)))))?,
    )?;
    weir.set(
        "hash_key",
        lua.create_function(|_, key: LuaString| {
            Ok(Choice(Target::HashKey(Bytes::copy_from_slice(&key.as_bytes()))))
        })?,
    )?;
    // One for all: it says nothing of its own.
    let dropped = lua.create_userdata(Dropped)?;
    weir.set("drop", lua.create_function(move |_, ()| Ok(dropped.clone()))?)?;
    weir.set("close", lua.create_function(|_, why: Why| close_reason(&why).map(Closing))?)?;
    weir.set(
        "watch",
        lua.create_function(|_, names: Variadic<LuaString>| watching("weir.watch", &names).map(Watching))?,
    )?;
    weir.set("log", log(lua, state)?)?;
    weir.set("timer", timer(lua, state)?)?;
    weir.set("http", crate::http::table(lua, &services.http, policy)?)?;
    crate::services::add(lua, &weir, &state.name, policy, services, &state.access)?;
    Ok(weir)
}

fn log(lua: &Lua, state: &Rc<State>) -> mlua::Result<Table> {
    use tracing::Level;
    let log = lua.create_table()?;
    let levels =
        [("debug", Level::DEBUG), ("info", Level::INFO), ("warn", Level::WARN), ("error", Level::ERROR)];
    for (name, level) in levels {
        let state = Rc::downgrade(state);
        let write = lua.create_function(move |lua, message: Value| {
            if let Some(state) = state.upgrade() {
                state.log(level, &crate::state::shown(lua, &message)?);
            }
            Ok(())
        })?;
        log.set(name, write)?;
    }
    Ok(log)
}

fn timer(lua: &Lua, state: &Rc<State>) -> mlua::Result<Table> {
    let timer = lua.create_table()?;
    let own = Rc::downgrade(state);
    let set = lua.create_function(move |_, (name, after): (String, f64)| {
        let Some(state) = own.upgrade() else { return Ok(()) };
        if !state.wants_timers.get() {
            return Err(lua_error(Timers::unwanted()));
        }
        state.timers.set(&name, seconds(after)?).map_err(lua_error)
    })?;
    timer.set("set", set)?;
    let own = Rc::downgrade(state);
    let cancel = lua.create_function(move |_, name: String| {
        Ok(own.upgrade().is_some_and(|state| state.timers.cancel(&name)))
    })?;
    timer.set("cancel", cancel)?;
    Ok(timer)
}

/// A code, and a reason, which may be left out.
pub(crate) type Why = (i64, Option<BorrowedStr>);

/// A reason for which a relay ends.
pub(crate) fn close_reason((code, reason): &Why) -> mlua::Result<CloseReason> {
    CloseReason::new(*code, reason.as_deref().unwrap_or_default()).map_err(lua_error)
}

/// What a function takes that is told what to watch.
pub(crate) fn watching(function: &str, names: &[LuaString]) -> mlua::Result<Watch> {
    let mut watch = Watch::default();
    for name in names {
        match &*name.as_bytes() {
            b"frames" => watch.frames = true,
            b"messages" => watch.messages = true,
            b"send" => watch.send = true,
            _ => {
                let name = name.to_string_lossy();
                let text = format!(
                    "{function} takes \"frames\", \"messages\" and \"send\", or none of them, not \"{name}\""
                );
                return Err(lua_error(Error::invalid(text)));
            }
        }
    }
    Ok(watch)
}

/// What may be in the table that `weir.respond` takes.
const REPLY: [&str; 3] = ["status", "headers", "body"];

pub(crate) fn respond(what: &Value) -> mlua::Result<Reply> {
    let wrong = |message: String| mlua::Error::RuntimeError(format!("weir.respond: {message}"));
    let Value::Table(table) = what else {
        let kind = state::kind(what);
        return Err(wrong(format!("a table with status, headers and body is wanted, not a {kind}")));
    };
    for pair in table.pairs::<Value, Value>() {
        let (name, _) = pair?;
        let name = name.as_string().map(|name| name.to_string_lossy()).unwrap_or_default();
        if !REPLY.contains(&name.as_str()) {
            return Err(wrong(format!("unknown name `{name}`: there are {}", REPLY.join(", "))));
        }
    }
    let status = match table.raw_get::<Value>("status")? {
        Value::Nil => 200,
        value => value
            .as_i64()
            .or_else(|| value.as_f64().filter(|n| n.fract() == 0.0).map(|n| n as i64))
            .ok_or_else(|| wrong("`status` is a whole number".to_owned()))?,
    };
    let body = match table.raw_get::<Value>("body")? {
        Value::Nil => Bytes::new(),
        Value::String(body) => Bytes::copy_from_slice(&body.as_bytes()),
        value => return Err(wrong(format!("`body` is a string, not a {}", state::kind(&value)))),
    };
    let fields = fields(&table.raw_get("headers")?).map_err(wrong)?;
    let fields = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    message::reply(status, fields, body).map_err(|error| wrong(error.to_string()))
}

/// A header field: name and value.
pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// Header fields from a table of strings, and lists of them, by name.
pub(crate) fn fields(headers: &Value) -> Result<Vec<Field>, String> {
    let headers = match headers {
        Value::Nil => return Ok(Vec::new()),
        Value::Table(headers) => headers,
        value => return Err(format!("`headers` is a table, not a {}", state::kind(value))),
    };
    let mut fields = Vec::new();
    for pair in headers.pairs::<LuaString, Value>() {
        let (name, value) = pair.map_err(|_| "a header's name is a string".to_owned())?;
        let wrong = |kind| {
            let name = name.to_string_lossy();
            format!("the header {name} is a string or a list of them, not a {kind}")
        };
        let values = match value {
            Value::Table(values) => values.sequence_values().collect::<mlua::Result<Vec<LuaString>>>(),
            Value::String(value) => Ok(vec![value]),
            value => return Err(wrong(state::kind(&value))),
        };
        let values = values.map_err(|_| wrong("list of something else"))?;
        fields.extend(values.iter().map(|value| (name.as_bytes().to_vec(), value.as_bytes().to_vec())));
    }
    // Names of a table come in no order of their own; those of a message should be the same each time.
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(fields)
}

/// What `on_connect` returned.
pub(crate) fn connect_verdict(returned: Result<Value, String>) -> ConnectVerdict {
    match returned {
        Err(message) => ConnectVerdict::Fail(message),
        Ok(Value::Nil) => ConnectVerdict::Accept,
        Ok(Value::UserData(data)) if data.is::<Refusal>() => ConnectVerdict::Refuse,
        Ok(other) => {
            let kind = state::kind(&other);
            ConnectVerdict::Fail(format!(
                "on_connect returned a {kind}: it returns nothing, or weir.refuse()"
            ))
        }
    }
}

/// What a body hook's return value says.
pub(crate) fn piece(hook: &str, returned: Result<Value, String>) -> Piece {
    match returned {
        Err(message) => Piece::Fail(message),
        Ok(Value::Nil) => Piece::Pass,
        Ok(Value::String(bytes)) => Piece::Replace(Bytes::copy_from_slice(&bytes.as_bytes())),
        Ok(Value::UserData(data)) if data.is::<Answer>() => match take::<Answer>(&data) {
            Some(Answer(reply)) => Piece::Respond(reply),
            None => Piece::Pass,
        },
        Ok(other) => {
            let kind = state::kind(&other);
            Piece::Fail(format!(
                "{hook} returned a {kind}: it returns nothing, a string, or weir.respond{{…}}"
            ))
        }
    }
}

/// What a hook's return value says.
pub(crate) fn verdict(hook: &str, returned: Result<Value, String>) -> Verdict {
    let returned = match returned {
        Ok(returned) => returned,
        Err(message) => return Verdict::Fail(message),
    };
    match &returned {
        Value::Nil => Verdict::Proceed,
        Value::UserData(data) => match take::<Answer>(data) {
            Some(Answer(reply)) => Verdict::Respond(reply),
            None => wrong(hook, &returned),
        },
        other => wrong(hook, other),
    }
}

fn wrong(hook: &str, returned: &Value) -> Verdict {
    let kind = state::kind(returned);
    Verdict::Fail(format!("{hook} returned a {kind}: it returns nothing, or weir.respond{{…}}"))
}

/// What a hook of frames or messages returned.
pub(crate) fn frame_verdict(hook: &str, returned: Result<Value, String>) -> FrameVerdict {
    let returned = match returned {
        Ok(Value::Nil) => return FrameVerdict::Forward,
        Ok(Value::String(bytes)) => {
            return FrameVerdict::Replace(Bytes::copy_from_slice(&bytes.as_bytes()));
        }
        Ok(Value::UserData(data)) if data.is::<Dropped>() => return FrameVerdict::Drop,
        Ok(returned) => returned,
        Err(message) => return FrameVerdict::Fail(message),
    };
    match returned.as_userdata().and_then(take::<Closing>) {
        Some(Closing(reason)) => FrameVerdict::Close(reason),
        None => {
            let kind = state::kind(&returned);
            FrameVerdict::Fail(format!(
                "{hook} returned a {kind}: it returns nothing, a string, weir.drop() or weir.close(code, reason)"
            ))
        }
    }
}

/// What a hook said that it wants to see of a relay; nothing is all that there are hooks for.
pub(crate) fn watch(hook: &str, returned: Result<Value, String>, has: Watch) -> Result<Watch, String> {
    let returned = returned?;
    match &returned {
        Value::Nil => Ok(has),
        other => match other.as_userdata().and_then(take::<Watching>) {
            Some(Watching(watch)) => Ok(watch),
            None => {
                let kind = state::kind(other);
                Err(format!(
                    "{hook} returned a {kind}: it returns nothing, or weir.watch(\"frames\", \"messages\", \"send\") with any of \
                     them or none"
                ))
            }
        },
    }
}

/// How a relay ended.
pub(crate) fn closed(lua: &Lua, closed: &Closed) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 3)?;
    table.raw_set("code", closed.code)?;
    table.raw_set("reason", text(lua, closed.reason.as_bytes())?)?;
    table.raw_set("by", closed.by.name())?;
    Ok(table)
}

/// A copy: a script may return the same answer each time.
fn take<T: Clone + 'static>(data: &AnyUserData) -> Option<T> {
    data.borrow::<T>().ok().map(|data| data.clone())
}

/// What `select_upstream` is told.
pub(crate) fn selection(lua: &Lua, selection: &Selection) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 4)?;
    table.raw_set("group", text(lua, selection.group.as_bytes())?)?;
    table.raw_set("attempt", selection.attempt)?;
    table.raw_set("failure", selection.failure)?;
    let candidates = lua.create_table_with_capacity(selection.candidates.len(), 0)?;
    for (i, candidate) in selection.candidates.iter().enumerate() {
        let entry = lua.create_table_with_capacity(0, 4)?;
        entry.raw_set("address", text(lua, candidate.address.as_bytes())?)?;
        entry.raw_set("weight", candidate.weight)?;
        entry.raw_set("load", candidate.load)?;
        entry.raw_set("available", candidate.available)?;
        candidates.raw_set(i + 1, entry)?;
    }
    table.raw_set("candidates", candidates)?;
    Ok(table)
}

/// What `select_upstream` returned.
pub(crate) fn target(returned: Result<Value, String>) -> Result<Target, String> {
    let returned = returned?;
    let choice = match &returned {
        Value::Nil => return Ok(Target::Default),
        Value::UserData(data) => take::<Choice>(data),
        _ => None,
    };
    choice.map(|Choice(target)| target).ok_or_else(|| {
        let kind = state::kind(&returned);
        format!(
            "select_upstream returned a {kind}: it returns nothing, or weir.group(…), weir.endpoint(…) or \
             weir.hash_key(…)"
        )
    })
}

/// Where a text is first found in another, from a position (from 1): its first and last position.
pub(crate) fn find_plain(
    _: &Lua,
    (text, what, from): (LuaString, LuaString, usize),
) -> mlua::Result<(Option<usize>, Option<usize>)> {
    let (text, what) = (text.as_bytes(), what.as_bytes());
    let rest = text.get(from.saturating_sub(1)..).unwrap_or_default();
    let found = memchr::memmem::find(rest, &what);
    Ok((found.map(|at| from + at), found.map(|at| from + at + what.len() - 1)))
}
