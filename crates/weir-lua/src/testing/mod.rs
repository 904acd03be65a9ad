//! Files with tests of plugins. A test is a function that gets a handle `t`; what that asks for, a [`Bench`] does,
//! which knows nothing of Lua.

mod scenario;
mod websocket;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, Table, Value};
use weir_plugin::scenario::websocket::{Conversation, Conversed};
use weir_plugin::scenario::{Admission, Arrival, LogLine, Outcome, Scenario};
use weir_plugin::services::{HttpCall, Services};
use weir_plugin::settings::Settings;
use weir_plugin::{Error, Grants, Limits, OnFailure, Policy, Secrets};

use crate::call::call_alone;
use crate::fault::Fault;
use crate::plugin::Compiled;
use crate::source::Source;
use crate::state::{State, as_table};
use crate::values;

/// The handle `t`, as a script.
const HANDLE: &str = include_str!("handle.luau");

/// The longest that a test may move the clock at once, in seconds: ten years.
const LONGEST: f64 = 10.0 * 366.0 * 86400.0;

/// Something that is waited for in the thread of the test.
pub type Waiting<T> = Pin<Box<dyn Future<Output = T>>>;

/// What a test answers to a request of the plugin's own.
pub type Script = Rc<dyn Fn(HttpCall) -> Waiting<Result<(StatusCode, HeaderMap, Bytes), Error>>>;

/// What runs plugins for a test.
pub trait Bench {
    /// Loads the plugin that is tested and starts it. Its number, and what it logged meanwhile.
    ///
    /// # Errors
    /// What is wrong with the script or the settings.
    fn load(
        self: Rc<Self>,
        settings: Settings,
        policy: Policy,
        script: Script,
    ) -> Waiting<Result<(usize, Vec<LogLine>), String>>;
    /// Runs an exchange through a plugin that is loaded.
    ///
    /// # Errors
    /// What is wrong with the scenario, or why the plugin does not start again.
    fn exchange(
        self: Rc<Self>,
        plugin: usize,
        scenario: Scenario,
        script: Script,
    ) -> Waiting<Result<Outcome, String>>;
    /// Runs a WebSocket through a plugin that is loaded.
    ///
    /// # Errors
    /// As of [`Bench::exchange`], and of [`Bench::advance`].
    fn websocket(
        self: Rc<Self>,
        plugin: usize,
        conversation: Conversation,
        script: Script,
    ) -> Waiting<Result<Conversed, String>>;
    /// Moves the clock, and runs what plugins have set for the times that it comes to. What each plugin logged
    /// meanwhile, with its number.
    ///
    /// # Errors
    /// Where that is too much.
    fn advance(
        self: Rc<Self>,
        time: Duration,
        script: Script,
    ) -> Waiting<Result<Vec<(usize, LogLine)>, String>>;
    /// Asks a plugin that is loaded about a connection.
    ///
    /// # Errors
    /// Why the plugin does not start again.
    fn connect(
        self: Rc<Self>,
        plugin: usize,
        arrival: Arrival,
        script: Script,
    ) -> Waiting<Result<Admission, String>>;
}

/// A file with tests.
pub struct TestFile {
    plugin: String,
    compiled: Rc<Compiled>,
}

/// Why a test did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whether what came is not what was expected; else it broke off before it could tell.
    pub is_assertion: bool,
    /// Where, and what.
    pub fault: Fault,
}

/// What a test may use. Its own loops count and so does the plugin.
fn policy() -> Policy {
    let millis = Duration::from_millis;
    // Called alone, it has fifty times this: two seconds.
    let limits =
        Limits { cpu: millis(40), stall: millis(500), deadline: millis(30_000), ..Limits::default() };
    Policy { limits, ..Policy::default() }
}

impl TestFile {
    /// Compiles the tests in the file `name`, whose text this is, beside the files of a plugin, which they may
    /// `require`.
    ///
    /// # Errors
    /// All that is wrong with any of them.
    pub fn new(plugin: &str, mut source: Source, name: &str, text: String) -> Result<Self, Vec<Fault>> {
        source.files.insert(name.to_owned(), text);
        name.clone_into(&mut source.main);
        Ok(TestFile { plugin: plugin.to_owned(), compiled: Rc::new(Compiled::new(source)?) })
    }

    /// The names of the tests, in the order of the file.
    ///
    /// # Errors
    /// Where the file does not run, or returns something else.
    pub async fn names(&self, services: &Services) -> Result<Vec<String>, Fault> {
        let (_state, tests) = self.open(services, |_| Ok(())).await?;
        let mut named: Vec<(Option<usize>, String)> =
            tests.into_iter().map(|(name, test)| (test.info().line_defined, name)).collect();
        named.sort();
        Ok(named.into_iter().map(|(_, name)| name).collect())
    }

    /// Runs one test in a fresh state.
    ///
    /// # Errors
    /// Why it did not pass.
    pub async fn run(&self, test: &str, services: &Services, bench: Rc<dyn Bench>) -> Result<(), Failure> {
        let broken = |fault| Failure { is_assertion: false, fault };
        let natives = RefCell::new(None);
        let noted: Rc<RefCell<Option<String>>> = Rc::default();
        let make = |lua: &Lua| {
            *natives.borrow_mut() = Some(native(lua, &bench, &noted)?);
            Ok(())
        };
        let (state, mut tests) = self.open(services, make).await.map_err(broken)?;
        let function =
            tests.remove(test).ok_or_else(|| broken(self.fault("this test is gone".to_owned())))?;
        let run = async {
            let handle = natives.take().map(|natives| handle(&state.lua, natives)).transpose()?;
            call_alone::<()>(&state, &function, handle).await
        };
        run.await.map_err(|error| {
            let fault = Fault::new(&self.compiled.source.main, &error);
            let is_assertion = noted.borrow().as_ref().is_some_and(|text| fault.message.contains(text));
            Failure { is_assertion, fault }
        })
    }

    /// Runs the file in a fresh state, for which `make` makes functions.
    async fn open(
        &self,
        services: &Services,
        make: impl FnOnce(&Lua) -> mlua::Result<()>,
    ) -> Result<(Rc<State>, BTreeMap<String, Function>), Fault> {
        let main = &self.compiled.source.main;
        let fault = |error: &mlua::Error| Fault::new(main, error);
        let state =
            State::with(&self.plugin, &self.compiled, &policy(), services, make).map_err(|e| fault(&e))?;
        let chunk = self.compiled.load(&state.lua, main).map_err(|e| fault(&e))?;
        let value: Value = call_alone(&state, &chunk, ()).await.map_err(|e| fault(&e))?;
        let table = as_table(value).map_err(|kind| {
            self.fault(format!("it returns a {kind}: a file of tests returns a table of functions by name"))
        })?;
        let mut tests = BTreeMap::new();
        for pair in table.pairs::<Value, Value>() {
            match pair.map_err(|e| fault(&e))? {
                (Value::String(name), Value::Function(test)) => {
                    drop(tests.insert(name.to_string_lossy(), test))
                }
                (name, test) => {
                    let name = crate::state::shown(&state.lua, &name).unwrap_or_default();
                    let kind = crate::state::kind(&test);
                    return Err(self.fault(format!("`{name}` is a {kind}: a test is a function by a name")));
                }
            }
        }
        Ok((state, tests))
    }

    fn fault(&self, message: String) -> Fault {
        Fault { file: self.compiled.source.main.clone(), line: None, message }
    }
}

/// The function that answers calls of plugins, once the handle is there.
type Answer = Rc<RefCell<Option<Function>>>;

/// Makes the handle of a test.
fn handle(lua: &Lua, (native, answer): (Table, Answer)) -> mlua::Result<Table> {
    let made: Function = lua.load(HANDLE).set_name("=weir").set_mode(ChunkMode::Text).into_function()?;
    let (handle, answers): (Table, Function) = made.call(native)?;
    *answer.borrow_mut() = Some(answers);
    Ok(handle)
}

/// What the handle calls. What failed assertions say is put into `noted`.
fn native(
    lua: &Lua,
    bench: &Rc<dyn Bench>,
    noted: &Rc<RefCell<Option<String>>>,
) -> mlua::Result<(Table, Answer)> {
    let native = lua.create_table()?;
    let noted = noted.clone();
    native.set(
        "note",
        lua.create_function(move |_, text: String| {
            *noted.borrow_mut() = Some(text);
            Ok(())
        })?,
    )?;
    let answer = Answer::default();
    let script = script(lua, &answer);
    let (owner, lent) = (bench.clone(), script.clone());
    native.set(
        "advance",
        lua.create_async_function(move |lua, seconds: f64| {
            let (bench, script) = (owner.clone(), lent.clone());
            async move {
                if !(0.0..=LONGEST).contains(&seconds) {
                    let message = format!("{seconds} is no time in seconds: 0 to {LONGEST} are");
                    return Ok((None, Some(message)));
                }
                match bench.advance(Duration::from_secs_f64(seconds), script).await {
                    Ok(lines) => {
                        let told = lua.create_table()?;
                        for (plugin, line) in lines {
                            let line = scenario::line(&lua, &line)?;
                            line.raw_set("plugin", plugin)?;
                            told.raw_push(line)?;
                        }
                        Ok((Some(told), None))
                    }
                    Err(message) => Ok((None, Some(message))),
                }
            }
        })?,
    )?;
    let (owner, lent) = (bench.clone(), script.clone());
    native.set(
        "load",
        lua.create_async_function(move |lua, (settings, options): (Value, Value)| {
            let (bench, script) = (owner.clone(), lent.clone());
            async move {
                let (settings, policy) = match asked(&settings, &options) {
                    Ok(asked) => asked,
                    Err(message) => return Ok((None, None, Some(message))),
                };
                match bench.load(settings, policy, script).await {
                    Ok((plugin, log)) => Ok((Some(plugin), Some(scenario::log(&lua, &log)?), None)),
                    Err(message) => Ok((None, None, Some(message))),
                }
            }
        })?,
    )?;
    let (owner, lent) = (bench.clone(), script.clone());
    native.set(
        "connect",
        lua.create_async_function(move |lua, (plugin, told): (usize, Value)| {
            let (bench, script) = (owner.clone(), lent.clone());
            async move {
                let arrival = match scenario::arrival(&told) {
                    Ok(arrival) => arrival,
                    Err(message) => return Ok((None, Some(message))),
                };
                match bench.connect(plugin, arrival, script).await {
                    Ok(admission) => Ok((Some(scenario::admission(&lua, &admission)?), None)),
                    Err(message) => Ok((None, Some(message))),
                }
            }
        })?,
    )?;
    let (owner, lent) = (bench.clone(), script.clone());
    native.set(
        "websocket",
        lua.create_async_function(move |lua, (plugin, told): (usize, Value)| {
            let (bench, script) = (owner.clone(), lent.clone());
            async move {
                let conversation = match websocket::read(&told) {
                    Ok(conversation) => conversation,
                    Err(message) => return Ok((None, Some(message))),
                };
                match bench.websocket(plugin, conversation, script).await {
                    Ok(conversed) => Ok((Some(websocket::conversed(&lua, &conversed)?), None)),
                    Err(message) => Ok((None, Some(message))),
                }
            }
        })?,
    )?;
    let owner = bench.clone();
    native.set(
        "exchange",
        lua.create_async_function(move |lua, (plugin, told): (usize, Value)| {
            let (bench, script) = (owner.clone(), script.clone());
            async move {
                let scenario = match scenario::read(&told) {
                    Ok(scenario) => scenario,
                    Err(message) => return Ok((None, Some(message))),
                };
                match bench.exchange(plugin, scenario, script).await {
                    Ok(outcome) => Ok((Some(scenario::outcome(&lua, &outcome)?), None)),
                    Err(message) => Ok((None, Some(message))),
                }
            }
        })?,
    )?;
    Ok((native, answer))
}

/// Answers calls by a function of Lua.
fn script(lua: &Lua, answer: &Answer) -> Script {
    // What Lua holds must not hold Lua.
    let (lua, answer) = (lua.weak(), answer.clone());
    Rc::new(move |call| {
        let (lua, function) = (lua.try_upgrade(), answer.borrow().clone());
        Box::pin(async move {
            let failed = |error: mlua::Error| Error::Failed(error.to_string());
            let ended = || Error::Failed("the test has ended".to_owned());
            let (lua, function) = (lua.ok_or_else(ended)?, function.ok_or_else(ended)?);
            let call = scenario::call(&lua, &call).map_err(failed)?;
            let (given, message): (Value, Option<String>) =
                function.call_async(call).await.map_err(failed)?;
            if let Some(message) = message {
                return Err(Error::Failed(message));
            }
            let reply = scenario::reply(&given).map_err(Error::Failed)?;
            Ok((reply.status, reply.headers, reply.body))
        })
    })
}

/// Settings and policy of the plugin that a test asks for.
fn asked(settings: &Value, options: &Value) -> Result<(Settings, Policy), String> {
    use weir_plugin::settings::Value as Setting;
    let table = |value: &Value, what: &str| match values::from_lua(value) {
        Ok(Setting::Null) => Ok(Settings::new()),
        Ok(Setting::Table(settings)) => Ok(settings),
        Ok(other) => Err(format!("{what} are {}: a table with names is wanted", other.kind())),
        Err(message) => Err(format!("{what}: {message}")),
    };
    let settings = table(settings, "the settings")?;
    let mut policy = Policy::default();
    for (name, value) in table(options, "the options")? {
        match (name.as_str(), value) {
            ("on_failure", Setting::String(text)) if text == "open" => policy.on_failure = OnFailure::Open,
            ("on_failure", Setting::String(text)) if text == "closed" => {
                policy.on_failure = OnFailure::Closed
            }
            ("grants", Setting::Table(grants)) => policy.grants = granted(grants)?,
            ("secrets", Setting::Table(secrets)) => policy.secrets = known(secrets)?,
            _ => {
                let known = "on_failure = \"open\" or \"closed\", grants = { upstreams, hosts, kv, groups, relays }, \
                             secrets = { name = \"value\" }";
                return Err(format!("`{name}` is no option of a plugin with this value: there are {known}"));
            }
        }
    }
    Ok((settings, policy))
}

fn known(given: Settings) -> Result<Secrets, String> {
    use weir_plugin::settings::Value as Setting;
    let mut secrets = BTreeMap::new();
    for (name, value) in given {
        match value {
            Setting::String(text) if !text.is_empty() => drop(secrets.insert(name, Bytes::from(text))),
            _ => return Err(format!("the secret `{name}` is a string of at least one byte")),
        }
    }
    Ok(Secrets::new(secrets))
}

fn granted(given: Settings) -> Result<Grants, String> {
    use weir_plugin::settings::Value as Setting;
    let mut grants = Grants::default();
    for (name, value) in given {
        let to = match name.as_str() {
            "upstreams" => &mut grants.upstreams,
            "hosts" => &mut grants.hosts,
            "kv" => &mut grants.kv,
            "groups" => &mut grants.groups,
            "relays" => &mut grants.relays,
            _ => {
                return Err(format!(
                    "unknown grant `{name}`: there are upstreams, hosts, kv, groups, relays"
                ));
            }
        };
        let Setting::List(items) = value else {
            return Err(format!("the grant `{name}` is a list of names"));
        };
        for item in items {
            let Setting::String(item) = item else {
                return Err(format!("the grant `{name}` is a list of names"));
            };
            to.insert(item);
        }
    }
    Ok(grants)
}
