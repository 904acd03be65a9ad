//! `weir new`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{print, refuse};

/// The files of a new plugin. `%NAME%` is its name.
const FILES: [(&str, &str); 3] = [
    ("plugin.lua", include_str!("new/plugin.lua")),
    ("plugin_test.lua", include_str!("new/plugin_test.lua")),
    ("README.md", include_str!("new/README.md")),
];

/// What can be begun.
#[derive(Debug, clap::Subcommand)]
pub(super) enum New {
    /// A plugin in Lua: a folder with the script, its tests and a README.
    Lua {
        /// Its name: letters, digits, `-` and `_`.
        name: String,
        /// The folder of plugins.
        #[arg(long, value_name = "DIR", default_value = "plugins")]
        path: PathBuf,
    },
}

impl New {
    pub(super) fn run(&self) -> ExitCode {
        let New::Lua { name, path } = self;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.starts_with('-') || !name.chars().all(is_plain) {
            return refuse(&format!("\"{name}\" is no name of a plugin: letters, digits, - and _ are"));
        }
        let folder = path.join(name);
        match write(&folder, name) {
            Ok(()) => print(&next(&folder, name)),
            Err(message) => refuse(&message),
        }
    }
}

fn write(folder: &Path, name: &str) -> Result<(), String> {
    let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
    }
    // It fails where there is anything of this name: nothing is overwritten.
    std::fs::create_dir(folder).map_err(|error| failed(folder, error))?;
    for (file, text) in FILES {
        let path = folder.join(file);
        let file = std::fs::File::create_new(&path);
        let text = text.replace("%NAME%", name);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

fn next(folder: &Path, name: &str) -> String {
    let shown = folder.display();
    format!(
        "made {shown} with plugin.lua, plugin_test.lua and README.md\n\
         run its tests:    weir test {shown}\n\
         put it on a route: plugins = [{{ name = \"{name}\", settings = {{ word = \"hello\" }} }}]\n"
    )
}
