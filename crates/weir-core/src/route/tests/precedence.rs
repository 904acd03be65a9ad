//! Random tables of routes, against the documented precedence written down without tables.

use proptest::prelude::*;

use super::{Asked, matching, name_of, router};
use crate::spec::{HostPattern, PathPattern, Segment};

/// The precedence as the documentation of [`crate::route`] has it, without tables.
fn naive(routes: &[(&str, String)], asked: &Asked) -> String {
    let q = asked.question();
    let mut best: Option<(Vec<i64>, &str)> = None;
    for (name, words) in routes {
        let m = matching(words);
        let conditions_hold = (m.methods.is_empty() || m.methods.contains(q.method))
            && m.headers.iter().all(|(name, _)| q.headers.contains_key(name));
        let hosts: Vec<Option<&HostPattern>> =
            if m.hosts.is_empty() { vec![None] } else { m.hosts.iter().map(Some).collect() };
        let paths: Vec<Option<&PathPattern>> =
            if m.paths.is_empty() { vec![None] } else { m.paths.iter().map(Some).collect() };
        for host in &hosts {
            for path in &paths {
                let (Some(mut key), Some(path_key)) = (host_key(*host, q.host), path_key(*path, q.path))
                else {
                    continue;
                };
                if !conditions_hold {
                    continue;
                }
                key.extend(path_key);
                key.push(-((!m.methods.is_empty()) as i64 + m.headers.len() as i64));
                if best.as_ref().is_none_or(|best| (&key, *name) < (&best.0, best.1)) {
                    best = Some((key, name));
                }
            }
        }
    }
    best.map_or("-", |best| best.1).to_owned()
}

fn host_key(pattern: Option<&HostPattern>, host: &str) -> Option<Vec<i64>> {
    match pattern {
        None => Some(vec![2, 0]),
        Some(HostPattern::Exact(name)) => (**name == *host).then(|| vec![0, 0]),
        Some(HostPattern::Suffix(suffix)) => {
            (host.ends_with(&**suffix) && host.len() > suffix.len()).then(|| vec![1, -(suffix.len() as i64)])
        }
    }
}

fn path_key(pattern: Option<&PathPattern>, path: &str) -> Option<Vec<i64>> {
    let segments: Vec<&str> = path[1..].split('/').collect();
    // Padded to one length, so that keys of different kinds compare field by field.
    let pad = |mut key: Vec<i64>| {
        key.resize(8, 0);
        key
    };
    match pattern {
        None => Some(pad(vec![4])),
        Some(PathPattern::Exact(text)) => (**text == *path).then(|| pad(vec![0])),
        Some(PathPattern::Prefix(prefix)) => {
            let below = format!("{}/", prefix.trim_end_matches('/'));
            (**prefix == *path || path.starts_with(&below)).then(|| pad(vec![2, -(prefix.len() as i64)]))
        }
        Some(PathPattern::Regex(regex)) => regex.is_match(path).then(|| pad(vec![3])),
        Some(PathPattern::Template(template)) => {
            let mut kinds = Vec::new();
            let mut literals = 0;
            for (i, segment) in template.segments.iter().enumerate() {
                match segment {
                    Segment::Literal(text) if segments.get(i) == Some(&&**text) => {
                        literals += 1;
                        kinds.push(0);
                    }
                    Segment::Capture(_) if segments.get(i).is_some_and(|s| !s.is_empty()) => kinds.push(1),
                    Segment::Rest(_) if segments.len() > i && !segments[i..].join("/").is_empty() => {
                        kinds.push(2);
                    }
                    _ => return None,
                }
            }
            let rest = matches!(template.segments.last(), Some(Segment::Rest(_)));
            if !rest && template.segments.len() != segments.len() {
                return None;
            }
            let mut key = vec![1, -literals];
            key.extend(kinds);
            Some(pad(key))
        }
    }
}

fn some_path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "c", "{x}", "{y}"]);
    let end = prop::sample::select(vec!["", "", "*", "/{r*}", "/"]);
    (prop::collection::vec(segment, 0..4), end).prop_map(|(segments, end)| {
        let mut seen = std::collections::HashSet::new();
        let segments: Vec<&str> =
            segments.into_iter().filter(|s| !s.starts_with('{') || seen.insert(*s)).collect();
        let path = format!("/{}", segments.join("/"));
        match end {
            "*" if path.contains('{') => path,
            "*" | "" => format!("{path}{end}"),
            _ if path == "/" => format!("/{}", end.trim_start_matches('/')),
            _ => format!("{path}{end}"),
        }
    })
}

fn some_route() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec!["", "", "a.x", "b.a.x", "*.x", "*.a.x"]);
    let path = prop_oneof![4 => some_path(), 1 => Just(String::new()), 1 => Just("~/[ab]/.*".to_owned())];
    let conditions = prop::sample::select(vec!["", "", "GET", "POST", "h:k", "GET h:k"]);
    (host, path, conditions).prop_map(|(host, path, conditions)| format!("{host} {path} {conditions}"))
}

fn some_question() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec!["", "a.x", "b.a.x", "c.a.x", "c.x", "y"]);
    let path = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d", ""]), 1..5);
    let more = prop::sample::select(vec!["GET", "POST", "GET k=1", "PUT k=1"]);
    (host, path, more).prop_map(|(host, path, more)| format!("{host} /{} {more}", path.join("/")))
}

proptest! {
    #[test]
    fn finding_agrees_with_the_documented_precedence(
        routes in prop::collection::vec(some_route(), 1..24),
        asked in prop::collection::vec(some_question(), 1..24),
    ) {
        const NAMES: &str = "abcdefghijklmnopqrstuvwxyz";
        let mut kept: Vec<(&str, String)> = Vec::new();
        for words in routes {
            // Routes that conflict are left out.
            let name = &NAMES[kept.len()..=kept.len()];
            kept.push((name, words));
            let table: Vec<(&str, &str)> = kept.iter().map(|(n, w)| (*n, w.as_str())).collect();
            if router(&table).is_err() {
                kept.pop();
            }
        }
        let table: Vec<(&str, &str)> = kept.iter().map(|(n, w)| (*n, w.as_str())).collect();
        let compiled = router(&table).expect("conflicts were left out");
        for words in asked {
            let asked = Asked::new(&words);
            prop_assert_eq!(name_of(&compiled, &asked), naive(&kept, &asked), "{} on {:?}", words, kept);
        }
    }
}
