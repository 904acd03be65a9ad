//! What is wrong with a script, as a person reads it.

use std::fmt;

/// Something that is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The script's file, relative to the folder of the plugin.
    pub file: String,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// From an error of Lua while `file` was read or run.
    pub(crate) fn new(file: &str, error: &mlua::Error) -> Self {
        let text = message(error);
        // "file:12: what is wrong": the first such place in the text is where it happened.
        let place = text.split_once(": ").and_then(|(place, rest)| {
            let (file, line) = place.rsplit_once(':')?;
            Some(Fault { file: file.to_owned(), line: Some(line.parse().ok()?), message: rest.to_owned() })
        });
        place.unwrap_or_else(|| Fault { file: file.to_owned(), line: None, message: text })
    }
}

/// An error of Lua as one text: where, what, and how it came there, in the plugin's own files only.
pub(crate) fn message(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { traceback, cause } => {
            let mut cause: &mlua::Error = cause;
            while let mlua::Error::CallbackError { cause: inner, .. } = cause {
                cause = inner;
            }
            let own: Vec<&str> = own_frames(traceback).collect();
            let place =
                own.first().and_then(|frame| place(frame)).map_or(String::new(), |p| format!("{p}: "));
            with_frames(format!("{place}{}", first_line(&plain(cause))), &own)
        }
        error => {
            let text = plain(error);
            let own: Vec<&str> = own_frames(&text).collect();
            with_frames(first_line(&text).to_owned(), &own)
        }
    }
}

/// What mlua says, without its own words around it.
fn plain(error: &mlua::Error) -> String {
    match error {
        mlua::Error::RuntimeError(text) | mlua::Error::SyntaxError { message: text, .. } => text.clone(),
        mlua::Error::MemoryError(_) => "the plugin's memory is used up".to_owned(),
        mlua::Error::BadArgument { to, pos, name, cause } => {
            let name = name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
            let of = to.as_ref().map(|to| format!(" of {to}")).unwrap_or_default();
            format!("argument {pos}{name}{of}: {}", plain(cause))
        }
        mlua::Error::FromLuaConversionError { from, to, message } => {
            let more = message.as_ref().map(|more| format!(": {more}")).unwrap_or_default();
            format!("a {from} cannot be taken as {to}{more}")
        }
        error => error.to_string(),
    }
}

/// A message without how it came there.
pub(crate) fn first_line(text: &str) -> &str {
    // A script's own message may have lines.
    let text = text.split("\nstack traceback:").next().unwrap_or(text);
    text.split(CALLED).next().unwrap_or(text)
}

/// The most places that a message names: a recursion has thousands.
const MOST_FRAMES: usize = 10;

/// Lines of a traceback that are of the plugin's files.
fn own_frames(traceback: &str) -> impl Iterator<Item = &str> {
    let frames = traceback.split_once("stack traceback:").map_or("", |(_, frames)| frames);
    let frames = frames.lines().map(str::trim);
    let own = frames.filter(|frame| {
        !frame.is_empty()
            && !frame.starts_with('[')
            && !frame.starts_with("__")
            && !frame.starts_with("weir:")
    });
    own.take(MOST_FRAMES)
}

/// `file:12` of a frame.
fn place(frame: &str) -> Option<&str> {
    let end = frame.find(".lua")? + ".lua".len();
    let digits = frame.get(end + 1..)?.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| frame.get(..end + 1 + digits)).flatten()
}

fn with_frames(text: String, own: &[&str]) -> String {
    match own {
        [] | [_] => text,
        [_, rest @ ..] => format!("{text}{CALLED}{}", rest.join(CALLED)),
    }
}

/// Before each place that a traceback names.
const CALLED: &str = "\n  called from ";
