//! Text with placeholders.

use std::sync::Arc;

use weir_core::spec::{PathTemplate, Segment, TemplatePart};

/// Parses a path with placeholders for segments.
///
/// # Errors
/// What is wrong with it.
pub(super) fn path(text: &str) -> Result<PathTemplate, String> {
    let Some(rest) = text.strip_prefix('/') else { return Err("a path starts with `/`".into()) };
    let mut segments = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let parts: Vec<&str> = rest.split('/').collect();
    for (i, part) in parts.iter().enumerate() {
        let inner = part.strip_prefix('{').and_then(|p| p.strip_suffix('}'));
        let Some(inner) = inner else {
            if part.contains(['{', '}']) {
                return Err(format!("in `{part}`, a placeholder must be a whole segment: `/{{name}}/`"));
            }
            segments.push(Segment::Literal((*part).into()));
            continue;
        };
        let (name, rest) = match inner.strip_suffix('*') {
            Some(name) => (name, true),
            None => (inner, false),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!("`{inner}` is not a name: letters, digits and `_`"));
        }
        if names.contains(&name) {
            return Err(format!("the placeholder `{name}` is there twice"));
        }
        names.push(name);
        if rest && i + 1 != parts.len() {
            return Err(format!("`{{{inner}}}` takes the rest of the path, so it must be the last segment"));
        }
        segments.push(if rest { Segment::Rest(name.into()) } else { Segment::Capture(name.into()) });
    }
    Ok(PathTemplate { source: text.into(), segments })
}

/// The names of a template's placeholders.
pub(super) fn captures(template: &PathTemplate) -> impl Iterator<Item = Arc<str>> {
    template.segments.iter().filter_map(|s| match s {
        Segment::Literal(_) => None,
        Segment::Capture(name) | Segment::Rest(name) => Some(name.clone()),
    })
}

/// Parses text with `{name}`; `{{` and `}}` are braces.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parts(text: &str) -> Result<Vec<TemplatePart>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, tail) = rest.split_at(at);
        literal.push_str(before);
        if let Some(tail) = tail.strip_prefix("{{") {
            literal.push('{');
            rest = tail;
        } else if let Some(tail) = tail.strip_prefix("}}") {
            literal.push('}');
            rest = tail;
        } else if let Some((name, tail)) = tail.strip_prefix('{').and_then(|t| t.split_once('}')) {
            if !literal.is_empty() {
                parts.push(TemplatePart::Literal(std::mem::take(&mut literal).into()));
            }
            parts.push(TemplatePart::Placeholder(name.into()));
            rest = tail;
        } else {
            return Err("a brace is open or closed alone: a brace itself is written twice".into());
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(TemplatePart::Literal(literal.into()));
    }
    Ok(parts)
}
