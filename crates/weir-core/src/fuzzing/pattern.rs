//! Patterns and templates that a configuration writes.

use std::collections::{HashMap, HashSet};

use http::{HeaderMap, Method, StatusCode};

use crate::path;
use crate::route::{Question, Router};
use crate::spec::pattern::template_parts;
use crate::spec::{
    Action, HostPattern, PathPattern, PathPolicy, PathRule, PathTemplate, Route, Segment, TemplatePart,
    ValueTemplate,
};

/// A pattern, and on the lines that follow it hosts or paths to hold against it.
pub fn route_pattern(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, asked) = text.split_once('\n').unwrap_or((text, ""));
    host(pattern, asked);
    value(pattern);
    let paths = [PathPattern::exact(pattern), PathPattern::prefix(pattern), PathPattern::template(pattern)];
    for pattern in paths.into_iter().flatten() {
        routed(&pattern, asked);
    }
    if let Ok(pattern) = PathPattern::regex(pattern) {
        routed(&pattern, asked);
    }
}

fn host(text: &str, asked: &str) {
    let Ok(pattern) = HostPattern::parse(text) else { return };
    assert_eq!(HostPattern::parse(&pattern.to_string()).as_ref(), Ok(&pattern), "it is read as it is shown");
    let route = |pattern: &HostPattern| {
        let mut route = answer();
        route.matching.hosts = vec![pattern.clone()];
        Router::new(&[route], &HashMap::new()).expect("one route conflicts with none")
    };
    let router = route(&pattern);
    let itself = pattern.to_string().replace('*', "a");
    assert!(router.find(&question(&itself, "/")).is_some(), "{pattern} takes {itself}");
    for host in asked.lines().filter(|host| host.len() <= 253) {
        let lower = host.to_ascii_lowercase();
        assert_eq!(router.find(&question(host, "/")).is_some(), pattern.matches(&lower), "{pattern} {host}");
    }
}

fn routed(pattern: &PathPattern, asked: &str) {
    let mut route = answer();
    route.matching.paths = vec![pattern.clone()];
    let router = Router::new(&[route], &HashMap::new()).expect("one route conflicts with none");
    for line in asked.lines().chain(own_path(pattern).as_deref()) {
        let Ok(path) = path::normalise(line, &KEEP) else { continue };
        if !path.starts_with('/') {
            continue;
        }
        let found = router.find(&question("example.com", &path));
        assert_eq!(found.is_some(), takes(pattern, &path), "{pattern:?} {path}");
        if let (Some(found), PathPattern::Template(template)) = (&found, pattern) {
            let names: HashSet<_> = template.names().collect();
            assert_eq!(names.len(), found.captures.len(), "each name is captured once: {:?}", found.captures);
        }
    }
    if let Some(own) = own_path(pattern) {
        assert!(takes(pattern, &own), "{pattern:?} takes its own {own}");
    }
}

const KEEP: PathPolicy = PathPolicy {
    dot_segments: PathRule::Reject,
    encoded_slashes: PathRule::Keep,
    double_slashes: PathRule::Keep,
};

/// A path that a pattern was made for. It is in the form in which paths are matched.
fn own_path(pattern: &PathPattern) -> Option<String> {
    let path = match pattern {
        PathPattern::Exact(path) => path.to_string(),
        PathPattern::Prefix(path) => path.to_string(),
        PathPattern::Template(template) => template
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => format!("/{text}"),
                Segment::Capture(_) => "/x".to_owned(),
                Segment::Rest(_) => "/x/y".to_owned(),
            })
            .collect(),
        PathPattern::Regex(_) => return None,
    };
    assert_eq!(path::normalise(&path, &KEEP).as_deref(), Ok(&*path), "{pattern:?} never matches");
    Some(path)
}

/// As the documentation of the patterns has it.
fn takes(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Exact(exact) => **exact == *path,
        PathPattern::Prefix(prefix) => {
            **prefix == *path || path.starts_with(&format!("{}/", prefix.trim_end_matches('/')))
        }
        PathPattern::Regex(regex) => {
            regex.find_iter(path).any(|found| found.start() == 0 && found.end() == path.len())
        }
        PathPattern::Template(template) => template_takes(template, path),
    }
}

fn template_takes(template: &PathTemplate, path: &str) -> bool {
    let mut rest = Some(&path[1..]);
    for segment in &template.segments {
        let Some(left) = rest else { return false };
        let (first, after) = left.split_once('/').map_or((left, None), |(first, after)| (first, Some(after)));
        match segment {
            Segment::Literal(text) if **text == *first => rest = after,
            Segment::Capture(_) if !first.is_empty() => rest = after,
            Segment::Rest(_) => return !left.is_empty(),
            _ => return false,
        }
    }
    rest.is_none()
}

fn answer() -> Route {
    Route::new("only", Action::Respond { status: StatusCode::OK, headers: HeaderMap::new(), body: "".into() })
}

fn question<'a>(host: &'a str, path: &'a str) -> Question<'a> {
    static NONE: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
    Question { listener: "main", host, path, query: "", method: &Method::GET, headers: &NONE, client: None }
}

/// A header value with placeholders.
fn value(text: &str) {
    let Ok(parts) = template_parts(text) else {
        assert!(ValueTemplate::parse(text).is_err(), "{text}");
        return;
    };
    let written: String = parts
        .iter()
        .map(|part| match part {
            TemplatePart::Literal(text) => text.replace('{', "{{").replace('}', "}}"),
            TemplatePart::Placeholder(name) => format!("{{{name}}}"),
        })
        .collect();
    assert_eq!(written, text, "it is read as it was written");
    let template = ValueTemplate::parse(text).expect("its parts are");
    let placeholders = parts.iter().filter(|part| matches!(part, TemplatePart::Placeholder(_)));
    assert_eq!(template.names().count(), placeholders.count());
}
