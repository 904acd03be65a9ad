//! `cargo xtask conformance`: what comes of the conformance cases on each engine of plugins, as a table in
//! `docs/conformance.md`. The program is one of the crate `tests`.

use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, run, target};
use crate::{components, guests, setup};

/// Builds what is needed, runs the cases and writes the table.
pub(crate) fn run_cases() -> Result<()> {
    guests::build()?;
    setup::run()?;
    components::build()?;
    run(cargo().args(["build", "--quiet", "--locked", "--package", "weir"]))?;
    run(cargo().args(["build", "--quiet", "--locked", "--package", "weir-tests", "--bin", "conformance"]))?;
    run(Command::new(target().join("debug/conformance")).env("WEIR_BIN", target().join("debug/weir")))
}
