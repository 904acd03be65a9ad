//! Running the tests of a plugin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;
use weir_lua::testing::{Failure, TestFile, Waiting};
use weir_lua::{Fault, LoadError, LuaPlugin};
use weir_plugin::Plugin;
use weir_plugin::settings::Settings;
use weir_wasm::{Compiled, WasmPlugin};

use super::bench::{Bench, Loader};
use super::find::Found;
use super::lines::Lines;
use crate::assemble::plugins::{self, Source};

/// For how long a test may run, whatever it waits for.
const LONGEST: Duration = Duration::from_secs(30);

/// The tests of a plugin and what came of them.
#[derive(Debug)]
pub struct Suite {
    /// The plugin's name.
    pub plugin: String,
    /// The file or folder of the plugin.
    pub path: PathBuf,
    /// In the order in which they ran.
    pub tests: Vec<Test>,
    /// How many were left out by the filter.
    pub left_out: usize,
    /// What could not be loaded.
    pub broken: Vec<Broken>,
}

/// A test that ran.
#[derive(Debug)]
pub struct Test {
    /// Its name in the file.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// How long it took.
    pub time: Duration,
    /// Why it did not pass.
    pub result: Result<(), Failure>,
}

/// A file that could not be loaded.
#[derive(Debug)]
pub struct Broken {
    /// The file, or the plugin.
    pub path: PathBuf,
    /// What is wrong, with file and line where they are known.
    pub message: String,
}

/// Runs the tests of a plugin whose name, `PLUGIN: TEST`, has `filter` in it.
pub fn run(found: &Found, filter: &str) -> Suite {
    match plugins::read_from(&found.path) {
        Ok(source) => run_on(found, source, filter, None),
        Err(message) => Suite::broken(found, message),
    }
}

/// Runs the tests of a plugin on files that were read already. A test that has not ended at this moment has failed.
pub fn run_until(found: &Found, source: Source, until: Instant) -> Suite {
    run_on(found, source, "", Some(until))
}

fn run_on(found: &Found, source: Source, filter: &str, until: Option<Instant>) -> Suite {
    let plugin = match source {
        Source::Script(source) => Tested::Script(source),
        Source::Component(component) => match plugins::compile(&found.name, &component) {
            Ok(compiled) => Tested::Component(compiled),
            Err(error) => {
                return Suite::broken(found, format!("{}: {}", found.path.display(), joined(&error.0)));
            }
        },
    };
    let mut suite = Suite::new(found);
    let run = Run { found, plugin, filter, until };
    for path in &found.tests {
        if let Err(broken) = run.file(path, &mut suite) {
            suite.broken.extend(broken);
        }
    }
    suite
}

impl Suite {
    fn new(found: &Found) -> Self {
        let (plugin, path) = (found.name.clone(), found.path.clone());
        Suite { plugin, path, tests: Vec::new(), left_out: 0, broken: Vec::new() }
    }

    /// Of a plugin that cannot be tested.
    fn broken(found: &Found, message: String) -> Self {
        Suite { broken: vec![Broken { path: found.path.clone(), message }], ..Suite::new(found) }
    }
}

/// What is tested.
enum Tested {
    Script(weir_lua::Source),
    Component(Compiled),
}

/// What all files of a plugin's tests have in common.
struct Run<'a> {
    found: &'a Found,
    plugin: Tested,
    filter: &'a str,
    /// When all of it is to have ended.
    until: Option<Instant>,
}

impl Run<'_> {
    fn file(&self, path: &Path, suite: &mut Suite) -> Result<(), Vec<Broken>> {
        let Run { found, plugin, .. } = self;
        let broken = |message: String| Broken { path: path.to_owned(), message };
        let folder = path.parent().unwrap_or(Path::new(""));
        let source = match plugin {
            Tested::Script(source) if source.folder.as_deref() == Some(folder) => source.clone(),
            _ => weir_lua::Source::beside(if folder == Path::new("") { Path::new(".") } else { folder })
                .map_err(|error| vec![broken(error.to_string())])?,
        };
        let fault = |fault: Fault| broken(shown(folder, &fault));
        let text = std::fs::read_to_string(path)
            .map_err(|error| vec![broken(format!("{}: {error}", path.display()))])?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let tests = TestFile::new(&found.name, source, &name, text)
            .map_err(|faults| faults.into_iter().map(&fault).collect::<Vec<_>>())?;
        let lines = Lines::default();
        let kept = lines.keep();
        let names = {
            let bench = Bench::new(loader(&found.name, plugin), lines.clone());
            self.block_on(tests.names(&bench.services))
                .map_err(|message| vec![broken(format!("{}: {message}", path.display()))])?
                .map_err(|wrong| vec![fault(wrong)])?
        };
        if names.is_empty() {
            return Err(vec![broken(format!("{}: there is no test in this file", path.display()))]);
        }
        for name in names {
            if !format!("{}: {name}", found.name).contains(self.filter) {
                suite.left_out += 1;
                continue;
            }
            let begun = Instant::now();
            let bench = Bench::new(loader(&found.name, plugin), lines.clone());
            let services = bench.services.clone();
            let result = self.block_on(tests.run(&name, &services, bench)).unwrap_or_else(|message| {
                let fault = Fault { file: String::new(), line: None, message };
                Err(Failure { is_assertion: false, fault })
            });
            let result = result.map_err(|mut failure| {
                let own = Path::new(&failure.fault.file);
                let file = if failure.fault.file.is_empty() { path.to_owned() } else { folder.join(own) };
                failure.fault.file = file.display().to_string();
                failure
            });
            suite.tests.push(Test { name, file: path.to_owned(), time: begun.elapsed(), result });
        }
        drop(kept);
        Ok(())
    }

    /// Runs to the end on this thread, for as long as a test may take.
    fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, String> {
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        let (time, late) = match left {
            Some(left) if left < LONGEST => (left, "there was no time left for it".to_owned()),
            _ => (LONGEST, format!("it took longer than {LONGEST:?}")),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no event loop to run it in: {error}"))?;
        // As on a worker: what a component waits for goes on in a task of its own.
        let done = LocalSet::new().block_on(&runtime, async {
            // What would be ready at once has no time either.
            if time.is_zero() { None } else { tokio::time::timeout(time, future).await.ok() }
        });
        done.ok_or(late)
    }
}

/// Loads a plugin the way that weir does.
fn loader(name: &str, plugin: &Tested) -> Loader {
    type Loaded = Waiting<Result<Arc<dyn Plugin>, String>>;
    let name = name.to_owned();
    match plugin {
        Tested::Script(source) => {
            let source = source.clone();
            Box::new(move |settings: Settings, policy, services| -> Loaded {
                let (name, source) = (name.clone(), source.clone());
                Box::pin(async move {
                    let loaded = LuaPlugin::load(&name, source, settings, policy, services).await;
                    let plugin = loaded.map_err(|error| match error {
                        LoadError::Script(faults) => joined(&faults),
                        LoadError::Settings(problems) => joined(&problems),
                    })?;
                    Ok(Arc::new(plugin) as Arc<dyn Plugin>)
                })
            })
        }
        Tested::Component(compiled) => {
            let compiled = compiled.clone();
            Box::new(move |settings: Settings, policy, services| -> Loaded {
                let (name, compiled) = (name.clone(), compiled.clone());
                Box::pin(async move {
                    let loaded = WasmPlugin::load(&name, compiled, &settings, policy, services).await;
                    Ok(Arc::new(loaded.map_err(|error| joined(&error.0))?) as Arc<dyn Plugin>)
                })
            })
        }
    }
}

fn joined(all: &[impl ToString]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn shown(folder: &Path, fault: &Fault) -> String {
    let file = folder.join(&fault.file).display().to_string();
    Fault { file, ..fault.clone() }.to_string()
}
