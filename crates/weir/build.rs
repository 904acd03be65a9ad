//! Puts the commit into the version, where there is one to be found; and lists the files that `weir new` copies.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

fn main() -> io::Result<()> {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo:rerun-if-env-changed=WEIR_COMMIT");
    // Packagers build without a repository: they can name the commit.
    let commit = std::env::var("WEIR_COMMIT").ok().or_else(commit);
    let version = match commit {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo:rustc-env=WEIR_VERSION={version}");
    list("../weir-guest/src", "guest.rs")?;
    list("../weir-plugin/wit", "wit.rs")
}

/// Writes a list of the files under a folder, each with its path in there and its text, as Rust.
fn list(folder: &str, list: &str) -> io::Result<()> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let folder = variable("CARGO_MANIFEST_DIR")?.join(folder);
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut text = String::from("&[");
    for file in files {
        let name = file.strip_prefix(&folder).unwrap_or(&file);
        let _ = writeln!(text, "({:?}, include_str!({:?})),", name, file);
    }
    text.push(']');
    fs::write(variable("OUT_DIR")?.join(list), text)
}

fn commit() -> Option<String> {
    let manifest = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    let git = |args: &[&str]| {
        let out = Command::new("git").args(args).current_dir(&manifest).output().ok()?;
        let text = String::from_utf8(out.stdout).ok()?.trim().to_owned();
        (out.status.success() && !text.is_empty()).then_some(text)
    };
    // A repository around an unpacked archive is not ours.
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            let path = Path::new(&manifest).join(path);
            if path.exists() {
                println!("cargo:rerun-if-changed={}", path.display());
            }
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}
