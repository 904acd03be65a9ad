//! `cargo xtask guests`: the plugins of the repository that are written in Rust, as WebAssembly components in
//! `target/guests`. They are a workspace of their own (`plugins/Cargo.toml`); nothing of what is built is committed. With
//! folders that `weir new wasm` has made, those instead: for systems that have no `wasm32-wasip2`, as Debian.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use wit_component::ComponentEncoder;

use crate::process::{self, cargo, command, installed, target};

const TARGET: &str = "wasm32-unknown-unknown";
const MANIFEST: &str = "plugins/Cargo.toml";

/// Debian's own Rust, whose packages have what the target needs.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-llvm", "rust-web-src"];
/// A link to the linker of the package of its name: `lld-22`.
const DEBIAN_LINKER: &str = "/usr/bin/rust-lld";
/// What must be there when they are.
const DEBIAN_FILES: [&str; 4] =
    [DEBIAN_RUSTC, DEBIAN_CARGO, DEBIAN_LINKER, "/usr/lib/rustlib/src/rust/library"];

/// What builds for the target.
enum Toolchain {
    /// The one that builds weir.
    Own,
    /// Debian's, which builds the standard library first.
    Debian,
}

/// Builds all of them, each by itself: built at once, one would have what another wants of a crate that both use.
pub(crate) fn build() -> Result<()> {
    let folder = target().join("guests");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let toolchain = Toolchain::find()?;
    for package in packages()? {
        for module in
            compile(&toolchain, Path::new(MANIFEST), &target().join("guests-build"), Some(&package))?
        {
            let component = folder.join(module.file_name().context("a module without a name")?);
            make(&module, &component)?;
        }
    }
    Ok(())
}

/// Those of the repository that make a module.
fn packages() -> Result<Vec<String>> {
    let mut metadata = cargo();
    metadata.args([
        "metadata",
        "--no-deps",
        "--locked",
        "--format-version",
        "1",
        "--manifest-path",
        MANIFEST,
    ]);
    let metadata: Value = serde_json::from_slice(&process::output(&mut metadata)?)?;
    let has =
        |list: &Value, name: &str| list.as_array().is_some_and(|list| list.iter().any(|kind| kind == name));
    let makes_one = |package: &&Value| {
        let targets = package["targets"].as_array();
        targets.is_some_and(|targets| targets.iter().any(|target| has(&target["crate_types"], "cdylib")))
    };
    let packages = metadata["packages"].as_array().context("`cargo metadata` tells of no packages")?;
    Ok(packages
        .iter()
        .filter(makes_one)
        .filter_map(|package| package["name"].as_str().map(str::to_owned))
        .collect())
}

/// Builds the plugins in these folders, each as its README says but for the target.
pub(crate) fn build_new(folders: &[PathBuf]) -> Result<()> {
    let toolchain = Toolchain::find()?;
    for folder in folders {
        let folder = folder.canonicalize().with_context(|| format!("{} is not there", folder.display()))?;
        let link = folder.join("plugin.wasm");
        let led = fs::read_link(&link).with_context(|| format!("{} is no link", link.display()))?;
        let component = folder.join(led);
        let modules = compile(&toolchain, &folder.join("Cargo.toml"), &folder.join("target"), None)?;
        let [module] = &modules[..] else {
            bail!("{} makes {} modules, where one is wanted", folder.display(), modules.len());
        };
        if let Some(parent) = component.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        make(module, &component)?;
    }
    Ok(())
}

/// Builds what a manifest describes, or one package of it as the lock file has it. Its modules.
fn compile(
    toolchain: &Toolchain,
    manifest: &Path,
    target: &Path,
    package: Option<&str>,
) -> Result<Vec<PathBuf>> {
    let mut build = toolchain.cargo();
    build.args(["build", "--release", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    build.arg("--manifest-path").arg(manifest).arg("--target-dir").arg(target);
    // They are for what builds weir, and would take the place of what `.cargo/config.toml` says for the target.
    build.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    if let Some(package) = package {
        build.args(["--locked", "--package", package]);
    }
    if let Toolchain::Debian = toolchain {
        build.args(["-Z", "build-std=std,panic_abort"]);
    }
    println!(
        "building {} for {TARGET}",
        package.map_or_else(|| manifest.display().to_string(), str::to_owned)
    );
    let modules = modules(&process::output(&mut build)?);
    if modules.is_empty() {
        bail!("{} has no member of the kind cdylib", manifest.display());
    }
    Ok(modules)
}

/// Writes the component of a module, and tells of it.
fn make(module: &Path, component: &Path) -> Result<()> {
    let size = componentize(module, component)
        .with_context(|| format!("cannot make a component of {}", module.display()))?;
    println!("{size:>9} bytes  {}", component.strip_prefix(process::root()).unwrap_or(component).display());
    Ok(())
}

/// Format, lints and tests of all of them, without WebAssembly; then builds them.
pub(crate) fn check() -> Result<()> {
    let folder = target().join("guests-test");
    let cargo = || {
        let mut cargo = cargo();
        cargo.current_dir(process::root().join("plugins")).env("CARGO_TARGET_DIR", &folder);
        cargo
    };
    process::run(cargo().args(["fmt", "--all", "--check"]))?;
    process::run(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    process::run(cargo().args(["test", "--workspace", "--locked", "--quiet"]))?;
    build()
}

impl Toolchain {
    /// What is there, or can be installed.
    fn find() -> Result<Toolchain> {
        if target_is_installed() {
            return Ok(Toolchain::Own);
        }
        let mut tried = Vec::new();
        if installed("rustup") {
            match process::run(command("rustup").args(["target", "add", TARGET])) {
                Ok(()) if target_is_installed() => return Ok(Toolchain::Own),
                Ok(()) => tried.push("rustup has added the target to another toolchain".to_owned()),
                Err(error) => tried.push(error.to_string()),
            }
        } else {
            tried.push("there is no rustup".to_owned());
        }
        if !debian_is_installed()
            && installed("apt-get")
            && let Err(error) = install_debian()
        {
            tried.push(error.to_string());
        }
        if debian_is_installed() {
            return Ok(Toolchain::Debian);
        }
        bail!(
            "there is no Rust for {TARGET} ({}): run `rustup target add {TARGET}`, or install {} (Debian)",
            tried.join("; "),
            DEBIAN_PACKAGES.join(", ")
        );
    }

    /// The cargo that builds for the target.
    fn cargo(&self) -> Command {
        match self {
            Toolchain::Own => cargo(),
            Toolchain::Debian => {
                let mut cargo = command(DEBIAN_CARGO);
                // What builds for the target is not stable in it. Rustup must not choose another one.
                cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", DEBIAN_RUSTC).env_remove("RUSTUP_TOOLCHAIN");
                cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
                cargo
            }
        }
    }
}

/// Whether the toolchain that builds weir has the target's standard library.
fn target_is_installed() -> bool {
    let Ok(folder) = process::output(rustc().args(["--print", "target-libdir", "--target", TARGET])) else {
        return false;
    };
    let folder = PathBuf::from(String::from_utf8_lossy(&folder).trim());
    fs::read_dir(folder).is_ok_and(|mut files| files.next().is_some())
}

/// Installs Debian's Rust, and the linker that it points to.
fn install_debian() -> Result<()> {
    let install = |packages: &[&str]| {
        let mut install = command("apt-get");
        process::run(install.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y"]).args(packages))
    };
    install(&DEBIAN_PACKAGES)?;
    match fs::read_link(DEBIAN_LINKER).ok().as_ref().and_then(|link| link.file_name()?.to_str()) {
        Some(package) if !Path::new(DEBIAN_LINKER).exists() => install(&[package]),
        _ => Ok(()),
    }
}

fn debian_is_installed() -> bool {
    DEBIAN_FILES.iter().all(|file| Path::new(file).exists())
}

/// The compiler that builds weir.
fn rustc() -> Command {
    command(&std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned()))
}

/// The modules of what cargo says that it has built, in the order of their names.
fn modules(messages: &[u8]) -> Vec<PathBuf> {
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let mut modules: Vec<PathBuf> = messages
        .filter(|message: &Value| message["reason"] == "compiler-artifact")
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .filter(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    modules.sort();
    modules
}

/// Writes the component of a module, whole or not at all. Its size.
fn componentize(module: &Path, component: &Path) -> Result<usize> {
    let mut encoder = ComponentEncoder::default();
    let bytes = encoder.validate(true).module(&fs::read(module)?)?.encode()?;
    let written = component.with_extension("part");
    fs::write(&written, &bytes)?;
    fs::rename(&written, component)?;
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_what_cargo_says() {
        let messages = br#"{"reason":"compiler-artifact","filenames":["/t/deps/libserde.rlib"]}
{"reason":"compiler-artifact","filenames":["/t/release/second.wasm"]}
not JSON
{"reason":"compiler-message","filenames":["/t/release/other.wasm"]}
{"reason":"compiler-artifact","filenames":["/t/release/first.wasm","/t/release/first.d"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(
            modules(messages),
            [Path::new("/t/release/first.wasm"), Path::new("/t/release/second.wasm")]
        );
    }

    #[test]
    fn what_is_no_module_is_refused_and_nothing_is_written() {
        let folder = std::env::temp_dir().join(format!("weir-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (module, component) = (folder.join("module.wasm"), folder.join("component.wasm"));
        fs::write(&module, b"not wasm").expect("written");
        componentize(&module, &component).expect_err("no module");
        assert!(!component.exists());
        fs::remove_dir_all(&folder).expect("removed");
    }
}
