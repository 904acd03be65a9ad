//! A script that is checked, compiled and configured: what a snapshot holds, and what runs on a worker.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use mlua::chunk::ChunkMode;
use mlua::{AnyUserData, FromLuaMulti, Function, IntoLuaMulti, LightUserData, Lua, Table, Value};
use weir_plugin::message::headers::Side;
use weir_plugin::services::Services;
use weir_plugin::settings::{Problem, Schema, Settings};
use weir_plugin::websocket::Watch;
use weir_plugin::{
    ConnectVerdict, Connection, Exchange, Flow, Held, Hooks, Instance, Piece, Plugin, PluginError, Policy,
    Selection, Slot, Step, Talk, Target, Timers, Verdict, Visit, WebSocket,
};

use crate::call::{For, call, call_alone, call_beside};
use crate::fault::{Fault, message};
use crate::functions::{Functions, Hook};
use crate::handles::{self, Handle, Part};
use crate::host::{self, verdict};
use crate::saved;
use crate::source::Source;
use crate::state::{State, as_table, compiler};
use crate::talk::LuaTalk;
use crate::values;

/// A script that is checked, compiled and configured.
#[derive(Clone)]
pub struct LuaPlugin {
    name: String,
    source: Arc<Source>,
    /// By file.
    code: Arc<BTreeMap<String, Vec<u8>>>,
    settings: Settings,
    policy: Policy,
    services: Services,
    hooks: Hooks,
}

/// Why a script is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// Something is wrong with the script.
    Script(Vec<Fault>),
    /// Something is wrong with the settings.
    Settings(Vec<Problem>),
}

impl LuaPlugin {
    /// Compiles every file of a script, runs it once in a state of its own, checks its settings and runs its
    /// `on_load`. May wait for what that waits for.
    ///
    /// # Errors
    /// Everything that is wrong with it, as far as can be told at once.
    pub async fn load(
        name: &str,
        source: Source,
        settings: Settings,
        policy: Policy,
        services: Services,
    ) -> Result<LuaPlugin, LoadError> {
        let Compiled { source, code } = Compiled::new(source).map_err(LoadError::Script)?;
        let mut plugin = LuaPlugin {
            name: name.to_owned(),
            source,
            code,
            settings,
            policy,
            services,
            hooks: Hooks::default(),
        };
        let script = |error: &mlua::Error| LoadError::Script(vec![Fault::new(&plugin.source.main, error)]);
        let state = plugin.state().map_err(|error| script(&error))?;
        let table = plugin.run(&state).await.map_err(|fault| LoadError::Script(vec![fault]))?;
        let schema = plugin.schema(&table)?;
        if let Some(schema) = schema {
            plugin.settings = schema.apply(&plugin.settings).map_err(LoadError::Settings)?;
        }
        let hooks = Functions::take(&table).map_err(|wrong| {
            let main = &plugin.source.main;
            let text = plugin.source.files.get(main).map_or("", String::as_str);
            let line = line_of(text, [wrong.name.as_str()]);
            LoadError::Script(vec![Fault { file: main.clone(), line, message: wrong.message }])
        })?;
        state.wants_timers.set(hooks.timer.is_some());
        plugin.on_load(&state, &hooks).await.map_err(|error| script(&error))?;
        plugin.hooks = hooks.wanted();
        Ok(plugin)
    }

    fn state(&self) -> mlua::Result<Rc<State>> {
        let compiled = Compiled { source: self.source.clone(), code: self.code.clone() };
        State::new(&self.name, &Rc::new(compiled), &self.policy, &self.services)
    }

    /// Runs the main file, which returns the table of the plugin.
    async fn run(&self, state: &Rc<State>) -> Result<Table, Fault> {
        let main = &self.source.main;
        let compiled = Compiled { source: self.source.clone(), code: self.code.clone() };
        let fault = |error: &mlua::Error| Fault::new(main, error);
        let chunk = compiled.load(&state.lua, main).map_err(|error| fault(&error))?;
        let value: Value = call_alone(state, &chunk, ()).await.map_err(|error| fault(&error))?;
        as_table(value).map_err(|kind| Fault {
            file: main.clone(),
            line: None,
            message: match kind {
                "nil" => "it returns nothing: a plugin returns a table of hooks, `return { on_request = … }`"
                    .to_owned(),
                kind => format!("it returns a {kind}: a plugin returns a table of hooks"),
            },
        })
    }

    fn schema(&self, table: &Table) -> Result<Option<Schema>, LoadError> {
        let fault = |message: String| Fault { file: self.source.main.clone(), line: None, message };
        let value: Value = table.raw_get("config").unwrap_or(Value::Nil);
        if value.is_nil() {
            return Ok(None);
        }
        let value = values::from_lua(&value)
            .map_err(|message| LoadError::Script(vec![fault(format!("`config`: {message}"))]))?;
        // A table without anything in it could be a list as well.
        let schema = Schema::parse(&value).map_err(|problems| {
            let text = self.source.files.get(&self.source.main).map_or("", String::as_str);
            let fault = |problem: &Problem| Fault {
                line: line_of(text, problem.path.iter().map(String::as_str)),
                ..fault(format!("`config`: {problem}"))
            };
            LoadError::Script(problems.iter().map(fault).collect())
        })?;
        Ok(Some(schema))
    }

    async fn on_load(&self, state: &Rc<State>, hooks: &Functions) -> mlua::Result<()> {
        match &hooks.load {
            Some(load) => {
                let settings = values::settings_to_lua(&state.lua, &self.settings)?;
                call_alone::<()>(state, load, settings).await
            }
            None => Ok(()),
        }
    }

    async fn start(&self) -> Result<Rc<dyn Instance>, PluginError> {
        let error = |message: String| PluginError { plugin: self.name.clone(), message };
        let fault = |e: &mlua::Error| error(Fault::new(&self.source.main, e).to_string());
        let state = self.state().map_err(|e| fault(&e))?;
        let table = self.run(&state).await.map_err(|fault| error(fault.to_string()))?;
        let functions = Functions::take(&table).map_err(|wrong| error(wrong.message))?;
        state.wants_timers.set(functions.timer.is_some());
        self.on_load(&state, &functions).await.map_err(|e| fault(&e))?;
        Ok(Rc::new(LuaInstance { state, functions }))
    }
}

impl fmt::Debug for LuaPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LuaPlugin")
            .field("name", &self.name)
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}

impl Plugin for LuaPlugin {
    fn name(&self) -> &str {
        &self.name
    }

    fn hooks(&self) -> Hooks {
        self.hooks
    }

    fn policy(&self) -> &Policy {
        &self.policy
    }

    fn instantiate(&self) -> Step<'_, Result<Rc<dyn Instance>, PluginError>> {
        Step::Wait(Box::pin(self.start()))
    }

    fn lent(&self, services: &Services) -> Option<Arc<dyn Plugin>> {
        Some(Arc::new(LuaPlugin { services: services.clone(), ..self.clone() }))
    }
}

/// A script's code, as a state loads it.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub(crate) source: Arc<Source>,
    code: Arc<BTreeMap<String, Vec<u8>>>,
}

impl Compiled {
    /// Compiles every file.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub(crate) fn new(source: Source) -> Result<Self, Vec<Fault>> {
        let mut code = BTreeMap::new();
        let mut faults = Vec::new();
        for (file, text) in &source.files {
            match compile(file, text) {
                Ok(compiled) => drop(code.insert(file.clone(), compiled)),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() {
            Ok(Compiled { source: Arc::new(source), code: Arc::new(code) })
        } else {
            Err(faults)
        }
    }

    /// The function that is a file.
    pub(crate) fn load(&self, lua: &Lua, file: &str) -> mlua::Result<Function> {
        let code = self.code.get(file).map(Vec::as_slice).unwrap_or_default();
        // Compiled by us a moment ago, never read from anywhere.
        lua.load(code).set_name(format!("={file}")).set_mode(ChunkMode::Binary).into_function()
    }
}

fn compile(file: &str, text: &str) -> Result<Vec<u8>, Fault> {
    compiler().compile(text).map_err(|error| {
        let text = match &error {
            mlua::Error::SyntaxError { message, .. } => message.clone(),
            error => error.to_string(),
        };
        // ":12: Expected …"
        let place = text.trim_start_matches(':').split_once(": ");
        match place.and_then(|(line, message)| Some((line.trim().parse().ok()?, message))) {
            Some((line, message)) => {
                Fault { file: file.to_owned(), line: Some(line), message: message.trim().to_owned() }
            }
            None => Fault { file: file.to_owned(), line: None, message: text },
        }
    })
}

/// The line (from 1) where names stand in a table within a table, as near as can be told from the text alone.
fn line_of<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<usize> {
    let (mut at, mut found) = (0, None);
    for name in names {
        match text.get(at..)?.find(name) {
            Some(offset) => at += offset,
            None => break,
        }
        found = Some(text.get(..at)?.matches('\n').count() + 1);
    }
    found
}

/// A script on a worker.
pub(crate) struct LuaInstance {
    pub(crate) state: Rc<State>,
    pub(crate) functions: Functions,
}

impl Instance for LuaInstance {
    fn visit(self: Rc<Self>) -> Box<dyn Visit> {
        Box::new(LuaVisit { instance: self, slot: Slot::default(), ctx: None, relay: None, watch: None })
    }

    fn on_connect(&self, connection: Rc<Connection>) -> Step<'static, ConnectVerdict> {
        let Some(hook) = &self.functions.connect else { return Step::Done(ConnectVerdict::Accept) };
        let slot = Slot::default();
        let handle = match self.state.lua.create_userdata(handles::Connection(slot.clone())) {
            Ok(handle) => handle,
            Err(error) => return Step::Done(ConnectVerdict::Fail(error.to_string())),
        };
        let loan = slot.lend_connection(connection);
        call_beside(&self.state, For::Exchange(slot), hook, handle, move |returned| {
            // Taken back when the call has ended, or is given up.
            drop(loan);
            host::connect_verdict(returned)
        })
    }

    fn timers(&self) -> Option<Rc<Timers>> {
        Some(self.state.timers.clone())
    }

    fn on_timer(&self, name: String) -> Step<'static, Result<(), String>> {
        match &self.functions.timer {
            Some(hook) => call_beside(&self.state, For::Nothing, hook, name, |returned| returned),
            None => Step::Done(Ok(())),
        }
    }

    fn on_tick(&self) -> Step<'static, Result<(), String>> {
        match &self.functions.tick {
            Some(hook) => call_beside(&self.state, For::Nothing, hook, (), |returned| returned),
            None => Step::Done(Ok(())),
        }
    }

    fn is_spent(&self) -> bool {
        self.state.is_spent()
    }
}

/// A script on one exchange. What Lua holds for it is made on first use.
struct LuaVisit {
    instance: Rc<LuaInstance>,
    slot: Slot,
    ctx: Option<Table>,
    /// The handle to its relay.
    relay: Option<AnyUserData>,
    /// What hooks want to see of it, where they have said so.
    watch: Option<Rc<Cell<Option<Watch>>>>,
}

impl LuaVisit {
    fn handle(&self, part: Part) -> LightUserData {
        LightUserData(Handle { part, slot: self.slot.id() }.to_bits() as *mut _)
    }

    fn ctx(&mut self, wanted: bool) -> mlua::Result<Option<Table>> {
        if wanted && self.ctx.is_none() {
            self.ctx = Some(self.instance.state.lua.create_table()?);
        }
        Ok(if wanted { self.ctx.clone() } else { None })
    }

    fn relay(&mut self, ws: &Rc<WebSocket>) -> mlua::Result<AnyUserData> {
        let state = &self.instance.state;
        let made = match self.relay.take() {
            Some(made) => made,
            None => {
                let watch = self.watch.get_or_insert_default().clone();
                state.lua.create_userdata(handles::Relay::own(ws.clone(), state.access.clone(), watch))?
            }
        };
        Ok(self.relay.insert(made).clone())
    }
}

impl LuaVisit {
    /// Runs a hook, if the plugin has it.
    fn run<'a, A: IntoLuaMulti, R: FromLuaMulti + 'a, T: 'a>(
        &'a mut self,
        exchange: &'a mut Held,
        hook: impl FnOnce(&Functions) -> &Option<Hook>,
        arguments: impl FnOnce(&mut Self, bool) -> mlua::Result<A>,
        absent: T,
        convert: impl FnOnce(Result<R, String>) -> T + 'a,
    ) -> Step<'a, T> {
        let instance = self.instance.clone();
        let Some(hook) = hook(&instance.functions) else { return Step::Done(absent) };
        match arguments(self, hook.ctx) {
            Ok(arguments) => {
                call(&self.instance.state, &self.slot, exchange, &hook.function, arguments, convert)
            }
            Err(error) => Step::Done(convert(Err(message(&error)))),
        }
    }

    /// What hooks after the response's head get.
    fn both(&mut self, ctx: bool) -> mlua::Result<(LightUserData, LightUserData, Option<Table>)> {
        Ok((self.handle(Part::Response), self.handle(Part::Request), self.ctx(ctx)?))
    }
}

impl Visit for LuaVisit {
    fn on_request<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Verdict> {
        let arguments = |this: &mut Self, ctx| Ok((this.handle(Part::Request), this.ctx(ctx)?));
        let convert = |returned| verdict("on_request", returned);
        self.run(exchange, |functions| &functions.request, arguments, Verdict::Proceed, convert)
    }

    fn select_upstream<'a>(
        &'a mut self,
        exchange: &'a mut Held,
        selection: &'a Selection,
    ) -> Step<'a, Result<Target, String>> {
        let arguments = |this: &mut Self, ctx| {
            let told = host::selection(&this.instance.state.lua, selection)?;
            Ok((told, this.handle(Part::Request), this.ctx(ctx)?))
        };
        let default = Ok(Target::Default);
        self.run(exchange, |functions| &functions.select_upstream, arguments, default, host::target)
    }

    fn on_response<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Verdict> {
        let convert = |returned| verdict("on_response", returned);
        self.run(exchange, |functions| &functions.response, Self::both, Verdict::Proceed, convert)
    }

    fn flow(&mut self, side: Side, exchange: &Exchange) -> Option<Box<dyn Flow>> {
        if self.slot.passes(side) {
            return None;
        }
        let hook = hook_of(&self.instance.functions, side).as_ref()?;
        let ctx = hook.ctx;
        let ctx = self.ctx(ctx).ok()?;
        let (instance, request_id) = (self.instance.clone(), exchange.request_id.clone());
        Some(Box::new(LuaFlow { instance, side, ctx, request_id }))
    }

    fn on_websocket<'a>(
        &'a mut self,
        exchange: &'a mut Held,
        ws: &'a Rc<WebSocket>,
        has: Watch,
    ) -> Step<'a, Result<Watch, String>> {
        let arguments =
            |this: &mut Self, ctx| Ok((this.relay(ws)?, this.handle(Part::Request), this.ctx(ctx)?));
        let convert = move |returned| host::watch("on_websocket", returned, has);
        self.run(exchange, |functions| &functions.websocket, arguments, Ok(has), convert)
    }

    fn talk(&mut self, ws: &Rc<WebSocket>) -> Option<Rc<dyn Talk>> {
        let functions = &self.instance.functions;
        let hooks = [&functions.frame, &functions.message, &functions.close];
        let wants_ctx = hooks.into_iter().flatten().any(|hook| hook.ctx);
        if !functions.wanted().is_for_relays() && functions.migrate.is_none() {
            return None;
        }
        if wants_ctx {
            // Where there is no memory for it, each hook says so.
            let _ = self.ctx(true);
        }
        let (instance, relay, ctx) = (self.instance.clone(), self.relay.clone(), self.ctx.clone());
        let watch = self.watch.clone().unwrap_or_default();
        Some(Rc::new(LuaTalk::new(instance, ws.clone(), relay, ctx, watch)))
    }

    fn on_migrate<'a>(
        &'a mut self,
        exchange: &'a mut Held,
        ws: &'a Rc<WebSocket>,
        saved: Bytes,
        has: Watch,
    ) -> Step<'a, Result<Watch, String>> {
        let arguments = |this: &mut Self, ctx| {
            let old = saved::decode(&this.instance.state.lua, &saved).map_err(mlua::Error::RuntimeError)?;
            Ok((old, this.relay(ws)?, this.ctx(ctx)?))
        };
        let absent = Err("the plugin has no hook on_migrate(old, ws, ctx)".to_owned());
        let convert = move |returned| host::watch("on_migrate", returned, has);
        self.run(exchange, |functions| &functions.migrate, arguments, absent, convert)
    }

    fn on_log<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Result<(), String>> {
        self.run(exchange, |functions| &functions.log, Self::both, Ok(()), |returned| returned)
    }
}

fn hook_of(functions: &Functions, side: Side) -> &Option<Hook> {
    match side {
        Side::Request => &functions.request_body,
        Side::Response => &functions.response_body,
    }
}

/// A script on a body.
struct LuaFlow {
    instance: Rc<LuaInstance>,
    side: Side,
    ctx: Option<Table>,
    request_id: HeaderValue,
}

impl Flow for LuaFlow {
    fn piece(&mut self, piece: Bytes, last: bool) -> Step<'static, Piece> {
        let state = &self.instance.state;
        let Some(hook) = hook_of(&self.instance.functions, self.side) else { return Step::Done(Piece::Pass) };
        let text = match state.lua.create_string(&piece) {
            Ok(text) => text,
            Err(error) => return Step::Done(Piece::Fail(error.to_string())),
        };
        let name = match self.side {
            Side::Request => "on_request_body",
            Side::Response => "on_response_body",
        };
        let what = For::Body(self.request_id.clone());
        let arguments = (text, last, self.ctx.clone());
        call_beside(state, what, &hook.function, arguments, move |returned| host::piece(name, returned))
    }
}
