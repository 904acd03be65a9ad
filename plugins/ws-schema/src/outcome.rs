//! What a message comes to.

use json_schema::{Finding, Schemas};
use serde_json::Value;
use weir_guest::prelude::*;

use crate::settings::{Rules, Select};

/// What a message is, by the rules of its side.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<'r> {
    /// Of this type, which is empty where one schema is for all.
    Valid(&'r str),
    /// With the first that is wrong.
    Invalid(&'r str, Finding),
    /// It has no type, or one that has no schema.
    Unknown,
    /// Why not.
    NotJson(String),
    Binary,
    Large,
}

/// A close frame has room for so many bytes of a reason.
const LONGEST: usize = 123;

impl Outcome<'_> {
    /// As in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Valid(_) => "valid",
            Outcome::Invalid(..) => "invalid",
            Outcome::Unknown => "unknown",
            Outcome::NotJson(_) => "not_json",
            Outcome::Binary => "binary",
            Outcome::Large => "large",
        }
    }

    /// A type of the settings, or nothing.
    pub fn kind(&self) -> &str {
        match self {
            Outcome::Valid(kind) | Outcome::Invalid(kind, _) => kind,
            _ => "",
        }
    }

    /// Why it is not valid, in at most 123 bytes. Nothing of the message but names of its properties.
    pub fn reason(&self, max_size: usize) -> String {
        let mut reason = match self {
            Outcome::Valid(_) => String::new(),
            Outcome::Invalid(_, finding) => {
                let place = if finding.pointer.is_empty() { "the message" } else { &finding.pointer };
                // The keyword is more than half of what one wants to know: a long pointer loses its begin.
                let room = LONGEST - "invalid: … ".len() - finding.keyword.len();
                let cut = place.ceil_char_boundary(place.len().saturating_sub(room));
                let mark = if cut > 0 { "…" } else { "" };
                format!("invalid: {mark}{} {}", place.get(cut..).unwrap_or_default(), finding.keyword)
            }
            Outcome::Unknown => "unknown type of message".to_owned(),
            Outcome::NotJson(error) => format!("no JSON: {error}"),
            Outcome::Binary => "binary messages are not taken".to_owned(),
            Outcome::Large => format!("larger than {max_size} bytes"),
        };
        reason.truncate(reason.floor_char_boundary(LONGEST));
        reason
    }
}

/// Looks at a message.
pub fn of<'r>(schemas: &Schemas, rules: &'r Rules, message: &Frame) -> Outcome<'r> {
    if message.opcode == Opcode::Binary {
        return Outcome::Binary;
    }
    if message.data.len() > rules.max_size {
        return Outcome::Large;
    }
    let value = match json_schema::read(&message.data) {
        Ok(value) => value,
        Err(error) => return Outcome::NotJson(error),
    };
    let (kind, schema) = match &rules.select {
        Select::One(schema) => ("", *schema),
        Select::ByType(pointer, by_type) => {
            let found = value.pointer(pointer).and_then(text).and_then(|kind| by_type.get_key_value(&kind));
            match found {
                Some((kind, schema)) => (kind.as_str(), *schema),
                None => return Outcome::Unknown,
            }
        }
    };
    match schemas.check(schema, &value).into_iter().next() {
        None => Outcome::Valid(kind),
        Some(finding) => Outcome::Invalid(kind, finding),
    }
}

/// A type as it stands in the settings; lists and objects are none.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}
