//! The `weir` binary and a running proxy.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::PATIENCE;
use crate::process::{self, Output, Process};
use crate::tools;

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate is one folder below the root")
}

/// The `weir` binary: that of `WEIR_BIN`, or else built once a test process, in the profile of the tests and the
/// target folder they were built in (cargo holds no lock on it while tests run).
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("WEIR_BIN") {
            return path.into();
        }
        let test = std::env::current_exe().expect("a test knows its own path");
        let profile = test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
        let target = profile.parent().expect("a profile lies in the target folder");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "weir", "--target-dir"]).arg(target);
        if profile.file_name().is_some_and(|name| name == "release") {
            build.arg("--release");
        }
        let status = build.current_dir(root()).status().expect("cargo runs");
        assert!(status.success(), "weir does not build");
        profile.join("weir")
    })
}

/// A command line of the `weir` binary, without colours.
pub fn command(arguments: &[&str]) -> Command {
    command_at(binary(), arguments)
}

/// The same with a copy of it.
pub fn command_at(binary: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command.args(arguments).env("NO_COLOR", "1").env_remove("RUST_LOG");
    // Admin sockets of what tests start are where no other weir looks.
    static RUNTIME: OnceLock<TempDir> = OnceLock::new();
    command.env("XDG_RUNTIME_DIR", RUNTIME.get_or_init(folder).path());
    // What is compiled for one test is there for the next.
    command.env("XDG_CACHE_HOME", tools::target().join("compiled"));
    command
}

/// Runs a `weir` command that ends by itself (`check`, `explain`, `schema`).
pub fn run(arguments: &[&str]) -> Output {
    process::run("weir", &mut command(arguments), b"")
}

/// A running proxy on addresses that the kernel chose.
pub struct Weir {
    process: Process,
    addresses: HashMap<String, SocketAddr>,
    directory: TempDir,
    /// What it was started with.
    config: PathBuf,
    seen: usize,
}

impl Weir {
    /// Starts weir with this configuration and waits until it says that it serves. `%DIR%` in it is replaced by
    /// the folder of the configuration file.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn start(config: &str) -> Self {
        Self::start_in(folder(), config)
    }

    /// The same in a folder that already holds files (certificates, for example).
    pub fn start_in(directory: TempDir, config: &str) -> Self {
        let path = write_config(&directory, config);
        let mut command = command(&["run", "--config"]);
        command.arg(&path);
        Self::start_command(directory, &mut command)
    }

    /// The same with a command line of the test's own.
    pub fn start_command(directory: TempDir, command: &mut Command) -> Self {
        let process = Process::start("weir", command);
        // `listening NAME http://127.0.0.1:PORT` a listener, then `ready`.
        let mut addresses = HashMap::new();
        process.line("`ready`", |line| {
            let mut words = line.split_whitespace();
            match words.next()? {
                "listening" => {
                    let (name, url) = (words.next()?, words.next()?);
                    let address = url.rsplit_once("//").map_or(url, |(_, rest)| rest);
                    if let Ok(address) = address.trim_end_matches('/').parse() {
                        addresses.insert(name.to_owned(), address);
                    }
                    None
                }
                "ready" => Some(()),
                _ => None,
            }
        });
        let config = directory.path().join("weir.toml");
        Weir { process, addresses, directory, config, seen: 0 }
    }

    /// The same with the configuration at this path, which is in the folder.
    pub fn start_at(directory: TempDir, config: &str) -> Self {
        let path = directory.path().join(config);
        let mut command = command(&["run", "--config"]);
        command.arg(&path);
        Weir { config: path, ..Self::start_command(directory, &mut command) }
    }

    /// Where a listener is bound.
    pub fn address(&self, listener: &str) -> SocketAddr {
        *self
            .addresses
            .get(listener)
            .unwrap_or_else(|| panic!("weir does not say where `{listener}` listens: {:?}", self.addresses))
    }

    /// `http://127.0.0.1:PORT` of a listener.
    pub fn http(&self, listener: &str) -> String {
        format!("http://{}", self.address(listener))
    }

    /// The folder of the configuration file.
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The next record of the access log (JSON lines on stdout) that was not returned yet and for which `wanted`
    /// is true.
    pub fn record(&mut self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        self.process.line_from(&mut self.seen, what, |line| {
            let value: Value = serde_json::from_str(line).ok()?;
            (value.get("status").is_some() && wanted(&value)).then_some(value)
        })
    }

    /// Writes another configuration, sends SIGHUP, and waits until it serves.
    ///
    /// # Panics
    /// When it is refused.
    pub fn reload(&mut self, config: &str) {
        let mut from = self.process.lines().len();
        // That the file has changed may be seen before the signal: then the signal changes nothing.
        write_config(&self.directory, config);
        self.process.signal(Signal::HUP);
        let serves = self.process.line_from(&mut from, "that the configuration was taken", |line| {
            let refused = line.contains("the configuration was not changed").then_some(false);
            refused.or_else(|| line.contains("a new configuration serves").then_some(true))
        });
        assert!(serves, "the configuration was refused");
    }

    /// What `weir status` tells of it.
    pub fn status(&self) -> Output {
        self.ask(&["status"])
    }

    /// Runs a command that asks a running weir: `status`, `reload`, `rollback`.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let mut all = arguments.to_vec();
        all.extend(["--config", self.config.to_str().expect("temporary folders have plain names")]);
        run(&all)
    }

    /// The same for JSON: what it answers.
    ///
    /// # Panics
    /// When it answers none.
    pub fn ask_json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.ask(&all);
        serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Asks for the status until it is as wanted.
    ///
    /// # Panics
    /// When it never is.
    pub fn wait_for_status(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.ask_json(&["status"]);
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{what} never came: {status:#}");
        }
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate()
    }
}

/// A folder of a test's own.
pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("weir-test-").tempdir().expect("a temporary folder can be made")
}

/// Writes a configuration file into a folder; `%DIR%` becomes the folder.
pub fn write_config(directory: &TempDir, config: &str) -> PathBuf {
    let path = directory.path().join("weir.toml");
    let here = directory.path().to_str().expect("temporary folders have plain names");
    std::fs::write(&path, config.replace("%DIR%", here)).expect("a temporary file can be written");
    path
}
