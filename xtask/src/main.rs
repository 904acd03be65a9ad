//! Automation of the project: `cargo xtask test`, `cargo xtask setup`, `cargo xtask types`, `cargo xtask fuzz`, `cargo xtask bench`,
//! `cargo xtask soak`, `cargo xtask autobahn`, `cargo xtask conformance`, `cargo xtask guests`.

mod autobahn;
mod components;
mod conformance;
mod fuzz;
mod graph;
mod guests;
mod process;
mod setup;
mod soak;
mod test;
mod types;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Automation of the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run everything that CI runs: format, lints, dependency rule, tests, documentation
    Test {
        /// Also the long suites, whole
        #[arg(long)]
        full: bool,
    },
    /// Install what the tests need: Debian packages (as root), npm packages, Python libraries
    Setup,
    /// Check the dependency rule alone
    Graph,
    /// Write the definitions for editors and the reference of the Lua API anew
    Types,
    /// Build the plugins in Rust (plugins, examples and those of tests) as components: target/guests
    Guests {
        /// Instead of these: folders that `weir new wasm` has made, each component where its link plugin.wasm leads
        folders: Vec<std::path::PathBuf>,
    },
    /// Feed the parsers random input (needs cargo-fuzz)
    Fuzz {
        /// Targets; all, where none is named
        targets: Vec<String>,
        /// For how long each is run
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Build weir for release and run bench/bench.py with these arguments
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Put load on weir, or a peer, while its configuration, scripts and certificates change; `--help` tells more
    #[command(disable_help_flag = true)]
    Soak {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run Autobahn's cases direct and through weir, and print a table; `--help` tells more
    #[command(disable_help_flag = true)]
    Autobahn {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run the conformance cases on every engine of plugins, and write docs/conformance.md anew
    Conformance,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Test { full } => test::run_steps(full),
        Task::Setup => setup::run(),
        Task::Graph => graph::check(),
        Task::Types => types::write(),
        Task::Guests { folders } if folders.is_empty() => guests::build(),
        Task::Guests { folders } => guests::build_new(&folders),
        Task::Fuzz { targets, seconds } => fuzz::fuzz(&targets, seconds),
        Task::Bench { arguments } => bench(&arguments),
        Task::Soak { arguments } => soak::soak(&arguments),
        Task::Autobahn { arguments } => autobahn::run_cases(&arguments),
        Task::Conformance => conformance::run_cases(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &[String]) -> anyhow::Result<()> {
    process::run(process::cargo().args(["build", "--release", "--locked", "--package", "weir"]))?;
    process::run(process::command("python3").arg("bench/bench.py").args(arguments))
}
