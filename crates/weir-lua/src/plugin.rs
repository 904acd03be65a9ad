//! A script that is checked, compiled and configured: what a snapshot holds, and what runs on a worker.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use mlua::chunk::ChunkMode;
use mlua::{AnyUserData, FromLuaMulti, Function, IntoLuaMulti, Lua, Table, Value};
use weir_plugin::services::Services;
use weir_plugin::settings::{Problem, Schema, Settings};
use weir_plugin::{
    Held, Hooks, Instance, Plugin, PluginError, Policy, Selection, Slot, Step, Target, Verdict, Visit,
};

use crate::call::{call, call_alone};
use crate::fault::Fault;
use crate::handles::{Request, Response};
use crate::host::{self, verdict};
use crate::source::Source;
use crate::state::{State, as_table, compiler, kind};
use crate::values;

/// Names that the table of a plugin may have.
pub(crate) const KNOWN: [&str; 6] =
    ["config", "on_load", "on_request", "select_upstream", "on_response", "on_log"];

/// A script that is checked, compiled and configured.
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
        let mut code = BTreeMap::new();
        let mut faults = Vec::new();
        for (file, text) in &source.files {
            match compile(file, text) {
                Ok(compiled) => drop(code.insert(file.clone(), compiled)),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(LoadError::Script(faults));
        }
        let mut plugin = LuaPlugin {
            name: name.to_owned(),
            source: Arc::new(source),
            code: Arc::new(code),
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
}

/// A script's code, as a state loads it.
pub(crate) struct Compiled {
    pub(crate) source: Arc<Source>,
    code: Arc<BTreeMap<String, Vec<u8>>>,
}

impl Compiled {
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

/// The functions of a plugin's table.
struct Functions {
    load: Option<Function>,
    request: Option<Hook>,
    select_upstream: Option<Hook>,
    response: Option<Hook>,
    log: Option<Hook>,
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

/// Something that is wrong with a plugin's table.
struct Wrong {
    /// The name of what is wrong.
    name: String,
    message: String,
}

/// A hook, and whether it takes the plugin's state of the exchange.
struct Hook {
    function: Function,
    ctx: bool,
}

impl Functions {
    fn take(table: &Table) -> Result<Self, Wrong> {
        for pair in table.pairs::<Value, Value>() {
            let name = match pair {
                Ok((Value::String(name), _)) => name.to_string_lossy(),
                Ok((other, _)) => {
                    let message = format!("a plugin's table has names, not a {}", kind(&other));
                    return Err(Wrong { name: "return".to_owned(), message });
                }
                Err(error) => return Err(Wrong { name: "return".to_owned(), message: error.to_string() }),
            };
            if !KNOWN.contains(&name.as_str()) {
                let message =
                    format!("unknown name `{name}` in the plugin's table: there are {}", KNOWN.join(", "));
                return Err(Wrong { name, message });
            }
        }
        let function = |name: &str| match table.raw_get(name).unwrap_or(Value::Nil) {
            Value::Nil => Ok(None),
            Value::Function(function) => Ok(Some(function)),
            other => {
                let message = format!("`{name}` is a {}: a function is wanted", kind(&other));
                Err(Wrong { name: name.to_owned(), message })
            }
        };
        let hook = |name: &str, before_ctx: u8| {
            let made = |function: Function| {
                let info = function.info();
                Hook { ctx: info.is_vararg || info.num_params > before_ctx, function }
            };
            function(name).map(|function| function.map(made))
        };
        Ok(Functions {
            load: function("on_load")?,
            request: hook("on_request", 1)?,
            select_upstream: hook("select_upstream", 2)?,
            response: hook("on_response", 2)?,
            log: hook("on_log", 2)?,
        })
    }

    fn wanted(&self) -> Hooks {
        Hooks {
            request: self.request.is_some(),
            select_upstream: self.select_upstream.is_some(),
            response: self.response.is_some(),
            log: self.log.is_some(),
        }
    }
}

/// A script on a worker.
struct LuaInstance {
    state: Rc<State>,
    functions: Functions,
}

impl Instance for LuaInstance {
    fn visit(self: Rc<Self>) -> Box<dyn Visit> {
        Box::new(LuaVisit { instance: self, slot: Slot::default(), request: None, response: None, ctx: None })
    }

    fn is_spent(&self) -> bool {
        self.state.is_spent()
    }
}

/// A script on one exchange. What Lua holds for it is made on first use.
struct LuaVisit {
    instance: Rc<LuaInstance>,
    slot: Slot,
    request: Option<AnyUserData>,
    response: Option<AnyUserData>,
    ctx: Option<Table>,
}

impl LuaVisit {
    fn request(&mut self) -> mlua::Result<AnyUserData> {
        if let Some(request) = &self.request {
            return Ok(request.clone());
        }
        let request = self.instance.state.lua.create_userdata(Request::new(self.slot.clone()))?;
        Ok(self.request.insert(request).clone())
    }

    fn response(&mut self) -> mlua::Result<AnyUserData> {
        if let Some(response) = &self.response {
            return Ok(response.clone());
        }
        let response = self.instance.state.lua.create_userdata(Response::new(self.slot.clone()))?;
        Ok(self.response.insert(response).clone())
    }

    fn ctx(&mut self, wanted: bool) -> mlua::Result<Option<Table>> {
        if wanted && self.ctx.is_none() {
            self.ctx = Some(self.instance.state.lua.create_table()?);
        }
        Ok(if wanted { self.ctx.clone() } else { None })
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
            Err(error) => Step::Done(convert(Err(error.to_string()))),
        }
    }

    /// What hooks after the response's head get.
    fn both(&mut self, ctx: bool) -> mlua::Result<(AnyUserData, AnyUserData, Option<Table>)> {
        Ok((self.response()?, self.request()?, self.ctx(ctx)?))
    }
}

impl Visit for LuaVisit {
    fn on_request<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Verdict> {
        let arguments = |this: &mut Self, ctx| Ok((this.request()?, this.ctx(ctx)?));
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
            Ok((told, this.request()?, this.ctx(ctx)?))
        };
        let default = Ok(Target::Default);
        self.run(exchange, |functions| &functions.select_upstream, arguments, default, host::target)
    }

    fn on_response<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Verdict> {
        let convert = |returned| verdict("on_response", returned);
        self.run(exchange, |functions| &functions.response, Self::both, Verdict::Proceed, convert)
    }

    fn on_log<'a>(&'a mut self, exchange: &'a mut Held) -> Step<'a, Result<(), String>> {
        self.run(exchange, |functions| &functions.log, Self::both, Ok(()), |returned| returned)
    }
}
