//! Templates of paths.

use crate::text::percent_decode;

/// A path with placeholders, as `/pets/{id}`.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    /// As in the document.
    pub text: String,
    segments: Vec<Vec<Part>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder(String),
}

impl Template {
    /// Errors say what is wrong with it.
    pub fn new(text: &str) -> Result<Template, String> {
        let path = text.strip_prefix('/').ok_or("a path begins with `/`")?;
        let segments = path.split('/').map(parts).collect::<Result<_, _>>()?;
        let template = Template { text: text.to_owned(), segments };
        let names = template.names();
        for (at, name) in names.iter().enumerate() {
            if names.iter().take(at).any(|other| other == name) {
                return Err(format!("`{{{name}}}` is there twice"));
            }
        }
        Ok(template)
    }

    /// Its placeholders.
    pub fn names(&self) -> Vec<&str> {
        let parts = self.segments.iter().flatten();
        parts
            .filter_map(|part| match part {
                Part::Placeholder(name) => Some(name.as_str()),
                Part::Literal(_) => None,
            })
            .collect()
    }

    /// The lower, the sooner it is tried: what is concrete comes before what has placeholders, from left to right.
    pub fn rank(&self) -> Vec<u8> {
        let rank = |segment: &Vec<Part>| match segment.as_slice() {
            [] | [Part::Literal(_)] => 0,
            [Part::Placeholder(_)] => 2,
            _ => 1,
        };
        self.segments.iter().map(rank).collect()
    }

    /// The same for two templates that the same paths match.
    pub fn shape(&self) -> String {
        let mut out = String::new();
        for part in
            self.segments.iter().flat_map(|segment| [None].into_iter().chain(segment.iter().map(Some)))
        {
            match part {
                None => out.push('/'),
                Some(Part::Literal(text)) => out.push_str(text),
                Some(Part::Placeholder(_)) => out.push_str("{}"),
            }
        }
        out
    }

    /// What the placeholders stand for in a path, still percent-encoded; none where it does not match.
    pub fn captures<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        if segments.len() != self.segments.len() {
            return None;
        }
        let mut captures = Vec::new();
        for (parts, segment) in self.segments.iter().zip(segments) {
            take(parts, segment, &mut captures)?;
        }
        Some(captures)
    }
}

fn parts(segment: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = segment;
    while !rest.is_empty() {
        let at = rest.find('{').unwrap_or(rest.len());
        let (literal, placeholder) = rest.split_at(at);
        if literal.contains('}') {
            return Err(format!("`{segment}`: a `}}` without a `{{`"));
        }
        if !literal.is_empty() {
            let decoded = percent_decode(literal, false).ok_or_else(|| format!("`{literal}` is no UTF-8"))?;
            parts.push(Part::Literal(decoded));
        }
        let Some(inner) = placeholder.strip_prefix('{') else { break };
        let (name, after) =
            inner.split_once('}').ok_or_else(|| format!("`{segment}`: a `{{` without a `}}`"))?;
        if name.is_empty() || name.contains('{') {
            return Err(format!("`{segment}`: `{{{name}}}` is no name"));
        }
        if matches!(parts.last(), Some(Part::Placeholder(_))) {
            return Err(format!("`{segment}`: there must be something between two placeholders"));
        }
        parts.push(Part::Placeholder(name.to_owned()));
        rest = after;
    }
    Ok(parts)
}

/// Matches one segment: a placeholder takes as little as it can, at least a byte, and the last one the rest.
fn take<'t, 'p>(parts: &'t [Part], segment: &'p str, captures: &mut Vec<(&'t str, &'p str)>) -> Option<()> {
    match parts {
        [] => segment.is_empty().then_some(()),
        [Part::Literal(text)] => (percent_decode(segment, false)? == *text).then_some(()),
        [Part::Placeholder(name)] => {
            captures.push((name, segment));
            (!segment.is_empty()).then_some(())
        }
        [Part::Literal(text), rest @ ..] => take(rest, segment.strip_prefix(text.as_str())?, captures),
        [Part::Placeholder(name), rest @ ..] => {
            let Some(Part::Literal(text)) = rest.first() else { return None };
            let before = captures.len();
            for (at, _) in segment.match_indices(text.as_str()).filter(|(at, _)| *at > 0) {
                let (value, after) = segment.split_at(at);
                captures.push((name, value));
                if take(rest, after, captures).is_some() {
                    return Some(());
                }
                captures.truncate(before);
            }
            None
        }
    }
}
