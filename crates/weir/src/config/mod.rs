//! Configuration: from TOML to a [`Plan`].
//!
//! In reading order: [`document`] (text as a tree that knows its places), [`raw`] (what may be written; the JSON
//! Schema comes from it), [`shape`] (the tree against that schema), [`value`] (values written as strings),
//! [`lower`] (from raw to what the data plane takes), [`report`] (everything that is wrong).

pub mod document;
pub mod lower;
pub mod raw;
pub mod report;
pub mod shape;
pub mod source;
pub mod value;

use serde_json::Value as Json;

use crate::run::Plan;
use document::{At, Node};
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
    let mut report = Report::default();
    let document = source.read(&mut report);
    let mut bad: Vec<At> = Vec::new();
    let raw = parse(&document, &mut report, &mut bad);
    let mut plan = lower::lower(&raw, &document, &mut report, &mut bad);
    plan.source = source.to_string();
    if report.errors() > 0 { Err(Box::new(report)) } else { Ok(Loaded { plan, report }) }
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
    schemars::schema_for!(raw::Config).to_value()
}
