//! `weir inspect`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{print, refuse};
use crate::assemble::plugins::{self, Inspected};
use crate::fetch::Reference;
use crate::run::EXIT_CONFIG;

/// What is told with `--help`.
pub(super) const AFTER: &str = "\
Exit codes:
  0  a configuration could have it as a plugin
  2  none could, or the file cannot be read";

/// Which file.
#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// A file of WebAssembly, a plugin's folder with plugin.wasm, or a URL as a configuration has it.
    path: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(&self) -> ExitCode {
        let url = self.path.to_str().filter(|path| Reference::is_one(path));
        let seen = match url {
            Some(url) => plugins::inspect_url(url).map(|(seen, url)| (seen, Some(url.to_string()))),
            None => plugins::inspect(&self.path).map(|seen| (seen, None)),
        };
        let (seen, url) = match seen {
            Ok(seen) => seen,
            Err(message) => return refuse(&message),
        };
        let url = url.as_deref();
        let printed =
            print(&if self.json { format!("{:#}\n", as_json(&seen, url)) } else { as_text(&seen, url) });
        if seen.parts.refused.is_empty() { printed } else { ExitCode::from(EXIT_CONFIG) }
    }
}

fn as_json(seen: &Inspected, url: Option<&str>) -> serde_json::Value {
    let parts = &seen.parts;
    serde_json::json!({
        "path": seen.path,
        "url": url,
        "kind": seen.kind,
        "size": seen.size,
        "sha256": seen.sha256,
        "version": parts.version,
        "hooks": parts.hooks,
        "imports": parts.imports,
        "wasi": parts.wasi,
        "needs": parts.needs,
        "refused": parts.refused,
    })
}

fn as_text(seen: &Inspected, url: Option<&str>) -> String {
    let parts = &seen.parts;
    let mut out = format!("{}\n", seen.path.display());
    let mut line = |name: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = writeln!(out, "  {name:<9}{value}");
    };
    line("kind", seen.kind);
    line("size", &format!("{} bytes", seen.size));
    line("sha256", &seen.sha256);
    if let Some(url) = url {
        line("url", url);
    }
    if let Some(version) = &parts.version {
        line("made for", &format!("weir:plugin {version}"));
    }
    for (name, list) in [("hooks", &parts.hooks), ("imports", &parts.imports), ("WASI", &parts.wasi)] {
        if !list.is_empty() {
            line(name, &list.join(", "));
        }
    }
    for need in &parts.needs {
        line("needs", need);
    }
    for why in &parts.refused {
        line("refused", why);
    }
    out
}
