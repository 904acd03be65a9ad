//! Configuration text as a tree that remembers where each part was written.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{Diagnostic, Report};

/// One file of a configuration.
#[derive(Clone, Debug)]
pub struct File {
    /// As it is shown in errors.
    pub name: String,
    /// The folder against which relative paths in it are resolved.
    pub folder: PathBuf,
    /// Its text.
    pub text: String,
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into [`Report::files`].
    pub file: usize,
    /// Bytes of its text.
    pub span: Range<usize>,
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the value is.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What TOML knows.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text.
    String(String),
    /// A whole number that fits 64 bits.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A date or time: nothing in the configuration is one.
    Datetime,
    /// A list.
    Array(Vec<Node>),
    /// A table in the order in which it was written.
    Table(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

/// One step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a table.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// The way from the root to a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At(pub Vec<Step>);

impl At {
    /// The way to this key of the table here.
    pub fn key(&self, key: &str) -> At {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        At(steps)
    }

    /// The way to this element of the list here.
    pub fn index(&self, index: usize) -> At {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        At(steps)
    }

    /// Whether this is `other` or leads into it.
    pub fn starts_with(&self, other: &At) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl Node {
    /// An empty document.
    pub fn empty(file: usize) -> Node {
        Node { place: Place { file, span: 0..0 }, value: Value::Table(Vec::new()) }
    }

    /// Parses a file; what is wrong goes to `report`.
    pub fn parse(file: usize, text: &str, report: &mut Report) -> Node {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut lines = HashSet::new();
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            // The parser goes on behind an error as well as it can: only the first of a line means something.
            let line = text.get(..span.start).map_or(0, |before| before.matches('\n').count());
            if !lines.insert(line) {
                continue;
            }
            report.push(Diagnostic::new(error.message().trim()).place(Place { file, span }, ""));
        }
        let span = table.span();
        Node { place: Place { file, span }, value: Value::Table(entries(file, table.into_inner())) }
    }

    /// What errors call this kind of value.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::String(_) => "a string",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::Datetime => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }

    /// The entry of this key, if this is a table that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Table(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// The value at the end of the way; `None` if it is not there. A list with one element may be written
    /// without brackets, so index 0 of anything else than a list is that value.
    pub fn find(&self, at: &At) -> Option<&Node> {
        at.0.iter().try_fold(self, |node, step| match (step, &node.value) {
            (Step::Key(key), _) => node.entry(key).map(|e| &e.node),
            (Step::Index(i), Value::Array(list)) => list.get(*i),
            (Step::Index(0), _) => Some(node),
            (Step::Index(_), _) => None,
        })
    }

    /// Where the value at the end of the way is, or of the innermost value around it that is there.
    pub fn locate(&self, at: &At) -> Place {
        let mut place = self.place.clone();
        for n in 1..=at.0.len() {
            let Some(node) = self.find(&At(at.0[..n].to_vec())) else { break };
            place = node.place.clone();
        }
        place
    }

    /// Where the key at the end of the way is; the value's place where it has no key.
    pub fn locate_key(&self, at: &At) -> Place {
        if let Some((Step::Key(key), parents)) = at.0.split_last()
            && let Some(entry) = self.find(&At(parents.to_vec())).and_then(|n| n.entry(key))
        {
            return entry.place.clone();
        }
        self.locate(at)
    }

    /// Merges another file's document into this one: lists append, tables merge, and a value that both have is
    /// an error that names both places.
    pub fn merge(&mut self, other: Node, report: &mut Report) {
        match (&mut self.value, other.value) {
            (Value::Table(mine), Value::Table(theirs)) => {
                for entry in theirs {
                    match mine.iter_mut().find(|e| e.key == entry.key) {
                        None => mine.push(entry),
                        Some(old) if mergeable(&old.node, &entry.node) => {
                            old.node.merge(entry.node, report);
                        }
                        Some(old) => report.push(
                            Diagnostic::new(format!("`{}` is set in two files", entry.key))
                                .place(entry.place, "set here again")
                                .context(old.place.clone(), "first set here")
                                .help("keep it in one of the two files; files are read in the order of their names"),
                        ),
                    }
                }
            }
            (Value::Array(mine), Value::Array(theirs)) => mine.extend(theirs),
            _ => {}
        }
    }
}

fn mergeable(a: &Node, b: &Node) -> bool {
    matches!((&a.value, &b.value), (Value::Table(_), Value::Table(_)) | (Value::Array(_), Value::Array(_)))
}

fn entries(file: usize, table: DeTable<'_>) -> Vec<Entry> {
    table
        .into_iter()
        .map(|(key, value)| Entry {
            place: Place { file, span: key.span() },
            key: key.into_inner().into_owned(),
            node: node(file, value),
        })
        .collect()
}

fn node(file: usize, value: Spanned<DeValue<'_>>) -> Node {
    let place = Place { file, span: value.span() };
    let value = match value.into_inner() {
        DeValue::String(s) => Value::String(s.into_owned()),
        DeValue::Integer(i) => match i64::from_str_radix(i.as_str(), i.radix()) {
            Ok(n) => Value::Integer(n),
            Err(_) => Value::Float(f64::INFINITY),
        },
        DeValue::Float(f) => Value::Float(f.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(b) => Value::Boolean(b),
        DeValue::Datetime(_) => Value::Datetime,
        DeValue::Array(list) => Value::Array(list.into_iter().map(|v| node(file, v)).collect()),
        DeValue::Table(table) => Value::Table(entries(file, table)),
    };
    Node { place, value }
}

impl At {
    /// The way to what this is in.
    pub fn parent(&self) -> At {
        At(self.0.split_last().map_or_else(Vec::new, |(_, rest)| rest.to_vec()))
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if i == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
