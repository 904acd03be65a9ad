//! A Lua state of a plugin on a worker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use mlua::chunk::{ChunkMode, Compiler};
use mlua::{Function, Lua, LuaOptions, StdLib, Table, Value};
use weir_plugin::services::Services;
use weir_plugin::websocket::Access;
use weir_plugin::{Policy, Timers};

use crate::call::{For, Meter};
use crate::fault::message;
use crate::host;
use crate::plugin::Compiled;

/// Coroutines and library functions as plugins have them.
const PRELUDE: &str = include_str!("prelude.luau");

/// Threads kept for the next call.
const THREADS: usize = 64;

/// A Lua state.
pub(crate) struct State {
    /// Before the state of Lua, which its interrupt must not outlive.
    pub(crate) meter: Rc<Meter>,
    pub(crate) lua: Lua,
    /// The plugin's name.
    pub(crate) name: String,
    /// What the call that runs now is for.
    pub(crate) current: Rc<RefCell<For>>,
    pub(crate) timers: Rc<Timers>,
    /// The relays that the plugin may address.
    pub(crate) access: Rc<Access>,
    /// Whether the plugin has a hook for timers.
    pub(crate) wants_timers: Cell<bool>,
    spent: Cell<bool>,
    memory: usize,
}

impl State {
    /// A fresh state, with nothing of the plugin run yet.
    pub(crate) fn new(
        name: &str,
        compiled: &Rc<Compiled>,
        policy: &Policy,
        services: &Services,
    ) -> mlua::Result<Rc<State>> {
        Self::with(name, compiled, policy, services, |_| Ok(()))
    }

    /// The same, with functions that `make` makes: those that wait must be made before the prelude runs.
    pub(crate) fn with(
        name: &str,
        compiled: &Rc<Compiled>,
        policy: &Policy,
        services: &Services,
        make: impl FnOnce(&Lua) -> mlua::Result<()>,
    ) -> mlua::Result<Rc<State>> {
        let libraries =
            StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::UTF8 | StdLib::BIT | StdLib::BUFFER;
        let options = LuaOptions::new().thread_pool_size(THREADS);
        let lua = Lua::new_with(libraries | StdLib::COROUTINE, options)?;
        let limits = &policy.limits;
        let meter = Meter::new(limits.clone());
        let state = Rc::new(State {
            lua: lua.clone(),
            meter: meter.clone(),
            name: name.to_owned(),
            current: Rc::default(),
            timers: Rc::new(Timers::new(services.clock.clone())),
            access: Rc::new(Access::new(name, &policy.grants, services.websockets.clone())),
            wants_timers: Cell::new(false),
            spent: Cell::new(false),
            memory: limits.memory,
        });
        let globals = lua.globals();
        globals.set("weir", host::table(&lua, &state, policy, services)?)?;
        crate::handles::register(&lua, &state.current, limits)?;
        // Handles with methods that wait are known before the prelude takes the functions of coroutines for its own.
        crate::handles::Body::register(&lua)?;
        crate::http::Response::register(&lua)?;
        make(&lua)?;
        // Made before the prelude takes the functions of coroutines for its own.
        let prelude: Function =
            lua.load(PRELUDE).set_name("=weir").set_mode(ChunkMode::Text).into_function()?;
        let plain = lua.create_function(|_, error: Value| match error {
            Value::Error(error) => Ok(crate::fault::first_line(&message(&error)).to_owned()),
            other => Err(mlua::Error::runtime(kind(&other))),
        })?;
        let held = meter.clone();
        let go_on = lua.create_function(move |_, ()| held.go_on())?;
        prelude.call::<()>((Lua::poll_pending(), lua.create_function(host::find_plain)?, plain, go_on))?;
        globals.set("require", require(&lua, compiled.clone())?)?;
        for name in ["collectgarbage", "loadstring", "getfenv", "setfenv", "newproxy"] {
            globals.set(name, Value::Nil)?;
        }
        let own = Rc::downgrade(&state);
        globals.set(
            "print",
            lua.create_function(move |lua, values: mlua::Variadic<Value>| {
                let Some(state) = own.upgrade() else { return Ok(()) };
                let texts: mlua::Result<Vec<String>> = values.iter().map(|value| shown(lua, value)).collect();
                state.log(tracing::Level::INFO, &texts?.join("\t"));
                Ok(())
            })?,
        )?;
        lua.sandbox(true)?;
        lua.set_memory_limit(limits.memory)?;
        meter.watch(&lua)?;
        Ok(state)
    }

    /// Whether new exchanges should get a fresh state.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.get()
    }

    /// Retires a state that has run out of memory, or soon will.
    pub(crate) fn look_at_memory(&self, error: Option<&mlua::Error>) {
        if self.spent.get() {
            return;
        }
        let full = || self.lua.used_memory() > self.memory / 5 * 4;
        let out = matches!(error, Some(mlua::Error::MemoryError(_)));
        if out || (full() && (self.lua.gc_collect().is_err() || full())) {
            self.spent.set(true);
            tracing::warn!(plugin = %self.name, "its memory is used up: it starts afresh");
        }
    }

    /// Writes to weir's log.
    pub(crate) fn log(&self, level: tracing::Level, text: &str) {
        let current = self.current.borrow().clone();
        let (mut id, mut connection) = (None, None);
        let mut ws = None;
        match &current {
            For::Exchange(slot) => match slot.with("", |x| x.request_id.clone()) {
                Ok(found) => id = Some(found),
                Err(_) => connection = slot.connection("", |connection| connection.id).ok(),
            },
            For::Body(of) => id = Some(of.clone()),
            For::Frame(slot) => ws = Some(slot.ws()),
            For::Relay(of) => ws = Some(of),
            For::Nothing => {}
        }
        let of_ws = ws.map(|ws| &*ws.request_id);
        let (plugin, request_id) = (&self.name, of_ws.or(id.as_ref().and_then(|id| id.to_str().ok())));
        match level {
            tracing::Level::DEBUG => tracing::debug!(plugin, request_id, connection, "{text}"),
            tracing::Level::INFO => tracing::info!(plugin, request_id, connection, "{text}"),
            tracing::Level::WARN => tracing::warn!(plugin, request_id, connection, "{text}"),
            _ => tracing::error!(plugin, request_id, connection, "{text}"),
        }
    }
}

/// A value as `tostring` shows it.
pub(crate) fn shown(lua: &Lua, value: &Value) -> mlua::Result<String> {
    match value {
        Value::String(text) => Ok(text.to_string_lossy()),
        value => {
            let text: mlua::LuaString = lua.globals().get::<Function>("tostring")?.call(value)?;
            Ok(text.to_string_lossy())
        }
    }
}

/// `require` for modules of the plugin's own folder. A module runs once; a circle is an error that names it.
fn require(lua: &Lua, compiled: Rc<Compiled>) -> mlua::Result<Function> {
    let loaded: Rc<RefCell<HashMap<String, Option<Value>>>> = Rc::default();
    let requires = lua.create_function(move |lua, name: String| {
        let from = caller(lua, &compiled);
        let Some(file) = compiled.source.resolve(&from, &name) else {
            return Err(mlua::Error::runtime(format!(
                "there is no module \"{name}\" in the plugin's folder: \"a.b\" is a/b.lua there, \"./b\" is b.lua \
                 beside the file that requires it"
            )));
        };
        match loaded.borrow().get(file) {
            Some(Some(value)) => return Ok(value.clone()),
            Some(None) => return Err(mlua::Error::runtime(format!("{file} requires itself, in a circle"))),
            None => {}
        }
        loaded.borrow_mut().insert(file.to_owned(), None);
        let value = compiled.load(lua, file).and_then(|module| module.call::<Value>(()));
        if value.is_err() {
            loaded.borrow_mut().remove(file);
        }
        let value = match value? {
            Value::Nil => Value::Boolean(true),
            value => value,
        };
        loaded.borrow_mut().insert(file.to_owned(), Some(value.clone()));
        Ok(value)
    })?;
    Ok(requires)
}

/// The plugin's file that called the function that runs.
fn caller(lua: &Lua, compiled: &Compiled) -> String {
    for level in 1..8 {
        let source = lua.inspect_stack(level, |debug| debug.source().source.map(|s| s.into_owned()));
        match source {
            Some(Some(source)) => {
                let source = source.trim_start_matches(['=', '@']);
                if compiled.source.files.contains_key(source) {
                    return source.to_owned();
                }
            }
            Some(None) => {}
            None => break,
        }
    }
    compiled.source.main.clone()
}

/// The table of a Lua value, or what it is instead.
pub(crate) fn as_table(value: Value) -> Result<Table, &'static str> {
    match value {
        Value::Table(table) => Ok(table),
        other => Err(kind(&other)),
    }
}

/// What a value is, as Lua names it.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        other => other.type_name(),
    }
}

/// How scripts are compiled.
pub(crate) fn compiler() -> Compiler {
    Compiler::new().set_optimization_level(2).set_debug_level(1).set_type_info_level(1)
}
