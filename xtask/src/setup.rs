//! What the tests need beside cargo: Debian packages, npm packages, Python libraries. The list is in
//! [`SCRIPT`], beside the tests that need it; what is there already is left alone, so running it again is cheap.

use anyhow::Result;

use crate::process;

const SCRIPT: &str = "tests/setup.sh";

/// Installs whatever is missing, and shows it.
pub(crate) fn run() -> Result<()> {
    process::run(process::command("sh").arg(SCRIPT))
}
