//! Configuration: from TOML to a [`Plan`].
//!
//! In reading order: [`document`] (text as a tree that knows its places), [`raw`] (what may be written; the JSON
//! Schema comes from it), [`shape`] (the tree against that schema), [`value`] (values written as strings),
//! [`inputs`] (what was read, to be watched), [`lower`] (from raw to what the data plane takes), [`report`] (everything that is wrong), [`outline`] (what is another in the next one).

pub mod document;
pub mod inputs;
pub mod lower;
pub mod outline;
pub mod raw;
pub mod report;
pub mod shape;
pub mod source;
pub mod value;

use serde_json::Value as Json;

use crate::admin::Settings;
use crate::assemble::plugins;
use crate::run::Plan;
use document::{At, Node};
use outline::Outline;
use report::{Diagnostic, Report};

pub use source::Source;

/// A configuration that can be run.
#[derive(Debug)]
pub struct Loaded {
    /// What it comes to.
    pub plan: Plan,
    /// Warnings, and the files that were read.
    pub report: Report,
}

/// Reads a configuration, and everything that it names.
///
/// # Errors
/// All that is wrong with it.
pub fn load(source: &Source) -> Result<Loaded, Box<Report>> {
    load_after(source, &[])
}

/// The same after another one: its plugins, as far as they are what they were, stay.
///
/// # Errors
/// All that is wrong with it.
pub fn load_after(source: &Source, before: &[plugins::Loaded]) -> Result<Loaded, Box<Report>> {
    let mut report = Report::default();
    let document = source.read(&mut report);
    if report.errors() > 0 {
        // What cannot be read says nothing about the rest.
        return Err(Box::new(report));
    }
    let mut bad: Vec<At> = Vec::new();
    let raw = parse(&document, &mut report, &mut bad);
    let mut plan = lower::lower(&raw, &document, &mut report, &mut bad, before);
    plan.source = source.clone();
    plan.inputs = report.inputs.clone();
    plan.outline = Outline::of(&raw);
    if report.errors() > 0 { Err(Box::new(report)) } else { Ok(Loaded { plan, report }) }
}

/// Where the weir of a configuration tells about itself; none where that cannot be read.
pub fn admin(source: &Source) -> Option<Settings> {
    let mut report = Report::default();
    let document = source.read(&mut report);
    let mut bad: Vec<At> = Vec::new();
    let raw = (report.errors() == 0).then(|| parse(&document, &mut report, &mut bad))?;
    Some(lower::admin::settings(&raw.admin, &document, &report))
}

/// The document as raw types; what is wrong goes to `report` and is left out.
fn parse(document: &Node, report: &mut Report, bad: &mut Vec<At>) -> raw::Config {
    let schema = schema();
    let mut json = shape::Shape { schema: &schema, report, bad }.document(document);
    lower::inherit_limits(&mut json);
    serde_json::from_value(json).unwrap_or_else(|error| {
        report.push(Diagnostic::new(format!("this configuration cannot be read: {error}")));
        raw::Config::default()
    })
}

/// The JSON Schema of a configuration.
pub fn schema() -> Json {
    let mut schema = schemars::schema_for!(raw::Config).to_value();
    tidy(&mut schema);
    schema
}

/// Takes out what serde needs and TOML does not have: null, and defaults of keys that must be given. Keys marked
/// `x-required` become required: in the raw types they are optional, so that one missing key does not hide what
/// else is wrong.
fn tidy(schema: &mut Json) {
    let is_null = |s: &Json| s.get("type").is_some_and(|t| t == "null");
    match schema {
        Json::Object(map) => {
            if map.get("default").is_some_and(Json::is_null) {
                map.remove("default");
            }
            if let Some(Json::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            if let Some(Json::Array(options)) = map.get_mut("anyOf") {
                options.retain(|o| !is_null(o));
            }
            if let Some(Json::Object(properties)) = map.get_mut("properties") {
                let mut required = Vec::new();
                for (key, property) in properties.iter_mut() {
                    if property.as_object_mut().is_some_and(|p| p.remove("x-required").is_some()) {
                        required.push(Json::from(key.as_str()));
                        property.as_object_mut().map(|p| p.remove("default"));
                    }
                }
                if !required.is_empty() {
                    map.insert("required".into(), Json::Array(required));
                }
            }
            // Defaults are values, not schemas.
            map.iter_mut().filter(|(key, _)| *key != "default").for_each(|(_, value)| tidy(value));
            if let Some(Json::Object(default)) = map.get_mut("default") {
                default.retain(|_, value| !value.is_null());
            }
        }
        Json::Array(list) => list.iter_mut().for_each(tidy),
        _ => {}
    }
}
