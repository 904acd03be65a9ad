//! `cargo xtask test`: everything that CI runs, one step after the other, stopping at the first that fails.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::{cargo, installed, run, target};
use crate::{components, graph, guests, setup};

/// Tells the end-to-end tests to run the long suites whole.
const FULL: &str = "WEIR_FULL";

type Step = (&'static str, fn(bool) -> Result<()>);

/// Cheap steps first: most mistakes are found in the first minute.
const STEPS: &[Step] = &[
    ("format", |_| run(cargo().args(["fmt", "--all", "--check"])).context("run `cargo fmt --all`")),
    ("dependency rule", |_| graph::check()),
    ("lints", |_| {
        run(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    }),
    ("documentation", |_| {
        run(cargo().env("RUSTDOCFLAGS", "-D warnings").args([
            "doc",
            "--workspace",
            "--no-deps",
            "--locked",
            "--document-private-items",
        ]))
    }),
    ("plugins in Rust", |_| guests::check()),
    ("unit and integration tests", |_| run(&mut tests(Which::Others))),
    ("tests in documentation", |_| run(cargo().args(["test", "--doc", "--workspace", "--locked"]))),
    ("tools of the end-to-end tests", |_| setup::run()),
    ("plugins in JavaScript and Python", |_| components::build()),
    ("end-to-end tests", |full| {
        if !installed(NEXTEST) {
            run(cargo().args(["build", "--package", "weir", "--locked"]))?;
        }
        let mut tests = tests(Which::EndToEnd);
        tests.env("WEIR_BIN", target().join("debug/weir"));
        if full {
            tests.env(FULL, "1");
        } else {
            tests.env_remove(FULL);
        }
        run(&mut tests)
    }),
];

/// Runs every step.
pub(crate) fn run_steps(full: bool) -> Result<()> {
    let start = Instant::now();
    let mut times = Vec::new();
    for (index, (name, step)) in STEPS.iter().enumerate() {
        println!("\n==> {}/{} {name}", index + 1, STEPS.len());
        let begun = Instant::now();
        step(full).with_context(|| format!("step {}/{}, {name}, failed", index + 1, STEPS.len()))?;
        times.push((name, begun.elapsed()));
        println!("==> {name}: passed in {}", seconds(begun.elapsed()));
    }
    println!("\nall steps passed in {}", seconds(start.elapsed()));
    for (name, time) in times {
        println!("{:>9}  {name}", seconds(time));
    }
    Ok(())
}

/// Which tests of the workspace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    EndToEnd,
    Others,
}

/// The test runner that is taken where it is there.
pub(crate) const NEXTEST: &str = "cargo-nextest";

/// The test runner: nextest where it is installed. It builds the whole workspace whichever tests it runs, and with it the
/// program: what features dependencies have follows from what is built, and some are large to be built twice.
fn tests(which: Which) -> Command {
    let mut command = cargo();
    if installed(NEXTEST) {
        command.args(["nextest", "run", "--locked", "--no-fail-fast", "--no-tests", "pass", "--workspace"]);
        command.arg("--filterset").arg(match which {
            Which::EndToEnd => "package(weir-tests)",
            Which::Others => "not package(weir-tests)",
        });
    } else {
        command.args(["test", "--locked", "--no-fail-fast", "--lib", "--bins", "--tests"]);
        command.args(match which {
            Which::EndToEnd => &["--package", "weir-tests"][..],
            Which::Others => &["--workspace", "--exclude", "weir-tests"],
        });
    }
    command
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
