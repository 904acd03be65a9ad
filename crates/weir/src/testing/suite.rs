//! Running the tests of a plugin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_lua::testing::{Failure, TestFile, Waiting};
use weir_lua::{Fault, LoadError, LuaPlugin, Source};
use weir_plugin::Plugin;
use weir_plugin::settings::Settings;

use super::bench::{Bench, Loader};
use super::find::Found;
use super::lines::Lines;

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
    let mut suite = Suite {
        plugin: found.name.clone(),
        path: found.path.clone(),
        tests: Vec::new(),
        left_out: 0,
        broken: Vec::new(),
    };
    let source = match Source::read(&found.path) {
        Ok(source) => source,
        Err(error) => {
            suite.broken.push(Broken { path: found.path.clone(), message: error.to_string() });
            return suite;
        }
    };
    for path in &found.tests {
        if let Err(broken) = run_file(found, path, &source, filter, &mut suite) {
            suite.broken.extend(broken);
        }
    }
    suite
}

fn run_file(
    found: &Found,
    path: &Path,
    source: &Source,
    filter: &str,
    suite: &mut Suite,
) -> Result<(), Vec<Broken>> {
    let broken = |message: String| Broken { path: path.to_owned(), message };
    let folder = source.folder.clone().unwrap_or_default();
    let fault = |fault: Fault| broken(shown(&folder, &fault));
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![broken(format!("{}: {error}", path.display()))])?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let tests = TestFile::new(&found.name, source.clone(), &name, text)
        .map_err(|faults| faults.into_iter().map(&fault).collect::<Vec<_>>())?;
    let lines = Lines::default();
    let kept = lines.keep();
    let names = {
        let bench = Bench::new(loader(&found.name, source), lines.clone());
        block_on(tests.names(&bench.services))
            .map_err(|message| vec![broken(format!("{}: {message}", path.display()))])?
            .map_err(|wrong| vec![fault(wrong)])?
    };
    if names.is_empty() {
        return Err(vec![broken(format!("{}: there is no test in this file", path.display()))]);
    }
    for name in names {
        if !format!("{}: {name}", found.name).contains(filter) {
            suite.left_out += 1;
            continue;
        }
        let begun = Instant::now();
        let bench = Bench::new(loader(&found.name, source), lines.clone());
        let services = bench.services.clone();
        let result = block_on(tests.run(&name, &services, bench)).unwrap_or_else(|message| {
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
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no event loop to run it in: {error}"))?;
    let done = runtime.block_on(async { tokio::time::timeout(LONGEST, future).await });
    done.map_err(|_| format!("it took longer than {LONGEST:?}"))
}

/// Loads a script the way that weir does.
fn loader(name: &str, source: &Source) -> Loader {
    let (name, source) = (name.to_owned(), source.clone());
    Box::new(move |settings: Settings, policy, services| -> Waiting<Result<Arc<dyn Plugin>, String>> {
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

fn joined(all: &[impl ToString]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn shown(folder: &Path, fault: &Fault) -> String {
    let file = folder.join(&fault.file).display().to_string();
    Fault { file, ..fault.clone() }.to_string()
}
