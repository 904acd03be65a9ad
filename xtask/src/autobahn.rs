//! `cargo xtask autobahn`: what comes of Autobahn's cases in each way in which weir carries a WebSocket, as a table. The program
//! is one of the crate `tests`, and knows its own options.

use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, run, target};
use crate::setup;

/// Builds what is needed and runs the cases with these arguments.
pub(crate) fn run_cases(arguments: &[String]) -> Result<()> {
    setup::run()?;
    run(cargo().args(["build", "--quiet", "--locked", "--package", "weir"]))?;
    run(cargo().args(["build", "--quiet", "--locked", "--package", "weir-tests", "--bin", "autobahn"]))?;
    let mut cases = Command::new(target().join("debug/autobahn"));
    run(cases.env("WEIR_BIN", target().join("debug/weir")).args(arguments))
}
