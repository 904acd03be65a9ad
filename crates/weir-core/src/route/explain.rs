//! Why a route takes a request or does not, in words.

use std::fmt::Display;

use crate::spec::{HostPattern, PathPattern, ValueMatch};

use super::order::Entry;
use super::table::lower;
use super::{CompiledRoute, Explanation, Question, Router, condition};

impl Router {
    /// Every route in the order in which they are asked, with the reason why it does not match. A route that
    /// stands at several places is shown at the first whose host and path fit the request.
    pub fn explain(&self, question: &Question<'_>) -> Vec<Explanation> {
        let mut seats: Vec<Option<(bool, usize)>> = vec![None; self.routes.len()];
        for (index, entry) in self.entries.iter().enumerate() {
            let fits = place_mismatch(entry, question).is_none();
            if let Some(seat) = seats.get_mut(entry.route)
                && (seat.is_none() || matches!(seat, Some((false, _)) if fits))
            {
                *seat = Some((fits, index));
            }
        }
        let mut seats: Vec<(bool, usize)> = seats.into_iter().flatten().collect();
        seats.sort_by_key(|(_, index)| *index);
        seats
            .into_iter()
            .filter_map(|(fits, index)| {
                let route = self.route_of(index)?;
                let mismatch = if fits { conditions(route, question) } else { place(route, question) };
                Some(Explanation { route: route.spec.name.clone(), mismatch })
            })
            .collect()
    }
}

/// What of host and path does not fit one entry.
fn place_mismatch(entry: &Entry, question: &Question<'_>) -> Option<&'static str> {
    let mut buffer = [0; 255];
    let host = lower(question.host, &mut buffer);
    let host_fits = |pattern: &HostPattern| host.is_some_and(|host| pattern.matches(host));
    if !entry.host.as_ref().is_none_or(host_fits) {
        return Some("host");
    }
    (!entry.path.as_ref().is_none_or(|path| path_fits(path, question.path))).then_some("path")
}

fn path_fits(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(text) => **text == *path,
        PathPattern::Prefix(prefix) => {
            let prefix = if **prefix == *"/" { "" } else { prefix };
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathPattern::Template(template) => template_fits(template, path),
        PathPattern::Regex(regex) => condition::is_whole(regex, path),
    }
}

fn template_fits(template: &crate::spec::PathTemplate, path: &str) -> bool {
    use crate::spec::Segment;
    let mut rest = path.strip_prefix('/');
    for segment in &template.segments {
        let Some(left) = rest else { return false };
        let (text, after) = left.split_once('/').map_or((left, None), |(text, after)| (text, Some(after)));
        let fits = match segment {
            Segment::Literal(literal) => **literal == *text,
            Segment::Capture(_) => !text.is_empty(),
            Segment::Rest(_) => return !left.is_empty(),
        };
        if !fits {
            return false;
        }
        rest = after;
    }
    rest.is_none()
}

/// Why neither of a route's places fits.
fn place(route: &CompiledRoute, question: &Question<'_>) -> Option<String> {
    let matching = &route.spec.matching;
    let mut buffer = [0; 255];
    let host = lower(question.host, &mut buffer);
    if !matching.hosts.is_empty() && !matching.hosts.iter().any(|p| host.is_some_and(|h| p.matches(h))) {
        return Some(format!("host {} is not {}", show(question.host), either(&matching.hosts)));
    }
    let path = question.path;
    Some(match matching.paths.as_slice() {
        [PathPattern::Exact(text)] => format!("path {path} is not {text}"),
        [PathPattern::Prefix(prefix)] => format!("path {path} is not below {prefix}"),
        [PathPattern::Template(template)] => format!("path {path} is not like {}", template.source),
        [PathPattern::Regex(regex)] => format!("path {path} does not match {}", written(regex)),
        paths => {
            let shown: Vec<String> = paths
                .iter()
                .map(|pattern| match pattern {
                    PathPattern::Exact(text) => text.to_string(),
                    PathPattern::Prefix(prefix) => format!("below {prefix}"),
                    PathPattern::Template(template) => format!("like {}", template.source),
                    PathPattern::Regex(regex) => format!("matching {}", written(regex)),
                })
                .collect();
            format!("path {path} is not {}", either(&shown))
        }
    })
}

/// The first condition beside host and path that does not hold.
fn conditions(route: &CompiledRoute, question: &Question<'_>) -> Option<String> {
    let matching = &route.spec.matching;
    if !matching.listeners.is_empty() && !matching.listeners.iter().any(|name| **name == *question.listener) {
        return Some(format!("listener {} is not {}", question.listener, either(&matching.listeners)));
    }
    if !matching.methods.is_empty() && !matching.methods.contains(question.method) {
        return Some(format!("method {} is not {}", question.method, either(&matching.methods)));
    }
    for (name, want) in &matching.headers {
        if !condition::header_holds(name, want, question) {
            let is = question.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
            return Some(value_mismatch(&format!("header {name}"), is.as_deref(), want));
        }
    }
    for (name, want) in &matching.query {
        if !condition::query_holds(name, want, question.query) {
            let is = condition::values_of(question.query, name)
                .next()
                .map(|v| condition::decode(v).unwrap_or("?".into()));
            return Some(value_mismatch(&format!("query parameter {name}"), is.as_deref(), want));
        }
    }
    if !condition::client_holds(matching, question) {
        let client = question.client.map_or_else(|| "without an address".to_owned(), |c| c.to_string());
        return Some(format!("client {client} is not in {}", either(&matching.clients)));
    }
    None
}

fn value_mismatch(what: &str, is: Option<&str>, want: &ValueMatch) -> String {
    let Some(is) = is else { return format!("{what} is not there") };
    let is = is.escape_debug();
    match want {
        ValueMatch::Present => format!("{what} is not there"),
        ValueMatch::Absent => format!("{what} is there"),
        ValueMatch::Exact(text) => format!("{what} is `{is}`, not `{text}`"),
        ValueMatch::Prefix(text) => format!("{what} is `{is}`, which does not start with `{text}`"),
        ValueMatch::Regex(regex) => format!("{what} is `{is}`, which does not match {}", written(regex)),
    }
}

/// A regular expression as it was written.
fn written(regex: &regex::Regex) -> &str {
    let text = regex.as_str();
    text.strip_prefix(r"\A(?:").and_then(|t| t.strip_suffix(r")\z")).unwrap_or(text)
}

fn show(host: &str) -> &str {
    if host.is_empty() { "(none)" } else { host }
}

/// `a`, `a or b`, `a, b or c`.
fn either(items: &[impl Display]) -> String {
    match items {
        [] => String::new(),
        [only] => only.to_string(),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            format!("{} or {last}", first.join(", "))
        }
    }
}
