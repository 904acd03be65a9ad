//! JSON Schema for plugins: [`read`] reads JSON strictly, [`Builder`] compiles schemas, [`Schemas`] checks values.
//!
//! The work is done by the crate boon. What it cannot do here: load a schema from a file or from the network. A `$ref` to what
//! is not in the document is an error when the schema is compiled.

mod finding;
mod json;
#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod random;
#[cfg(test)]
mod tests;

use std::error::Error;

use boon::{CompileError, SchemaIndex};
use serde::Deserialize;
use serde_json::Value;

pub use finding::Finding;
pub use json::{MAX_DEPTH, read};

/// A version of JSON Schema, where a schema does not say with `$schema` which one it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Draft {
    /// Also what a Schema Object of OpenAPI 3.0 is nearest to.
    #[serde(rename = "4")]
    V4,
    #[serde(rename = "6")]
    V6,
    #[serde(rename = "7")]
    V7,
    #[serde(rename = "2019-09")]
    V2019,
    #[default]
    #[serde(rename = "2020-12")]
    V2020,
}

impl From<Draft> for boon::Draft {
    fn from(draft: Draft) -> boon::Draft {
        match draft {
            Draft::V4 => boon::Draft::V4,
            Draft::V6 => boon::Draft::V6,
            Draft::V7 => boon::Draft::V7,
            Draft::V2019 => boon::Draft::V2019_09,
            Draft::V2020 => boon::Draft::V2020_12,
        }
    }
}

/// Where documents are, for references within them.
const PLACE: &str = "settings:///";

/// Compiles schemas.
pub struct Builder {
    compiler: boon::Compiler,
    schemas: boon::Schemas,
}

impl Builder {
    /// With this draft for documents that name none. `formats`: whether `format` is checked
    /// where the draft only notes it, as 2019-09 and 2020-12 do; those before check it in any case.
    pub fn new(draft: Draft, formats: bool) -> Builder {
        let mut compiler = boon::Compiler::new();
        compiler.set_default_draft(draft.into());
        compiler.use_loader(Box::new(Nowhere));
        if formats {
            compiler.enable_format_assertions();
        }
        for (name, func) in finding::FORMATS {
            compiler.register_format(boon::Format { name, func });
        }
        Builder { compiler, schemas: boon::Schemas::new() }
    }

    /// Adds a document with schemas in it. `name` is of letters, digits and `-`.
    pub fn add(&mut self, name: &str, document: Value) -> Result<(), String> {
        self.compiler.add_resource(&format!("{PLACE}{name}"), document).map_err(|error| error.to_string())
    }

    /// The schema at this JSON pointer of a document, which may be the document itself: `""`. An error says where it is, as a
    /// pointer within the document, and why it is none.
    pub fn schema(&mut self, name: &str, pointer: &str) -> Result<Schema, String> {
        let place = format!("{PLACE}{name}");
        let fragment: String = pointer.bytes().map(encoded).collect();
        let index = self.compiler.compile(&format!("{place}#{fragment}"), &mut self.schemas);
        index.map(Schema).map_err(|error| explain(&error).replace(&place, ""))
    }

    /// All that were compiled.
    pub fn finish(self) -> Schemas {
        Schemas(self.schemas)
    }
}

/// A byte of a pointer as it stands in the fragment of a URL.
fn encoded(byte: u8) -> String {
    match byte {
        b'/' | b'~' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

/// A schema of a [`Builder`], for the [`Schemas`] of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema(SchemaIndex);

/// Schemas that values can be checked against.
pub struct Schemas(boon::Schemas);

impl Schemas {
    /// What is wrong with a value: at most [`Finding::MOST`]; nothing where it is valid.
    pub fn check(&self, schema: Schema, value: &Value) -> Vec<Finding> {
        match self.0.validate(value, schema.0) {
            Ok(()) => Vec::new(),
            Err(error) => finding::all(&error),
        }
    }
}

/// Loads nothing.
struct Nowhere;

impl boon::UrlLoader for Nowhere {
    fn load(&self, _: &str) -> Result<Value, Box<dyn Error>> {
        Err("only references within the document are followed: put what it refers to under `$defs`".into())
    }
}

const NO_PATTERN: &str = "no regular expression that can be used: without look-around and back-references";

fn explain(error: &CompileError) -> String {
    match error {
        CompileError::ValidationError { url, src } => {
            let found = finding::all(src);
            let told = found.first().map(|finding| match finding.text.as_str() {
                "must have the format `regex`" => format!("{}: {NO_PATTERN}", finding.pointer),
                text => format!("{}: {text}", finding.pointer),
            });
            format!("{url}{}", told.unwrap_or_default())
        }
        CompileError::JsonPointerNotFound(place) => {
            format!("{place}: there is nothing at this place, which a `$ref` names")
        }
        CompileError::InvalidRegex { url, .. } => format!("{url}: {NO_PATTERN}"),
        CompileError::LoadUrlError { url, src } => {
            format!("`$ref` to `{}`: {src}", url.trim_start_matches(PLACE))
        }
        other => format!("{other:#}"),
    }
}
