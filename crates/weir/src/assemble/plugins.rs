//! From a script or a component to a plugin. The only module that names the engines, but for `testing`.

use std::collections::BTreeSet;
use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use weir_core::client::{NoClient, WorkerClient};
use weir_core::relay::WorkerRelays;
use weir_lua::{LoadError, LuaPlugin};
use weir_plugin::services::Services;
use weir_plugin::settings::{self, Settings};
use weir_plugin::{Plugin, Policy};
use weir_services::{Sample, Shown};
use weir_wasm::{Compiled, WasmPlugin};

use crate::fetch::{self, Found, Pin, Reference};

/// What a plugin is asked to be.
#[derive(Clone, Debug, PartialEq)]
pub struct What {
    /// Its name in the configuration.
    pub name: String,
    /// A script, a component, or a folder with `plugin.lua` or `plugin.wasm`.
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
    /// Something is wrong with the script or the component.
    Script(Vec<Fault>),
    /// Something is wrong with the settings.
    Settings(Vec<settings::Problem>),
}

/// The files of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A script and the files beside it.
    Script(weir_lua::Source),
    /// A component of WebAssembly.
    Component(Component),
}

/// A component of WebAssembly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    path: PathBuf,
    bytes: Bytes,
}

/// The script of a plugin that is a folder.
pub const SCRIPT: &str = "plugin.lua";
/// The component of one.
pub const COMPONENT: &str = "plugin.wasm";

/// The file of a plugin that is a folder; `None` where it is none. A link counts that leads to what is not there yet.
pub fn main_of(folder: &Path) -> Option<&'static str> {
    [SCRIPT, COMPONENT].into_iter().find(|name| folder.join(name).symlink_metadata().is_ok())
}

/// The most bytes of a component.
const MOST: u64 = 64 << 20;

impl Source {
    /// All files, with what is in them.
    pub fn files(&self) -> Vec<(PathBuf, &[u8])> {
        match self {
            Source::Script(source) => {
                let folder = source.folder.as_deref().unwrap_or(Path::new(""));
                source.files.iter().map(|(name, text)| (folder.join(name), text.as_bytes())).collect()
            }
            Source::Component(Component { path, bytes }) => vec![(path.clone(), bytes)],
        }
    }

    /// The names of files that are not what they were in another one.
    pub fn changed(&self, before: &Source) -> Vec<String> {
        match (self, before) {
            (Source::Script(is), Source::Script(was)) => {
                let other = |(name, text): &(&String, &String)| was.files.get(*name) != Some(*text);
                let mut names: Vec<String> =
                    is.files.iter().filter(other).map(|(name, _)| name.clone()).collect();
                names.extend(was.files.keys().filter(|name| !is.files.contains_key(*name)).cloned());
                names
            }
            _ => {
                let files: BTreeSet<PathBuf> = if self == before {
                    BTreeSet::new()
                } else {
                    self.files().into_iter().map(|(path, _)| path).collect()
                };
                let name = |path: &PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
                files.iter().filter_map(name).collect()
            }
        }
    }
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

/// Has the process have room for the instances of plugins that may have so many on a worker each, on so many workers (0: one
/// for each processor), in two generations: one that serves, and one that has the last exchanges of before. Later
/// generations have the room that the first with a component asked for.
pub fn make_room(most: impl Iterator<Item = u32>, workers: u32) {
    let workers = match workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        workers => workers as usize,
    };
    // One more is for what belongs to no exchange.
    let on_a_worker: usize = most.map(|most| most as usize + 1).sum();
    weir_wasm::make_room(on_a_worker.saturating_mul(workers).saturating_mul(2));
}

/// Reads the files of a plugin.
///
/// # Errors
/// [`Problem::Unreadable`].
pub fn read(what: &What) -> Result<Source, Problem> {
    read_from(&what.path).map_err(Problem::Unreadable)
}

/// Reads the files of the plugin at a path.
///
/// # Errors
/// What cannot be read, and why.
pub fn read_from(path: &Path) -> Result<Source, String> {
    let file = file_of(path)?;
    let found = component(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    match found {
        Some(component) => Ok(Source::Component(component)),
        None if file.ends_with(COMPONENT) => Err(format!("{}: this is no WebAssembly", file.display())),
        None => weir_lua::Source::read(path).map(Source::Script).map_err(|error| error.to_string()),
    }
}

/// The file that begins a plugin: of a folder its component, if it has one.
fn file_of(path: &Path) -> Result<PathBuf, String> {
    if let Some(told) = not_built(path) {
        return Err(told);
    }
    let (script, component) = (path.join(SCRIPT), path.join(COMPONENT));
    if !path.is_dir() || component.symlink_metadata().is_err() {
        return Ok(path.to_owned());
    }
    if script.is_file() {
        let shown = path.display();
        return Err(format!("{shown}: it has {SCRIPT} and {COMPONENT}, and one of them is to be the plugin"));
    }
    not_built(&component).map_or(Ok(component), Err)
}

/// What is told of a link that leads to what is not there, as that of a component before its first build.
pub fn not_built(path: &Path) -> Option<String> {
    let to = path.read_link().ok().filter(|_| !path.exists())?;
    let what = if path.extension().is_some_and(|ending| ending == "wasm") { "component" } else { "plugin" };
    let (shown, to) = (path.display(), to.display());
    Some(format!("{shown}: the {what} is not built yet: this is a link to {to}, which is not there"))
}

/// A file of WebAssembly, as [`inspect`] sees it.
#[derive(Debug)]
pub struct Inspected {
    /// The file that was looked at.
    pub path: PathBuf,
    /// Its bytes.
    pub size: usize,
    /// SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// `component`, `core module` or `script`.
    pub kind: &'static str,
    /// What it is made of.
    pub parts: weir_wasm::Inspected,
}

/// Looks at a file of WebAssembly, or a folder with `plugin.wasm`, without running it.
///
/// # Errors
/// What cannot be read, or is no WebAssembly.
pub fn inspect(path: &Path) -> Result<Inspected, String> {
    let file = file_of(path)?;
    let bytes = std::fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let name = path.with_extension("").file_name().map(|name| name.to_string_lossy().into_owned());
    inspect_bytes(name.as_deref().unwrap_or("plugin"), file, bytes)
}

/// The same of what a URL names now, and the URL as a configuration may have it.
///
/// # Errors
/// What cannot be fetched, or is neither WebAssembly nor a script.
pub fn inspect_url(url: &str) -> Result<(Inspected, Reference), String> {
    let Found { bytes, pinned } = fetch::look(&Reference::parse(url)?)?;
    if !pinned.is_script() {
        return Ok((inspect_bytes("plugin", url.into(), bytes)?, pinned));
    }
    let (size, sha256) = (bytes.len(), Pin::of(&bytes).to_string());
    let parts = weir_wasm::Inspected::default();
    Ok((Inspected { path: url.into(), size, sha256, kind: "script", parts }, pinned))
}

fn inspect_bytes(name: &str, path: PathBuf, bytes: Vec<u8>) -> Result<Inspected, String> {
    let kind = match weir_wasm::Kind::of(&bytes) {
        Some(weir_wasm::Kind::Component) => "component",
        Some(weir_wasm::Kind::Module) => "core module",
        None => return Err(format!("{}: this is no WebAssembly", path.display())),
    };
    let component = Component { path: path.clone(), bytes: bytes.into() };
    let parts = match compile(name, &component) {
        Ok(compiled) => weir_wasm::inspect(name, &compiled),
        Err(error) => weir_wasm::Inspected { refused: error.0, ..weir_wasm::Inspected::default() },
    };
    let sha256 = Pin::of(&component.bytes).to_string();
    Ok(Inspected { path, size: component.bytes.len(), sha256, kind, parts })
}

/// The component that a file is, which is seen by how it begins; a module, too, of which it is then told what is wrong.
fn component(path: &Path) -> io::Result<Option<Component>> {
    // What is not there, or is a folder, is told of as a script.
    let Ok(file) = File::open(path) else { return Ok(None) };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut begin = Vec::new();
    (&file).take(8).read_to_end(&mut begin)?;
    if weir_wasm::Kind::of(&begin).is_none() {
        return Ok(None);
    }
    let mut bytes = begin;
    (&file).take(MOST).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        let text = format!("a component has at most {MOST} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(Some(Component { path: path.to_owned(), bytes: bytes.into() }))
}

/// Compiles a plugin and runs it once. May take as long as its `on_load` does.
///
/// # Errors
/// See [`Problem`].
pub fn load(what: What, source: Source, services: Services) -> Result<Loaded, Problem> {
    // In a thread of its own: whoever asks may be in an event loop.
    let loading = std::thread::spawn(move || {
        weir_services::seed();
        let plugin = match &source {
            Source::Script(source) => load_script(&what, source, services)?,
            Source::Component(component) => load_component(&what, component, services)?,
        };
        Ok(Loaded { what, plugin, source })
    });
    let broken = |_| Err(Problem::Unreadable("loading it broke off; this is an error of weir".to_owned()));
    loading.join().unwrap_or_else(broken)
}

/// Waits for a plugin that loads, for as long as its deadline.
fn bounded<T, E>(
    what: &What,
    loading: impl Future<Output = Result<T, E>>,
    broken: impl Fn(String) -> E,
) -> Result<T, E> {
    let deadline = what.policy.limits.deadline;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken(format!("no event loop to load it in: {error}")))?;
    runtime.block_on(async {
        let late = |_| broken(format!("on_load took longer than its deadline of {deadline:?}"));
        tokio::time::timeout(deadline, loading).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
    })
}

fn load_script(
    what: &What,
    source: &weir_lua::Source,
    services: Services,
) -> Result<Arc<dyn Plugin>, Problem> {
    let broken = |error: String| {
        LoadError::Script(vec![weir_lua::Fault { file: source.main.clone(), line: None, message: error }])
    };
    let (settings, policy) = (what.settings.clone(), what.policy.clone());
    let loading = LuaPlugin::load(&what.name, source.clone(), settings, policy, services);
    match bounded(what, loading, broken) {
        Ok(plugin) => Ok(Arc::new(plugin)),
        Err(LoadError::Settings(problems)) => Err(Problem::Settings(problems)),
        Err(LoadError::Script(faults)) => {
            let folder = source.folder.clone().unwrap_or_default();
            let fault = |fault: weir_lua::Fault| Fault {
                path: folder.join(&fault.file),
                text: source.files.get(&fault.file).cloned().unwrap_or_default(),
                line: fault.line,
                message: fault.message,
            };
            Err(Problem::Script(faults.into_iter().map(fault).collect()))
        }
    }
}

/// Compiles a component for a plugin of this name, or finds it compiled in the cache. May take seconds.
///
/// # Errors
/// What is wrong with it.
pub fn compile(name: &str, component: &Component) -> Result<Compiled, weir_wasm::LoadError> {
    Compiled::new(name, &component.bytes, cache("wasm").as_deref())
}

fn load_component(
    what: &What,
    component: &Component,
    services: Services,
) -> Result<Arc<dyn Plugin>, Problem> {
    let problem = |messages: Vec<String>| {
        let fault =
            |message| Fault { path: component.path.clone(), text: String::new(), line: None, message };
        Problem::Script(messages.into_iter().map(fault).collect())
    };
    // Compiling takes as long as it takes; the deadline is the plugin's own.
    let compiled = compile(&what.name, component).map_err(|error| problem(error.0))?;
    let loading = WasmPlugin::load(&what.name, compiled, &what.settings, what.policy.clone(), services);
    match bounded(what, loading, |message| weir_wasm::LoadError(vec![message])) {
        Ok(plugin) => Ok(Arc::new(plugin)),
        Err(error) => Err(problem(error.0)),
    }
}

/// Where plugins are kept that were fetched; `None` where there is no such place.
pub fn fetched() -> Option<PathBuf> {
    cache("plugins")
}

/// Where something is kept that can be had again: where systemd says (`CacheDirectory=`), else where the user's or the system's
/// caches are. `None` where there is no such place.
fn cache(what: &str) -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    if let Some(folder) = folder("CACHE_DIRECTORY") {
        return Some(folder.join(what));
    }
    if let Some(folder) = folder("XDG_CACHE_HOME") {
        return Some(folder.join("weir").join(what));
    }
    match rustix::process::geteuid().is_root() {
        true => Some(Path::new("/var/cache/weir").join(what)),
        false => folder("HOME").map(|home| home.join(".cache/weir").join(what)),
    }
}
