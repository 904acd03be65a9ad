//! What a change has to show before it serves, beside that it can be loaded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Shadowing;
use crate::assemble::plugins::{Loaded, Source};
use crate::testing::{self, Suite, find};

/// The most failed tests that are told of.
const TOLD: usize = 100;

/// What is asked of a change before it serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// That the tests of plugins pass, all of them within this time.
    pub tests: Option<Duration>,
    /// That hooks keep to this on live requests.
    pub shadow: Option<Shadowing>,
}

/// A plugin whose tests are to run.
struct Tested {
    name: String,
    path: PathBuf,
    source: Source,
}

/// Runs the tests of plugins that are not what they were `before`, off this thread. What is told of them; nothing where
/// there are none.
///
/// Cancel safety: dropped before its end, the tests go on to theirs, and nobody is told.
///
/// # Errors
/// What failed, with file and line.
pub(super) async fn tests(
    plugins: &[Loaded],
    before: &[Loaded],
    time: Duration,
) -> Result<Option<String>, Vec<String>> {
    let tested = new(plugins, before);
    if tested.is_empty() {
        return Ok(None);
    }
    let until = Instant::now() + time;
    let run = tokio::task::spawn_blocking(move || {
        let suites = tested.into_iter().map(|tested| run(tested, until)).collect::<Vec<_>>();
        // What the tests logged went elsewhere: the log is again the only one that is asked what it wants.
        tracing::callsite::rebuild_interest_cache();
        suites
    });
    let suites = run.await.map_err(|error| vec![format!("running the tests broke off: {error}")])?;
    let problems: Vec<String> = suites.iter().flat_map(|(name, suite)| problems(name, suite)).collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    let passed: usize = suites.iter().map(|(_, suite)| suite.tests.len()).sum();
    let names: Vec<&str> =
        suites.iter().filter(|(_, suite)| !suite.tests.is_empty()).map(|(name, _)| name.as_str()).collect();
    let count = if passed == 1 { "1 test".to_owned() } else { format!("{passed} tests") };
    Ok((passed > 0).then(|| format!("{count} of {} passed", names.join(", "))))
}

/// Plugins that are new or another than before, a file or folder once: whatever its settings are, its tests have their own.
fn new(plugins: &[Loaded], before: &[Loaded]) -> Vec<Tested> {
    let mut tested: Vec<Tested> = Vec::new();
    for Loaded { what, plugin, source } in plugins {
        let is_old = before.iter().any(|old| Arc::ptr_eq(&old.plugin, plugin));
        if !is_old && !tested.iter().any(|other| other.path == what.path) {
            tested.push(Tested { name: what.name.clone(), path: what.path.clone(), source: source.clone() });
        }
    }
    tested
}

fn run(Tested { name, path, source }: Tested, until: Instant) -> (String, Suite) {
    let suite = match find::plugin(&path) {
        Ok(found) => testing::run_until(&found, source, until),
        Err(message) => Suite {
            plugin: name.clone(),
            path: path.clone(),
            tests: Vec::new(),
            left_out: 0,
            broken: vec![testing::Broken { path, message }],
        },
    };
    (name, suite)
}

/// What of a plugin's tests failed.
fn problems(plugin: &str, suite: &Suite) -> Vec<String> {
    let failed = suite.tests.iter().filter_map(|test| {
        let failure = test.result.as_ref().err()?;
        let word = if failure.is_assertion { "failed" } else { "broke off" };
        let mut fault = failure.fault.clone();
        fault.message = format!("plugin `{plugin}`: its test \"{}\" {word}: {}", test.name, fault.message);
        Some(fault.to_string())
    });
    let broken = suite
        .broken
        .iter()
        .map(|broken| format!("plugin `{plugin}`: its tests cannot be loaded: {}", broken.message));
    let mut problems: Vec<String> = failed.chain(broken).collect();
    if let Some(more) = problems.len().checked_sub(TOLD).filter(|more| *more > 0) {
        problems.truncate(TOLD);
        problems.push(format!("plugin `{plugin}`: {more} more of its tests failed"));
    }
    problems
}
