//! Which plugins are to be tested, and by which files.

use std::path::{Path, PathBuf};

use crate::assemble::plugins::{COMPONENT, SCRIPT, main_of, not_built};

/// What files of tests end with.
const ENDING: &str = "_test.lua";
/// What files of plugins end with.
const KINDS: [&str; 2] = [".lua", ".wasm"];
/// Where plugins are looked for.
const FOLDER: &str = "plugins";

/// A plugin and its tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// By its file or folder.
    pub name: String,
    /// A script, a component, or a folder with `plugin.lua` or `plugin.wasm`.
    pub path: PathBuf,
    /// Files of tests, sorted.
    pub tests: Vec<PathBuf>,
}

/// Where to look where nothing is said: in `plugins`, else here, where this is a plugin's folder.
pub fn default_path() -> PathBuf {
    let here = Path::new(".");
    match !Path::new(FOLDER).is_dir() && main_of(here).is_some() {
        true => here.to_owned(),
        false => FOLDER.into(),
    }
}

/// Finds plugins and their tests. A path is a plugin's folder, a folder of plugins, a plugin's file or a file of tests.
///
/// # Errors
/// What is not there, or is none of these.
pub fn find(paths: &[PathBuf]) -> Result<Vec<Found>, String> {
    let mut all: Vec<Found> = Vec::new();
    for path in paths {
        for found in under(path)? {
            match all.iter_mut().find(|known| known.path == found.path) {
                Some(known) => {
                    known.tests.extend(found.tests);
                    known.tests.sort();
                    known.tests.dedup();
                }
                None => all.push(found),
            }
        }
    }
    Ok(all)
}

/// Finds tests for a plugin, whatever lies beside them. A path is a file of tests, or a folder with such files or with
/// folders that have them.
///
/// # Errors
/// What is not there, or where there are none.
pub fn find_for(plugin: &Path, paths: &[PathBuf]) -> Result<Vec<Found>, String> {
    let mut tests = Vec::new();
    for path in paths {
        let before = tests.len();
        match metadata(path)?.is_dir() {
            false => tests.push(path.clone()),
            true => {
                for entry in entries(path)? {
                    let inside = if entry.is_dir() { entries(&entry)? } else { vec![entry] };
                    tests.extend(inside.into_iter().filter(|file| is_test(file)));
                }
            }
        }
        if tests.len() == before {
            return Err(format!(
                "{}: there are no files of tests (*{ENDING}) in this folder",
                path.display()
            ));
        }
    }
    metadata(plugin)?;
    let name = match plugin.is_dir() {
        true => name_of(plugin),
        false => name_of(&plugin.with_extension("")),
    };
    Ok(vec![Found { name, path: plugin.to_owned(), tests }])
}

/// The plugin at a path that a configuration names, and its tests.
///
/// # Errors
/// What is not there, or cannot be read.
pub fn plugin(path: &Path) -> Result<Found, String> {
    match path.is_dir() {
        true => folder(path),
        false => Ok(file(path)),
    }
}

/// Where the tests of a plugin that is one file are, if it has any.
pub fn tests_beside(plugin: &Path) -> PathBuf {
    plugin.with_file_name(format!("{}{ENDING}", name_of(&plugin.with_extension(""))))
}

fn under(path: &Path) -> Result<Vec<Found>, String> {
    if metadata(path)?.is_dir() {
        return if main_of(path).is_some() { Ok(vec![folder(path)?]) } else { plugins_in(path) };
    }
    let name = name_of(path);
    if let Some(tested) = name.strip_suffix(ENDING) {
        let mut found = plugin_of(path, tested)?;
        found.tests = vec![path.to_owned()];
        return Ok(vec![found]);
    }
    if name == SCRIPT || name == COMPONENT {
        return Ok(vec![folder(parent(path))?]);
    }
    match is_plugin(&name) {
        true => Ok(vec![file(path)]),
        false => Err(format!(
            "{}: this is no plugin: a folder or a file that ends with .lua or .wasm is",
            path.display()
        )),
    }
}

/// The plugin that a file of tests, named `NAME_test.lua`, is about.
fn plugin_of(tests: &Path, name: &str) -> Result<Found, String> {
    let beside = parent(tests);
    if main_of(beside).is_some() {
        return folder(beside);
    }
    let options = KINDS.map(|kind| beside.join(format!("{name}{kind}")));
    match options.each_ref().map(|plugin| is_file(plugin)) {
        [true, true] => Err(format!(
            "{}: {name}.lua and {name}.wasm are beside it, and `--plugin` names which of them is to be tested",
            tests.display()
        )),
        [true, false] => Ok(file(&options[0])),
        [false, true] => Ok(file(&options[1])),
        [false, false] => Err(format!(
            "{}: there is nothing to test: {SCRIPT}, {COMPONENT}, {name}.lua or {name}.wasm would be beside it; or \
             `--plugin` names it",
            tests.display()
        )),
    }
}

/// A plugin that is a folder, with all tests in it.
fn folder(path: &Path) -> Result<Found, String> {
    let tests = entries(path)?.into_iter().filter(|entry| is_test(entry)).collect();
    let whole = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Found { name: name_of(&whole), path: path.to_owned(), tests })
}

/// A plugin that is one file.
fn file(path: &Path) -> Found {
    let tests = tests_beside(path);
    Found {
        name: name_of(&path.with_extension("")),
        path: path.to_owned(),
        tests: tests.is_file().then_some(tests).into_iter().collect(),
    }
}

fn plugins_in(path: &Path) -> Result<Vec<Found>, String> {
    let mut all = Vec::new();
    for entry in entries(path)? {
        let name = name_of(&entry);
        if main_of(&entry).is_some() {
            all.push(folder(&entry)?);
        } else if let Some(tested) = name.strip_suffix(ENDING).filter(|_| entry.is_file()) {
            // Of a plugin beside it, which has it already; else nobody would run it.
            plugin_of(&entry, tested)?;
        } else if is_plugin(&name) && is_file(&entry) {
            all.push(file(&entry));
        }
    }
    if all.is_empty() {
        return Err(format!("{}: there are no plugins in this folder", path.display()));
    }
    Ok(all)
}

fn is_plugin(name: &str) -> bool {
    KINDS.iter().any(|kind| name.ends_with(kind))
}

/// Whether it is a file, or a link to what is not built yet.
fn is_file(path: &Path) -> bool {
    path.is_file() || not_built(path).is_some()
}

fn is_test(path: &Path) -> bool {
    name_of(path).ends_with(ENDING) && path.is_file()
}

fn metadata(path: &Path) -> Result<std::fs::Metadata, String> {
    std::fs::metadata(path)
        .map_err(|error| not_built(path).unwrap_or_else(|| format!("{}: {error}", path.display())))
}

/// What is in a folder, sorted, without hidden files.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    paths.retain(|path| !name_of(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
