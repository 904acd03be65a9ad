//! The plugins of the conformance cases that are not written in Rust, as components in `target/guests`.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::process::{command, root, run, target};

const WIT: &str = "crates/weir-plugin/wit";
const WORLD: &str = "filter";

/// A plugin, and what makes a component of it: a tool of `cargo xtask setup`. Paths are those in the repository.
struct Plugin {
    name: &'static str,
    source: &'static str,
    tool: &'static str,
    /// What says which version of the tool it is.
    version: &'static str,
    /// `-o` and the component come after them.
    arguments: &'static [&'static str],
}

const PLUGINS: [Plugin; 2] = [
    Plugin {
        name: "conformance_js",
        source: "tests/guests/conformance-js/plugin.js",
        tool: "tests/guests/conformance-js/node_modules/.bin/componentize-js",
        version: "tests/guests/conformance-js/package-lock.json",
        arguments: &[
            "tests/guests/conformance-js/plugin.js",
            "--wit",
            WIT,
            "--world-name",
            WORLD,
            // What weir has not got of WASI.
            "-d",
            "http",
            "-d",
            "fetch-event",
        ],
    },
    Plugin {
        name: "conformance_py",
        source: "tests/guests/conformance-py/plugin.py",
        tool: "tests/.cache/venv/bin/componentize-py",
        version: "tests/python/requirements.txt",
        arguments: &["-d", WIT, "-w", WORLD, "componentize", "plugin", "-p", "tests/guests/conformance-py"],
    },
];

/// Builds those that are older than what they are made of.
pub(crate) fn build() -> Result<()> {
    PLUGINS.iter().try_for_each(Plugin::build)
}

impl Plugin {
    fn build(&self) -> Result<()> {
        let component = target().join("guests").join(self.name).with_extension("wasm");
        if let Ok(built) = changed(&component)
            && self.parts_changed()? < built
        {
            return Ok(());
        }
        fs::create_dir_all(target().join("guests"))?;
        println!("building {}", component.strip_prefix(root()).unwrap_or(&component).display());
        let written = component.with_extension("part");
        let mut build = command(&root().join(self.tool).to_string_lossy());
        build.args(self.arguments).arg("-o").arg(&written);
        run(&mut build)
            .with_context(|| format!("{} (`cargo xtask setup` installs what it needs)", self.source))?;
        fs::rename(&written, &component)?;
        Ok(())
    }

    /// When what it is made of changed last.
    fn parts_changed(&self) -> Result<SystemTime> {
        let mut last = changed(&root().join(self.source))?.max(changed(&root().join(self.version))?);
        let wit = root().join(WIT);
        for entry in fs::read_dir(&wit).with_context(|| wit.display().to_string())? {
            last = last.max(changed(&entry?.path())?);
        }
        Ok(last)
    }
}

fn changed(path: &Path) -> Result<SystemTime> {
    let metadata = fs::metadata(path).with_context(|| path.display().to_string())?;
    Ok(metadata.modified()?)
}
