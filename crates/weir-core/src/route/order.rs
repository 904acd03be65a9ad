//! The precedence of routes, as an order of entries.

use std::cmp::{Ordering, Reverse};

use ipnet::IpNet;

use crate::spec::{HostPattern, Match, PathPattern, Segment, ValueMatch};

/// One host and one path of a route.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// `None`: any.
    pub(super) host: Option<HostPattern>,
    /// `None`: any.
    pub(super) path: Option<PathPattern>,
    /// Index of the route.
    pub(super) route: usize,
}

impl Entry {
    /// All entries of a route.
    pub(super) fn of(route: usize, matching: &Match) -> Vec<Entry> {
        let hosts: Vec<_> = match matching.hosts.as_slice() {
            [] => vec![None],
            hosts => hosts.iter().cloned().map(Some).collect(),
        };
        let mut entries = Vec::new();
        for host in hosts {
            if matching.paths.is_empty() {
                entries.push(Entry { host, path: None, route });
                continue;
            }
            let paths = matching.paths.iter().map(|path| match path {
                // A final slash of a prefix changes nothing.
                PathPattern::Prefix(prefix) if prefix.len() > 1 => {
                    PathPattern::Prefix(prefix.strip_suffix('/').unwrap_or(prefix).into())
                }
                path => path.clone(),
            });
            entries.extend(paths.map(|path| Entry { host: host.clone(), path: Some(path), route }));
        }
        entries
    }

    /// Steps 1 and 2 of the precedence. Equal: the same requests, as far as host and path go, or (for regular
    /// expressions, and suffixes and templates of the same shape) requests that cannot be told apart by them.
    pub(super) fn by_place(&self, other: &Entry) -> Ordering {
        by_host(self.host.as_ref(), other.host.as_ref())
            .then_with(|| by_path(self.path.as_ref(), other.path.as_ref()))
    }

    /// The same text for entries whose host and path are the same, so that only conditions tell requests apart.
    pub(super) fn place_key(&self) -> String {
        let host = self.host.as_ref().map_or_else(String::new, HostPattern::to_string);
        match &self.path {
            None => format!("{host} "),
            Some(PathPattern::Exact(path)) => format!("{host} ={path}"),
            Some(PathPattern::Prefix(path)) => format!("{host} <{path}"),
            Some(PathPattern::Regex(regex)) => format!("{host} ~{regex}"),
            Some(PathPattern::Template(template)) => {
                let segments = template.segments.iter().map(|segment| match segment {
                    Segment::Literal(text) => text,
                    Segment::Capture(_) => "{}",
                    Segment::Rest(_) => "{*}",
                });
                format!("{host} {{{}", segments.collect::<Vec<_>>().join("/"))
            }
        }
    }

    /// Where it is, in words.
    pub(super) fn place(&self) -> String {
        let host = self.host.as_ref().map_or_else(|| "any host".to_owned(), |h| format!("host {h}"));
        let path = match &self.path {
            None => "any path".to_owned(),
            Some(PathPattern::Exact(path)) => format!("path {path}"),
            Some(PathPattern::Prefix(path)) => format!("paths below {path}"),
            Some(PathPattern::Template(template)) => format!("paths like {}", template.source),
            Some(PathPattern::Regex(regex)) => format!("paths that match {regex}"),
        };
        format!("{host}, {path}")
    }
}

fn by_host(a: Option<&HostPattern>, b: Option<&HostPattern>) -> Ordering {
    let key = |host: Option<&HostPattern>| match host {
        Some(HostPattern::Exact(_)) => (0, Reverse(0)),
        Some(HostPattern::Suffix(suffix)) => (1, Reverse(suffix.len())),
        None => (2, Reverse(0)),
    };
    key(a).cmp(&key(b))
}

fn by_path(a: Option<&PathPattern>, b: Option<&PathPattern>) -> Ordering {
    let rank = |path: Option<&PathPattern>| match path {
        Some(PathPattern::Exact(_)) => 0,
        Some(PathPattern::Template(_)) => 1,
        Some(PathPattern::Prefix(_)) => 2,
        Some(PathPattern::Regex(_)) => 3,
        None => 4,
    };
    rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
        (Some(PathPattern::Template(a)), Some(PathPattern::Template(b))) => {
            by_segments(&a.segments, &b.segments)
        }
        (Some(PathPattern::Prefix(a)), Some(PathPattern::Prefix(b))) => b.len().cmp(&a.len()),
        _ => Ordering::Equal,
    })
}

fn by_segments(a: &[Segment], b: &[Segment]) -> Ordering {
    let literals = |s: &[Segment]| s.iter().filter(|s| matches!(s, Segment::Literal(_))).count();
    let kind = |s: &Segment| match s {
        Segment::Literal(_) => 0,
        Segment::Capture(_) => 1,
        Segment::Rest(_) => 2,
    };
    literals(b).cmp(&literals(a)).then_with(|| a.iter().map(kind).cmp(b.iter().map(kind)))
}

/// Step 3: how many further conditions.
pub(super) fn conditions(matching: &Match) -> usize {
    usize::from(!matching.methods.is_empty())
        + usize::from(!matching.clients.is_empty())
        + usize::from(!matching.listeners.is_empty())
        + matching.headers.len()
        + matching.query.len()
}

/// Step 4: what is asked first where steps 1 to 3 say nothing: more specific values of fields, more specific
/// networks, then a regular expression with the longer text.
pub(super) fn by_detail(a: (&Entry, &Match), b: (&Entry, &Match)) -> Ordering {
    let values = |m: &Match| {
        let mut keys: Vec<_> = m.headers.iter().map(|(_, v)| value_key(v)).collect();
        keys.extend(m.query.iter().map(|(_, v)| value_key(v)));
        keys.sort();
        keys
    };
    let network = |m: &Match| Reverse(m.clients.iter().map(IpNet::prefix_len).min().unwrap_or(0));
    let regex = |e: &Entry| match &e.path {
        Some(PathPattern::Regex(regex)) => (Reverse(regex.as_str().len()), regex.as_str().to_owned()),
        _ => (Reverse(0), String::new()),
    };
    values(a.1)
        .cmp(&values(b.1))
        .then_with(|| network(a.1).cmp(&network(b.1)))
        .then_with(|| regex(a.0).cmp(&regex(b.0)))
}

fn value_key(value: &ValueMatch) -> (u8, Reverse<usize>) {
    match value {
        ValueMatch::Exact(_) => (0, Reverse(0)),
        ValueMatch::Prefix(prefix) => (1, Reverse(prefix.len())),
        ValueMatch::Regex(regex) => (2, Reverse(regex.as_str().len())),
        ValueMatch::Present => (3, Reverse(0)),
        ValueMatch::Absent => (4, Reverse(0)),
    }
}

/// How two routes with the same place and as many conditions stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    /// The same conditions.
    Same,
    /// Some requests fulfil both, and nothing says which route is meant.
    Unclear,
    /// No request fulfils both, or they look at the same field and step 4 decides.
    Apart,
}

/// Compares the further conditions.
pub(super) fn overlap(a: &Match, b: &Match) -> Overlap {
    let headers = fields(&a.headers, &b.headers);
    let query = fields(&a.query, &b.query);
    let listeners = lists(&a.listeners, &b.listeners);
    let methods = lists(&a.methods, &b.methods);
    let clients = match lists(&a.clients, &b.clients) {
        // Two lists of networks are told apart by their sizes, or do not overlap.
        Overlap::Unclear if !a.clients.is_empty() && !b.clients.is_empty() => {
            networks(&a.clients, &b.clients)
        }
        other => other,
    };
    let all = [headers, query, listeners, methods, clients];
    if all.contains(&Overlap::Apart) {
        Overlap::Apart
    } else if all.contains(&Overlap::Unclear) {
        Overlap::Unclear
    } else {
        Overlap::Same
    }
}

fn lists<T: PartialEq>(a: &[T], b: &[T]) -> Overlap {
    if a.iter().all(|x| b.contains(x)) && b.iter().all(|x| a.contains(x)) {
        Overlap::Same
    } else if a.is_empty() || b.is_empty() || a.iter().any(|x| b.contains(x)) {
        Overlap::Unclear
    } else {
        Overlap::Apart
    }
}

fn networks(a: &[IpNet], b: &[IpNet]) -> Overlap {
    let size = |nets: &[IpNet]| nets.iter().map(IpNet::prefix_len).min();
    let shares = a.iter().any(|x| b.iter().any(|y| x.contains(y) || y.contains(x)));
    if shares && size(a) == size(b) { Overlap::Unclear } else { Overlap::Apart }
}

/// A field that both look at tells them apart where what they ask of it differs.
fn fields<N: PartialEq>(a: &[(N, ValueMatch)], b: &[(N, ValueMatch)]) -> Overlap {
    let same = |x: &ValueMatch, y: &ValueMatch| match (x, y) {
        (ValueMatch::Present, ValueMatch::Present) | (ValueMatch::Absent, ValueMatch::Absent) => true,
        (ValueMatch::Exact(x), ValueMatch::Exact(y)) | (ValueMatch::Prefix(x), ValueMatch::Prefix(y)) => {
            x == y
        }
        (ValueMatch::Regex(x), ValueMatch::Regex(y)) => x.as_str() == y.as_str(),
        _ => false,
    };
    let has = |list: &[(N, ValueMatch)], item: &(N, ValueMatch)| {
        list.iter().any(|other| other.0 == item.0 && same(&other.1, &item.1))
    };
    if a.iter().all(|x| has(b, x)) && b.iter().all(|x| has(a, x)) {
        Overlap::Same
    } else if a.iter().any(|(name, x)| b.iter().any(|(other, y)| name == other && !same(x, y))) {
        Overlap::Apart
    } else {
        Overlap::Unclear
    }
}
