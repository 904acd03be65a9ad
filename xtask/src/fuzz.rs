//! `cargo xtask fuzz`: every parser fed with random input by cargo-fuzz, each for a while.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::process::{cargo, installed, root, run};

/// Folders beside `fuzz/seeds/TARGET` whose files a target begins with.
const MORE_SEEDS: &[(&str, &[&str])] = &[("config", &["config", "tests/configs/broken"])];

/// Runs these targets (all, where none is named), each for so many seconds, and stops at the first that finds
/// something.
pub(crate) fn fuzz(targets: &[String], seconds: u32) -> Result<()> {
    ensure!(installed("cargo-fuzz"), "cargo-fuzz is not installed: run `cargo install cargo-fuzz --locked`");
    // The dependencies that weir is built with are those that are fuzzed.
    fs::copy(root().join("Cargo.lock"), root().join("fuzz/Cargo.lock")).context("fuzz/Cargo.lock")?;
    let all = all()?;
    for target in targets {
        ensure!(all.contains(target), "there is no target {target}; there are {}", all.join(", "));
    }
    for target in if targets.is_empty() { &all } else { targets } {
        println!("\n==> {target}: {seconds} s");
        fs::create_dir_all(root().join("fuzz/corpus").join(target))?;
        // Without a sanitizer, which needs a nightly compiler: there is next to no unsafe code to watch, and overflows
        // and assertions panic without one. What libFuzzer needs of the compiler works on the stable one too.
        let mut fuzz = cargo();
        fuzz.args(["fuzz", "run", "--sanitizer", "none", target]);
        fuzz.args([format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}")]);
        fuzz.args(MORE_SEEDS.iter().filter(|(name, _)| name == target).flat_map(|(_, folders)| *folders));
        fuzz.args(["--", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096"]);
        fuzz.arg(format!("-max_total_time={seconds}"));
        run(fuzz.env("RUSTC_BOOTSTRAP", "1")).with_context(|| {
            format!("{target} found something: see above, and CONTRIBUTING.md on what to do with it")
        })?;
    }
    Ok(())
}

/// The targets by name.
fn all() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        if let Some(name) = entry?.path().file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
