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
  2  something cannot be loaded: a path that is not there, a script that does not compile, a file without tests";

/// Which tests are run, and who is told.
#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// A plugin's folder, a folder of plugins, a plugin's file or a file of tests.
    #[arg(value_name = "PATH", default_value = "plugins")]
    paths: Vec<PathBuf>,
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
        watcher.follow(vec![Inputs::tests(&self.paths)]);
        loop {
            self.once();
            let changed = runtime.block_on(watcher.changed());
            print(&format!("\n{changed}\n\n"));
            // A folder may be another under the same name by now.
            watcher.follow(vec![Inputs::tests(&self.paths)]);
            watcher.renew();
        }
    }

    fn once(&self) -> ExitCode {
        let found = match find::find(&self.paths) {
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
