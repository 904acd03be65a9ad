//! From a script to a plugin. The only module that names the engines, but for `testing`.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use weir_core::client::{NoClient, WorkerClient};
use weir_core::relay::WorkerRelays;
use weir_lua::{LoadError, LuaPlugin};

use weir_plugin::services::Services;
use weir_plugin::settings::{self, Settings};
use weir_plugin::{Plugin, Policy};
use weir_services::{Sample, Shown};

pub use weir_lua::Source;

/// What a plugin is asked to be.
#[derive(Clone, Debug, PartialEq)]
pub struct What {
    /// Its name in the configuration.
    pub name: String,
    /// A script, or a folder with `plugin.lua`.
    pub path: PathBuf,
    /// What it is configured with.
    pub settings: Settings,
    /// How it is run.
    pub policy: Policy,
}

/// A plugin that is ready.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What was asked for.
    pub what: What,
    /// The plugin.
    pub plugin: Arc<dyn Plugin>,
    /// Its files.
    pub source: Source,
}

/// Why it cannot be.
#[derive(Debug)]
pub enum Problem {
    /// A file cannot be read.
    Unreadable(String),
    /// Something is wrong with the script.
    Script(Vec<Fault>),
    /// Something is wrong with the settings.
    Settings(Vec<settings::Problem>),
}

/// Something that is wrong with a script.
#[derive(Debug)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// The program as metrics show it, once it serves.
#[derive(Debug)]
struct Program;

static PROGRAM: OnceLock<Arc<dyn Shown>> = OnceLock::new();

impl Shown for Program {
    fn samples(&self) -> Vec<Sample> {
        PROGRAM.get().map(|program| program.samples()).unwrap_or_default()
    }
}

/// Has metrics show how the program stands. Only the first counts: there is one program.
pub fn show(program: Arc<dyn Shown>) {
    let _ = PROGRAM.set(program);
}

/// What all plugins are lent. It outlives configurations: the key-value store has the size in bytes that was asked for
/// first.
pub fn services(kv_memory: u64) -> Services {
    static SERVICES: OnceLock<Services> = OnceLock::new();
    let make = || Services {
        websockets: Arc::new(WorkerRelays),
        ..weir_services::of_program(kv_memory, Arc::new(WorkerClient), Arc::new(Program))
    };
    SERVICES.get_or_init(make).clone()
}

/// What plugins are lent that are tried: what they do with it has no effects, and ends with it.
pub fn services_apart(kv_memory: u64) -> Services {
    weir_services::apart(&services(kv_memory), kv_memory, Arc::new(NoClient))
}

/// Reads the files of a plugin.
///
/// # Errors
/// [`Problem::Unreadable`].
pub fn read(what: &What) -> Result<Source, Problem> {
    Source::read(&what.path).map_err(|error| Problem::Unreadable(error.to_string()))
}

/// Compiles a plugin and runs it once. May take as long as its `on_load` does.
///
/// # Errors
/// See [`Problem`].
pub fn load(what: What, source: Source, services: Services) -> Result<Loaded, Problem> {
    let deadline = what.policy.limits.deadline;
    let (name, copy) = (what.name.clone(), source.clone());
    let (settings, policy) = (what.settings.clone(), what.policy.clone());
    // In a thread of its own: whoever asks may be in an event loop.
    let loading = std::thread::spawn(move || -> Result<LuaPlugin, LoadError> {
        let broken = |error: String| {
            let fault = weir_lua::Fault { file: copy.main.clone(), line: None, message: error };
            LoadError::Script(vec![fault])
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| broken(format!("no event loop to load it in: {error}")))?;
        runtime.block_on(async {
            let late = |_| broken(format!("on_load took longer than its deadline of {deadline:?}"));
            tokio::time::timeout(deadline, LuaPlugin::load(&name, copy.clone(), settings, policy, services))
                .await
                .unwrap_or_else(|elapsed| Err(late(elapsed)))
        })
    });
    match loading.join() {
        Ok(Ok(plugin)) => Ok(Loaded { what, plugin: Arc::new(plugin), source }),
        Ok(Err(LoadError::Settings(problems))) => Err(Problem::Settings(problems)),
        Ok(Err(LoadError::Script(faults))) => {
            let folder = source.folder.clone().unwrap_or_default();
            let fault = |fault: weir_lua::Fault| Fault {
                path: folder.join(&fault.file),
                text: source.files.get(&fault.file).cloned().unwrap_or_default(),
                line: fault.line,
                message: fault.message,
            };
            Err(Problem::Script(faults.into_iter().map(fault).collect()))
        }
        Err(_) => Err(Problem::Unreadable("loading it broke off; this is an error of weir".to_owned())),
    }
}
