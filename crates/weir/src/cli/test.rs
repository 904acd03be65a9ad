//! `weir test`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use super::{colored, print, refuse};
use crate::config::inputs::Inputs;
use crate::run::EXIT_CONFIG;
use crate::testing::report::{self, Colours};
use crate::testing::{Suite, find, junit, run};
use crate::watch::Watcher;

/// What is told with `--help`.
pub(super) const AFTER: &str = "\
Exit codes:
  0  all tests passed
  1  a test failed
  2  something cannot be loaded: a path that is not there, a plugin that does not compile, a file without tests";

/// Which tests are run, and who is told.
#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// A plugin's folder, a folder of plugins, a plugin's file or a file of tests. [default: plugins; where there is no such
    /// folder, this one if it is a plugin's]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Test this plugin, a script or a component, instead of those that lie beside the tests.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Only tests with this text in `PLUGIN: TEST`.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    filter: String,
    /// Write a report in JUnit's XML, too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Run again whenever a file changes.
    #[arg(long)]
    watch: bool,
}

impl Test {
    pub(super) fn run(&self) -> ExitCode {
        if !self.watch {
            return self.once();
        }
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return refuse(&format!("no event loop to watch in: {error}")),
        };
        let mut watcher = Watcher::new();
        let inputs = || vec![Inputs::tests(&self.paths(), self.plugin.as_deref())];
        watcher.follow(inputs());
        loop {
            self.once();
            let changed = runtime.block_on(watcher.changed());
            print(&format!("\n{changed}\n\n"));
            // A folder may be another under the same name by now.
            watcher.follow(inputs());
            watcher.renew();
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        if self.paths.is_empty() { vec![find::default_path()] } else { self.paths.clone() }
    }

    fn once(&self) -> ExitCode {
        let found = match &self.plugin {
            Some(plugin) => find::find_for(plugin, &self.paths()),
            None => find::find(&self.paths()),
        };
        let found = match found {
            Ok(found) => found,
            Err(message) => return refuse(&message),
        };
        let colours = Colours::new(colored(&std::io::stdout()));
        let begun = Instant::now();
        let mut suites = Vec::with_capacity(found.len());
        for plugin in &found {
            let suite = run(plugin, &self.filter);
            print(&report::lines(&suite, colours));
            suites.push(suite);
        }
        print(&report::summary(&suites, begun.elapsed(), colours));
        if let Some(path) = &self.junit
            && let Err(error) = std::fs::write(path, junit::report(&suites))
        {
            return refuse(&format!("{}: {error}", path.display()));
        }
        exit_code(&suites)
    }
}

fn exit_code(suites: &[Suite]) -> ExitCode {
    if suites.iter().any(|suite| !suite.broken.is_empty()) {
        return ExitCode::from(EXIT_CONFIG);
    }
    match suites.iter().flat_map(|suite| &suite.tests).any(|test| test.result.is_err()) {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    }
}
