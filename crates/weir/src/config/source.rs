//! Where a configuration comes from.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::document::{File, Node};
use super::inputs::{Kind, Listing};
use super::report::{Diagnostic, Report};

/// The configuration that runs when none is named: `config/weir.toml` of the repository.
pub const EMBEDDED: &str = include_str!("../../../../config/weir.toml");

/// Where a configuration comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// The one that is built into the program.
    #[default]
    Embedded,
    /// A file, or a folder whose `*.toml` files are merged in the order of their names.
    Path(PathBuf),
    /// This text; relative paths in it are relative to the current folder.
    Text(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Embedded => f.write_str("config/weir.toml (built in)"),
            Source::Path(path) => path.display().fmt(f),
            Source::Text(_) => f.write_str("the configuration"),
        }
    }
}

impl Source {
    /// Reads and merges all files; what is wrong goes to `report`.
    pub fn read(&self, report: &mut Report) -> Node {
        let path = match self {
            Source::Embedded => {
                report.inputs.other("configuration", EMBEDDED.as_bytes());
                return add(report, "config/weir.toml".into(), PathBuf::from("."), EMBEDDED.to_owned());
            }
            Source::Path(path) => path,
            Source::Text(text) => {
                report.inputs.other("configuration", text.as_bytes());
                return add(report, self.to_string(), PathBuf::from("."), text.clone());
            }
        };
        let files = match files_of(path) {
            Ok(files) => files,
            Err(error) => {
                report.inputs.file(path, Kind::Config, None);
                report.push(unreadable(path, &error));
                return Node::empty(0);
            }
        };
        if files.iter().all(|file| file != path) {
            report.inputs.folder(path, Listing::Configs);
        }
        if files.is_empty() {
            report.push(Diagnostic::new(format!("there is no *.toml file in {}", path.display())));
        }
        let mut document: Option<Node> = None;
        for file in files {
            let text = fs::read_to_string(&file);
            let content = text.as_ref().ok().map(String::as_bytes);
            report.inputs.file(&file, Kind::Config, content);
            let text = match text {
                Ok(text) => text,
                Err(error) => {
                    report.push(unreadable(&file, &error));
                    continue;
                }
            };
            let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
            let node = add(report, file.display().to_string(), folder, text);
            match &mut document {
                Some(document) => document.merge(node, report),
                None => document = Some(node),
            }
        }
        document.unwrap_or_else(|| Node::empty(0))
    }
}

fn add(report: &mut Report, name: String, folder: PathBuf, text: String) -> Node {
    let file = report.files.len();
    let node = Node::parse(file, &text, report);
    report.files.push(File { name, folder, text });
    node
}

fn files_of(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|e| e == "toml") && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    let diagnostic = Diagnostic::new(format!("cannot read {}: {error}", path.display()));
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            diagnostic.help("name the configuration with --config PATH; without it the built-in demo runs")
        }
        _ => diagnostic,
    }
}
