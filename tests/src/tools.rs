//! Programs that tests need beside cargo. A missing one fails the test and says how to install it; nothing is
//! skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::weir::root;

/// A program on the `PATH`.
pub fn program(name: &str) -> Command {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .any(|folder: PathBuf| folder.join(name).is_file());
    assert!(found, "{name} is not installed: run `cargo xtask setup`");
    let mut command = Command::new(name);
    command.env(
        "PATH",
        std::env::join_paths(std::env::split_paths(&paths).chain(["/usr/sbin".into()])).expect("a path"),
    );
    // Nothing but 127.0.0.1 is ever asked for: no proxy of the environment may come between.
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// The Python of `tests/.cache/venv`, with the libraries of `tests/python/requirements.txt`.
pub fn python() -> Command {
    let python = cache().join("venv/bin/python");
    installed(&python);
    let mut command = Command::new(python);
    command.env("PYTHONUNBUFFERED", "1");
    command
}

/// Autobahn's fuzzing client, which takes a specification, in JSON, of servers and cases.
pub fn wstest() -> Command {
    let folder = cache().join("autobahn");
    let suite = folder.join("suite");
    installed(&suite);
    let mut command = Command::new(folder.join("bin/python"));
    command.arg(root().join("tests/autobahn/wstest.py")).arg(suite);
    command
}

/// Node.js in a folder whose `node_modules` are installed.
pub fn node(folder: &Path) -> Command {
    installed(&folder.join("node_modules"));
    let mut command = program("node");
    command.current_dir(folder);
    command
}

/// A component that `cargo xtask guests` has made, or `cargo xtask conformance` for one in JavaScript or Python.
pub fn guest(name: &str) -> PathBuf {
    let path = target().join("guests").join(name).with_extension("wasm");
    assert!(path.exists(), "{} is not there: run `cargo xtask conformance`", path.display());
    path
}

/// The target folder that the test, or a program of this crate, was built in.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows its own path");
    let is_test = program.parent().is_some_and(|folder| folder.ends_with("deps"));
    let target = program.ancestors().nth(if is_test { 3 } else { 2 });
    target.expect("programs lie in target/PROFILE, tests in target/PROFILE/deps").to_owned()
}

/// Where `cargo xtask setup` puts what is not part of the repository.
pub fn cache() -> PathBuf {
    root().join("tests/.cache")
}

fn installed(path: &Path) {
    assert!(path.exists(), "{} is not there: run `cargo xtask setup`", path.display());
}
