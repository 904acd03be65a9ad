//! `cargo xtask conformance`: what comes of the conformance cases on each engine of plugins, as a table in
//! `docs/conformance.md`. The program is one of the crate `tests`.

use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, installed, run, target};
use crate::test::NEXTEST;
use crate::{components, guests, setup};

/// Builds what is needed, runs the cases and writes the table.
pub(crate) fn run_cases() -> Result<()> {
    guests::build()?;
    setup::run()?;
    components::build()?;
    build()?;
    run(Command::new(target().join("debug/conformance")).env("WEIR_BIN", target().join("debug/weir")))
}

/// Builds weir and the program, as the tests do where the test runner is there: what is large is not built twice.
fn build() -> Result<()> {
    if installed(NEXTEST) {
        return run(cargo().args(["nextest", "run", "--locked", "--workspace", "--no-run"]));
    }
    run(cargo().args(["build", "--quiet", "--locked", "--package", "weir"]))?;
    run(cargo().args(["build", "--quiet", "--locked", "--package", "weir-tests", "--bin", "conformance"]))
}
