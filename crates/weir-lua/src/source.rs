//! A script and the files beside it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The most that all files of a plugin may have, in bytes.
const MOST: u64 = 4 << 20;
/// The deepest that files of a plugin may lie below its folder.
const DEPTH: usize = 8;

/// A plugin's files: the one that returns the hooks, and the modules that it may `require`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The main file, a key of `files`.
    pub main: String,
    /// Texts by path relative to the plugin's folder, with `/` between the parts.
    pub files: BTreeMap<String, String>,
    /// Where they were read from; `None` for a text that was not.
    pub folder: Option<PathBuf>,
}

impl Source {
    /// A plugin of one file, from a text.
    pub fn text(file: &str, text: &str) -> Self {
        let files = BTreeMap::from([(file.to_owned(), text.to_owned())]);
        Source { main: file.to_owned(), files, folder: None }
    }

    /// Reads a plugin: `NAME.lua`, which is all of it, or a folder with `plugin.lua` and the files that it requires.
    ///
    /// # Errors
    /// What cannot be read, or is no text, with its path.
    pub fn read(path: &Path) -> io::Result<Self> {
        if std::fs::metadata(path).map_err(|e| named(path, &e))?.is_dir() {
            let mut files = BTreeMap::new();
            let mut left = MOST;
            walk(path, "", DEPTH, &mut left, &mut files)?;
            let main = "plugin.lua".to_owned();
            if !files.contains_key(&main) {
                let text = format!("{}: there is no plugin.lua in this folder", path.display());
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            return Ok(Source { main, files, folder: Some(path.to_owned()) });
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("plugin.lua").to_owned();
        let text = read(path, &mut { MOST })?;
        let folder = path.parent().map(Path::to_owned);
        Ok(Source { main: name.clone(), files: BTreeMap::from([(name, text)]), folder })
    }

    /// The scripts in a folder, none of which is the plugin: what tests of another plugin may `require`.
    ///
    /// # Errors
    /// What cannot be read, or is no text, with its path.
    pub fn beside(folder: &Path) -> io::Result<Self> {
        let (mut files, mut left) = (BTreeMap::new(), MOST);
        walk(folder, "", 0, &mut left, &mut files)?;
        Ok(Source { main: String::new(), files, folder: Some(folder.to_owned()) })
    }

    /// The file that `require(name)` in `from` means: `a.b` and `a/b` from the plugin's folder, `./b` and `../b`
    /// from the folder of `from`. Nothing outside the plugin's folder.
    pub(crate) fn resolve(&self, from: &str, name: &str) -> Option<&str> {
        let relative = name.starts_with("./") || name.starts_with("../");
        let name = name.strip_suffix(".lua").unwrap_or(name);
        let (base, name) = match relative {
            true => (Path::new(from).parent().unwrap_or(Path::new("")), name.to_owned()),
            false => (Path::new(""), name.replace('.', "/")),
        };
        let mut parts: Vec<&str> = Vec::new();
        for component in base.components().chain(Path::new(&name).components()) {
            match component {
                Component::Normal(part) => parts.push(part.to_str()?),
                Component::CurDir => {}
                Component::ParentDir => drop(parts.pop()?),
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        let path = parts.join("/");
        let options = [format!("{path}.lua"), format!("{path}/init.lua")];
        options.iter().find_map(|option| self.files.get_key_value(option)).map(|(key, _)| key.as_str())
    }
}

fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    left: &mut u64,
    files: &mut BTreeMap<String, String>,
) -> io::Result<()> {
    for entry in std::fs::read_dir(folder).map_err(|e| named(folder, &e))? {
        let entry = entry.map_err(|e| named(folder, &e))?;
        let (path, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        let kind = match std::fs::metadata(&path) {
            Ok(kind) => kind,
            // A link that leads to nothing, as to a component that is not built yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !name.ends_with(".lua") => continue,
            Err(error) => return Err(named(&path, &error)),
        };
        if kind.is_dir() && depth > 0 {
            walk(&path, &format!("{prefix}{name}/"), depth - 1, left, files)?;
        } else if kind.is_file() && name.ends_with(".lua") && !name.ends_with("_test.lua") {
            files.insert(format!("{prefix}{name}"), read(&path, left)?);
        }
    }
    Ok(())
}

fn read(path: &Path, left: &mut u64) -> io::Result<String> {
    let bytes = std::fs::read(path).map_err(|e| named(path, &e))?;
    match left.checked_sub(bytes.len() as u64) {
        Some(rest) => *left = rest,
        None => {
            let text = format!("{}: the files of a plugin have at most {MOST} bytes", path.display());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
    }
    String::from_utf8(bytes).map_err(|_| {
        let text =
            format!("{}: this is no text in UTF-8; scripts are, compiled code is not taken", path.display());
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
