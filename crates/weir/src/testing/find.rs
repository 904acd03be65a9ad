//! Which plugins are to be tested, and by which files.

use std::path::{Path, PathBuf};

/// What files of tests end with.
const ENDING: &str = "_test.lua";

/// A plugin and its tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// By its file or folder.
    pub name: String,
    /// A script, or a folder with `plugin.lua`.
    pub path: PathBuf,
    /// Files of tests, sorted.
    pub tests: Vec<PathBuf>,
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

/// The plugin at a path that a configuration names, and its tests.
///
/// # Errors
/// What is not there, or cannot be read.
pub fn plugin(path: &Path) -> Result<Found, String> {
    match path.is_dir() {
        true => folder(path),
        false => Ok(file(path, &name_of(&path.with_extension("")))),
    }
}

/// Where the tests of a plugin that is one file are, if it has any.
pub fn tests_beside(script: &Path) -> PathBuf {
    script.with_file_name(format!("{}{ENDING}", name_of(&script.with_extension(""))))
}

fn under(path: &Path) -> Result<Vec<Found>, String> {
    let kind = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if kind.is_dir() {
        return if path.join("plugin.lua").is_file() { Ok(vec![folder(path)?]) } else { plugins_in(path) };
    }
    let name = name_of(path);
    if let Some(tested) = name.strip_suffix(ENDING) {
        let mut found = plugin_of(path, tested)?;
        found.tests = vec![path.to_owned()];
        return Ok(vec![found]);
    }
    match name.strip_suffix(".lua") {
        Some("plugin") => Ok(vec![folder(parent(path))?]),
        Some(plugin) => Ok(vec![file(path, plugin)]),
        None => {
            Err(format!("{}: this is no plugin: a folder or a file that ends with .lua is", path.display()))
        }
    }
}

/// The plugin that a file of tests, named `NAME_test.lua`, is about.
fn plugin_of(tests: &Path, name: &str) -> Result<Found, String> {
    let beside = parent(tests);
    if beside.join("plugin.lua").is_file() {
        return folder(beside);
    }
    let script = beside.join(format!("{name}.lua"));
    match script.is_file() {
        true => Ok(file(&script, name)),
        false => Err(format!(
            "{}: there is nothing to test: plugin.lua or {name}.lua would be beside it",
            tests.display()
        )),
    }
}

/// A plugin that is a folder, with all tests in it.
fn folder(path: &Path) -> Result<Found, String> {
    let tests =
        entries(path)?.into_iter().filter(|entry| name_of(entry).ends_with(ENDING) && entry.is_file());
    let tests = tests.collect();
    let whole = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Found { name: name_of(&whole), path: path.to_owned(), tests })
}

/// A plugin that is one file.
fn file(path: &Path, name: &str) -> Found {
    let tests = tests_beside(path);
    Found {
        name: name.to_owned(),
        path: path.to_owned(),
        tests: tests.is_file().then_some(tests).into_iter().collect(),
    }
}

fn plugins_in(path: &Path) -> Result<Vec<Found>, String> {
    let mut all = Vec::new();
    for entry in entries(path)? {
        let name = name_of(&entry);
        if entry.join("plugin.lua").is_file() {
            all.push(folder(&entry)?);
        } else if let Some(tested) = name.strip_suffix(ENDING).filter(|_| entry.is_file()) {
            // Of a plugin beside it, which has it already; else nobody would run it.
            plugin_of(&entry, tested)?;
        } else if let Some(plugin) = name.strip_suffix(".lua").filter(|_| entry.is_file()) {
            all.push(file(&entry, plugin));
        }
    }
    if all.is_empty() {
        return Err(format!("{}: there are no plugins in this folder", path.display()));
    }
    Ok(all)
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
