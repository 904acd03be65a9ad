//! What is wrong with a value.

use std::error::Error;
use std::fmt::Display;

use boon::{ErrorKind, ValidationError};
use serde_json::Value;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where in the value: a JSON pointer (RFC 6901), empty for the value itself. Names in it are the sender's, without control
    /// characters.
    pub pointer: String,
    /// The keyword of the schema that says so.
    pub keyword: &'static str,
    /// What would be right. It quotes the schema, and of the value no more than names.
    pub text: String,
}

impl Finding {
    /// How many are told of one value.
    pub const MOST: usize = 10;
}

/// The most bytes of a pointer, and of a text.
const LONGEST: usize = 256;

/// The first of them. Why no branch of `anyOf` or `oneOf` matched is not told: it would name all that is wrong with each.
pub(crate) fn all(error: &ValidationError<'_, '_>) -> Vec<Finding> {
    let mut found = Vec::new();
    collect(error, &mut found);
    found
}

fn collect(error: &ValidationError<'_, '_>, found: &mut Vec<Finding>) {
    let through = matches!(
        error.kind,
        ErrorKind::Group | ErrorKind::Schema { .. } | ErrorKind::Reference { .. } | ErrorKind::AllOf
    );
    if through && !error.causes.is_empty() {
        for cause in &error.causes {
            collect(cause, found);
        }
    } else if found.len() < Finding::MOST {
        let (keyword, text) = describe(&error.kind);
        let pointer = bounded(&error.instance_location.to_string());
        found.push(Finding { pointer, keyword, text: bounded(&text) });
    }
}

/// Without control characters, and no longer than may be.
fn bounded(text: &str) -> String {
    let end = text.floor_char_boundary(LONGEST);
    let mut out: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if end < text.len() {
        out.truncate(out.floor_char_boundary(end));
        out.push('…');
    }
    out
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| format!("`{item}`")).collect();
    items.join(", ")
}

/// The keyword, and what would be right.
fn describe(kind: &ErrorKind<'_, '_>) -> (&'static str, String) {
    match kind {
        ErrorKind::Type { got, want } => {
            let want: Vec<String> = want.iter().map(|kind| kind.to_string()).collect();
            ("type", format!("must be {}, not {got}", want.join(" or ")))
        }
        ErrorKind::Enum { want } => ("enum", format!("must be one of {}", list(*want))),
        ErrorKind::Const { want } => ("const", format!("must be `{want}`")),
        ErrorKind::Format { want, .. } => ("format", format!("must have the format `{want}`")),
        ErrorKind::Pattern { want, .. } => ("pattern", format!("must match `{want}`")),
        ErrorKind::Required { want } => ("required", format!("must have {}", list(want))),
        ErrorKind::AdditionalProperties { got } => {
            ("additionalProperties", format!("must not have {}", list(got)))
        }
        ErrorKind::PropertyName { prop } => ("propertyNames", format!("must not have `{prop}`")),
        ErrorKind::Dependency { prop, missing } => ("dependencies", depends(prop, missing)),
        ErrorKind::DependentRequired { prop, missing } => ("dependentRequired", depends(prop, missing)),
        ErrorKind::MinProperties { want, .. } => ("minProperties", format!("at least {want} properties")),
        ErrorKind::MaxProperties { want, .. } => ("maxProperties", format!("at most {want} properties")),
        ErrorKind::MinItems { want, .. } => ("minItems", format!("at least {want} items")),
        ErrorKind::MaxItems { want, .. } => ("maxItems", format!("at most {want} items")),
        ErrorKind::UniqueItems { got: [one, other] } => {
            ("uniqueItems", format!("items {one} and {other} are the same"))
        }
        ErrorKind::AdditionalItems { .. } => {
            ("additionalItems", "has items beyond those that may be".to_owned())
        }
        ErrorKind::Contains => ("contains", "must contain an item that matches `contains`".to_owned()),
        ErrorKind::MinContains { want, .. } => {
            ("minContains", format!("at least {want} items must match `contains`"))
        }
        ErrorKind::MaxContains { want, .. } => {
            ("maxContains", format!("at most {want} items may match `contains`"))
        }
        ErrorKind::MinLength { want, .. } => ("minLength", format!("at least {want} characters")),
        ErrorKind::MaxLength { want, .. } => ("maxLength", format!("at most {want} characters")),
        ErrorKind::Minimum { want, .. } => ("minimum", format!("must be {want} or more")),
        ErrorKind::Maximum { want, .. } => ("maximum", format!("must be {want} or less")),
        ErrorKind::ExclusiveMinimum { want, .. } => ("exclusiveMinimum", format!("must be more than {want}")),
        ErrorKind::ExclusiveMaximum { want, .. } => ("exclusiveMaximum", format!("must be less than {want}")),
        ErrorKind::MultipleOf { want, .. } => ("multipleOf", format!("must be a multiple of {want}")),
        ErrorKind::Not => ("not", "must not match the schema of `not`".to_owned()),
        ErrorKind::AnyOf => ("anyOf", "must match one of `anyOf`".to_owned()),
        ErrorKind::OneOf(None) => ("oneOf", "must match one of `oneOf`".to_owned()),
        ErrorKind::OneOf(Some(_)) => ("oneOf", "must match only one of `oneOf`".to_owned()),
        ErrorKind::FalseSchema => ("false", "must not be there".to_owned()),
        ErrorKind::RefCycle { .. } => ("$ref", "the schema refers to itself without an end".to_owned()),
        ErrorKind::ContentEncoding { want, .. } => {
            ("contentEncoding", format!("must be encoded as `{want}`"))
        }
        ErrorKind::ContentMediaType { want, .. } => ("contentMediaType", format!("must be `{want}`")),
        ErrorKind::ContentSchema => ("contentSchema", "must match `contentSchema`".to_owned()),
        ErrorKind::AllOf => ("allOf", "must match all of `allOf`".to_owned()),
        ErrorKind::Group | ErrorKind::Schema { .. } | ErrorKind::Reference { .. } => {
            ("$ref", "must match the schema".to_owned())
        }
    }
}

fn depends(name: &str, missing: &[&str]) -> String {
    format!("must have {} beside `{name}`", list(missing))
}

type Check = fn(&Value) -> Result<(), Box<dyn Error>>;

/// Formats of OpenAPI that JSON Schema does not have.
pub(crate) const FORMATS: [(&str, Check); 2] = [("int32", int32), ("int64", int64)];

fn int32(value: &Value) -> Result<(), Box<dyn Error>> {
    in_range(value, f64::from(i32::MIN), f64::from(i32::MAX))
}

fn int64(value: &Value) -> Result<(), Box<dyn Error>> {
    // Beyond 2^53 a double has no better bounds than these.
    in_range(value, -9_223_372_036_854_775_808.0, 9_223_372_036_854_775_807.0)
}

fn in_range(value: &Value, least: f64, most: f64) -> Result<(), Box<dyn Error>> {
    match value.as_f64() {
        Some(number) if number < least || number > most => Err("out of range".into()),
        _ => Ok(()),
    }
}
