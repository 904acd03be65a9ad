//! `weir new`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{print, refuse};

/// The folder that plugins are looked for in.
const PLUGINS: &str = "plugins";

/// Files: where each goes, and its text. In it, `%NAME%` is the plugin's name and `%VERSION%` that of weir.
type Files = &'static [(&'static str, &'static str)];

const LUA: Files = &[
    ("plugin.lua", include_str!("new/lua/plugin.lua")),
    ("plugin_test.lua", include_str!("new/lua/plugin_test.lua")),
    ("README.md", include_str!("new/lua/README.md")),
];
const WASM: Files = &[
    ("Cargo.toml", include_str!("new/wasm/manifest.toml")),
    ("src/lib.rs", include_str!("new/wasm/lib.rs")),
    ("plugin_test.lua", include_str!("new/wasm/plugin_test.lua")),
    ("README.md", include_str!("new/wasm/README.md")),
    (".gitignore", include_str!("new/wasm/gitignore")),
    ("weir-guest/Cargo.toml", include_str!("new/wasm/guest.toml")),
];
const JS: Files = &[
    ("package.json", include_str!("new/js/package.json")),
    ("plugin.js", include_str!("new/js/plugin.js")),
    ("plugin_test.lua", include_str!("new/wasm/plugin_test.lua")),
    ("README.md", include_str!("new/js/README.md")),
    (".gitignore", include_str!("new/js/gitignore")),
    ("wit/world.wit", include_str!("new/js/world.wit")),
];
const PYTHON: Files = &[
    ("plugin.py", include_str!("new/python/plugin.py")),
    ("build.sh", include_str!("new/python/build.sh")),
    ("plugin_test.lua", include_str!("new/wasm/plugin_test.lua")),
    ("README.md", include_str!("new/python/README.md")),
    (".gitignore", include_str!("new/python/gitignore")),
    ("wit/world.wit", include_str!("new/js/world.wit")),
];
/// The library for plugins in Rust.
const GUEST: Files = include!(concat!(env!("OUT_DIR"), "/guest.rs"));
/// The interfaces that components are written for.
const WIT: Files = include!(concat!(env!("OUT_DIR"), "/wit.rs"));

/// What can be begun.
#[derive(Debug, clap::Subcommand)]
pub(super) enum New {
    /// A plugin in Lua: a folder with the script, its tests and a README.
    Lua(Begin),
    /// A plugin in Rust, for WebAssembly: a folder with the crate, what it is built with, its tests and a README.
    Wasm(Begin),
    /// A plugin in JavaScript, for WebAssembly: a folder with the source, the interfaces, its tests and a README.
    Js(Begin),
    /// A plugin in Python, for WebAssembly: a folder with the source, the interfaces, its tests and a README.
    Python(Begin),
}

/// Which plugin is begun, and where.
#[derive(Debug, clap::Args)]
pub(super) struct Begin {
    /// Its name: letters, digits, `-` and `_`.
    name: String,
    /// The folder to make it in. [default: plugins; where there is no such folder, this one]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

impl New {
    pub(super) fn run(&self) -> ExitCode {
        let (New::Lua(begin) | New::Wasm(begin) | New::Js(begin) | New::Python(begin)) = self;
        if let Err(message) = self.check(&begin.name) {
            return refuse(&message);
        }
        let folder = begin.folder();
        match self.write(&folder, &begin.name) {
            Ok(()) => print(&self.next(&folder, &begin.name)),
            Err(message) => refuse(&message),
        }
    }

    fn check(&self, name: &str) -> Result<(), String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.starts_with('-') || !name.chars().all(is_plain) {
            return Err(format!("\"{name}\" is no name of a plugin: letters, digits, - and _ are"));
        }
        let is_crate = name.starts_with(|c: char| c.is_ascii_alphabetic());
        match self {
            New::Wasm(_) if !is_crate => Err(format!("\"{name}\" is no name of a crate: a letter begins it")),
            New::Wasm(_) if name == "weir-guest" => {
                Err("weir-guest is what plugins in Rust are written with: choose another name".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn write(&self, folder: &Path, name: &str) -> Result<(), String> {
        let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        }
        // It fails where there is anything of this name: nothing is overwritten.
        fs::create_dir(folder).map_err(|error| failed(folder, error))?;
        let write = |files: Files, under: &str, fill: &dyn Fn(&str) -> String| {
            for (file, text) in files {
                let path = folder.join(under).join(file);
                create(&path, &fill(text)).map_err(|error| failed(&path, error))?;
            }
            Ok::<(), String>(())
        };
        let link = |to: &str| {
            let link = folder.join("plugin.wasm");
            std::os::unix::fs::symlink(to, &link).map_err(|error| failed(&link, error))
        };
        let fill = |text: &str| text.replace("%NAME%", name).replace("%VERSION%", env!("CARGO_PKG_VERSION"));
        match self {
            New::Lua(_) => write(LUA, "", &fill),
            New::Wasm(_) => {
                write(WASM, "", &fill)?;
                write(GUEST, "weir-guest/src", &str::to_owned)?;
                write(WIT, "weir-guest/wit", &str::to_owned)?;
                link(&component(name))
            }
            New::Js(_) | New::Python(_) => {
                let files = if let New::Js(_) = self { JS } else { PYTHON };
                write(files, "", &fill)?;
                write(WIT, "wit/deps/weir-plugin", &str::to_owned)?;
                link("build/plugin.wasm")
            }
        }
    }

    /// How to go on.
    fn next(&self, folder: &Path, name: &str) -> String {
        let shown = folder.display();
        let (source, build) = match self {
            New::Lua(_) => ("plugin.lua", None),
            New::Wasm(_) => ("src/lib.rs", Some("cargo build --release --target wasm32-wasip2")),
            New::Js(_) => ("plugin.js", Some("npm install && npm run build")),
            New::Python(_) => ("plugin.py", Some("sh build.sh")),
        };
        let build =
            build.map_or_else(String::new, |build| format!("build it:         (cd {shown} && {build})\n"));
        let found = folder.parent().and_then(Path::file_name).is_some_and(|parent| parent == PLUGINS);
        let place = match found {
            true => String::new(),
            false => format!("[plugins.{name}]\npath = \"{shown}\"\n"),
        };
        format!(
            "made {shown} with {source}, plugin_test.lua and README.md\n\
             {build}\
             run its tests:    weir test {shown}\n\
             put it on a route: plugins = [{{ name = \"{name}\", settings = {{ word = \"hello\" }} }}]\n{place}"
        )
    }
}

impl Begin {
    fn folder(&self) -> PathBuf {
        match &self.path {
            Some(path) => path.join(&self.name),
            None if Path::new(PLUGINS).is_dir() => Path::new(PLUGINS).join(&self.name),
            None => PathBuf::from(&self.name),
        }
    }
}

/// Where cargo puts the component of a crate of this name.
fn component(name: &str) -> String {
    format!("target/wasm32-wasip2/release/{}.wasm", name.replace('-', "_"))
}

/// Makes a file, and the folders above it.
fn create(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::File::create_new(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The copy of the library is built with what the library is built with.
    #[test]
    fn the_library_has_its_dependencies() {
        let parse = |text: &str| text.parse::<toml::Table>().expect("TOML");
        let own = parse(include_str!("../../../weir-guest/Cargo.toml"));
        let workspace = parse(include_str!("../../../../Cargo.toml"));
        let (_, copy) = WASM.iter().find(|(file, _)| *file == "weir-guest/Cargo.toml").expect("it is there");
        let copy = parse(&copy.replace("%VERSION%", "0.0.0"));
        let names = |table: &toml::Table| {
            table["dependencies"].as_table().expect("a table").keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(names(&copy), names(&own));
        for name in names(&copy) {
            assert_eq!(copy["dependencies"][&name], workspace["workspace"]["dependencies"][&name], "{name}");
        }
        assert_eq!(copy["package"]["edition"], workspace["workspace"]["package"]["edition"]);
    }
}
