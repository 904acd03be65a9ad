//! The plugins of the tests that are written in JavaScript, as components in `target/guests`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::process::{command, root, run, target};

const FOLDER: &str = "tests/guests/conformance-js";
const WIT: &str = "crates/weir-plugin/wit";

/// Builds them, where they are older than what they are made of. Their tools are those of `cargo xtask setup`.
pub(crate) fn build() -> Result<()> {
    let folder = root().join(FOLDER);
    let (source, wit) = (folder.join("plugin.js"), root().join(WIT));
    let component = target().join("guests/conformance_js.wasm");
    let mut parts = vec![source.clone(), folder.join("package-lock.json")];
    for entry in fs::read_dir(&wit).with_context(|| wit.display().to_string())? {
        parts.push(entry?.path());
    }
    if let Ok(built) = changed(&component)
        && parts
            .iter()
            .map(|part| changed(part))
            .collect::<Result<Vec<_>>>()?
            .iter()
            .all(|part| *part < built)
    {
        return Ok(());
    }
    fs::create_dir_all(target().join("guests"))?;
    println!("building {}", component.strip_prefix(root()).unwrap_or(&component).display());
    let written = component.with_extension("part");
    let mut build = command(&tool(&folder).to_string_lossy());
    build.arg(&source).arg("--wit").arg(&wit).args(["--world-name", "filter"]);
    // What weir has not got of WASI.
    build.args(["-d", "http", "-d", "fetch-event"]).arg("-o").arg(&written);
    run(&mut build).with_context(|| format!("{FOLDER} (`cargo xtask setup` installs what it needs)"))?;
    fs::rename(&written, &component)?;
    Ok(())
}

fn tool(folder: &Path) -> PathBuf {
    folder.join("node_modules/.bin/componentize-js")
}

fn changed(path: &Path) -> Result<SystemTime> {
    let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(metadata.modified()?)
}
