//! The command line.

mod ask;
mod check;
mod explain;
mod inspect;
mod new;
mod reload;
mod status;
mod test;
mod upgrade;
mod ws;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use weir_plugin::Plugin;

use crate::config::{self, Source, report::Report};
use crate::run::{self, EXIT_CONFIG};
use crate::upgrade::Predecessor;

/// Everything after `--help`.
const EXIT_CODES: &str = "\
Exit codes:
  0  it went well; after `run`: everything that was under way came to its end
  1  `run` could not start, for example because an address is taken
  2  the command line or the configuration is wrong
  3  `run` stopped as asked, but something under way was cut
  4  `explain`: no route takes the request";

/// A programmable HTTP and WebSocket reverse proxy.
#[derive(Debug, Parser)]
#[command(name = "weir", version = VERSION, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (the default).
    #[command(after_help = EXIT_CODES)]
    Run(Run),
    /// Check a configuration and everything that it names.
    #[command(after_help = EXIT_CODES)]
    Check {
        /// A file, or a folder of *.toml files. Default: the built-in demo.
        path: Option<PathBuf>,
    },
    /// Tell which route and upstream a request would take, and why each other route would not.
    #[command(after_help = EXIT_CODES)]
    Explain(explain::Explain),
    /// Tell what a running weir serves, and what came of the last change of its configuration.
    #[command(after_help = status::AFTER)]
    Status(status::Show),
    /// Have a running weir read its configuration again, or tell what would change.
    #[command(after_help = reload::AFTER)]
    Reload(reload::Reload),
    /// Let an earlier configuration of a running weir serve again.
    #[command(after_help = reload::AFTER)]
    Rollback(reload::Rollback),
    /// Have another binary take over from a running weir, without losing a connection.
    #[command(after_help = upgrade::AFTER)]
    Upgrade(upgrade::Upgrade),
    /// List, close and look at the WebSockets of a running weir.
    #[command(subcommand)]
    Ws(ws::Ws),
    /// Run tests of plugins, without a proxy.
    #[command(after_help = test::AFTER)]
    Test(test::Test),
    /// Tell what a WebAssembly file is, what it imports, and what a configuration has to grant it.
    #[command(after_help = inspect::AFTER)]
    Inspect(inspect::Inspect),
    /// Begin a plugin.
    #[command(subcommand)]
    New(new::New),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Print definitions of the API for plugins, for editors.
    #[command(subcommand)]
    Types(Types),
}

/// Whose definitions.
#[derive(Debug, Subcommand)]
enum Types {
    /// Luau, in the form of luau-lsp: `weir types lua > weir.d.luau`.
    Lua,
}

/// Made by `cargo xtask types`.
const LUA_TYPES: &str = include_str!("weir.d.luau");

/// How to serve.
#[derive(Debug, clap::Args)]
struct Run {
    /// A file, or a folder of *.toml files. Default: the built-in demo.
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,
}

/// The version, and the commit where it is known.
const VERSION: &str = env!("WEIR_VERSION");

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match args.command.unwrap_or(Command::Run(args.run)) {
        Command::Run(Run { config }) => serve(config),
        Command::Check { path } => check::check(path),
        Command::Explain(explain) => explain.run(),
        Command::Status(show) => show.run(),
        Command::Reload(reload) => reload.run(),
        Command::Rollback(rollback) => rollback.run(),
        Command::Upgrade(upgrade) => upgrade.run(),
        Command::Ws(ws) => ws.run(),
        Command::Test(test) => test.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::New(new) => new.run(),
        Command::Types(Types::Lua) => print(LUA_TYPES),
        Command::Schema => print(&format!("{:#}\n", config::schema())),
    }
}

/// `weir run`, perhaps as the next process of one that serves.
fn serve(config: Option<PathBuf>) -> ExitCode {
    let predecessor = match Predecessor::meet() {
        Ok(predecessor) => predecessor,
        Err(error) => return refuse(&format!("cannot take over the sockets of another weir: {error}")),
    };
    match load_or_report(config) {
        Ok(loaded) => run::run(loaded.plan, predecessor),
        Err(report) => {
            if let Some(predecessor) = predecessor {
                predecessor.failed(report.lines());
            }
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

fn source(path: Option<PathBuf>) -> Source {
    path.map_or(Source::Embedded, Source::Path)
}

/// Loads a configuration; its warnings and errors go to standard error.
fn load(path: Option<PathBuf>) -> Result<config::Loaded, ExitCode> {
    load_or_report(path).map_err(|_| ExitCode::from(EXIT_CONFIG))
}

/// The same; the errors come back, too.
fn load_or_report(path: Option<PathBuf>) -> Result<config::Loaded, Box<Report>> {
    // What certificates have to say (one has expired) is a warning in the program log, which is not there yet.
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(colored(&std::io::stderr()))
        .with_target(false)
        .without_time()
        .with_writer(std::io::stderr)
        .finish();
    match tracing::subscriber::with_default(subscriber, || config::load(&source(path))) {
        Ok(loaded) => {
            complain(&loaded.report);
            Ok(loaded)
        }
        Err(report) => {
            complain(&report);
            Err(report)
        }
    }
}

fn complain(report: &Report) {
    use std::io::Write;
    let text = report.render(colored(&std::io::stderr()));
    // Nothing is left to tell it to when standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// The names of plugins.
fn names(plugins: &[Arc<dyn Plugin>]) -> String {
    plugins.iter().map(|plugin| plugin.name()).collect::<Vec<_>>().join(", ")
}

/// Lines under a first one.
fn indented<'a>(lines: impl IntoIterator<Item = &'a String>) -> String {
    lines.into_iter().map(|line| format!("  {}\n", line.replace('\n', "\n  "))).collect()
}

/// Tells what cannot be, and the exit code for that.
fn refuse(message: &str) -> ExitCode {
    use std::io::Write;
    // Nothing is left to tell it to when standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {message}");
    ExitCode::from(EXIT_CONFIG)
}

/// Writes to standard output; a reader that went away is not worth a panic.
fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(1),
    }
}

/// Whether colours are wanted there: only on a terminal, and not where `NO_COLOR` is set (<https://no-color.org>).
pub fn colored(stream: &impl IsTerminal) -> bool {
    stream.is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}
