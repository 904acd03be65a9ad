//! The tables in which a request's host and path are looked up. They hold indexes of entries, which are numbered
//! in the order of precedence, so that of two that match the smaller one is meant.

use std::collections::HashMap;

use crate::spec::{HostPattern, PathPattern, Segment};

use super::order::Entry;

/// Hosts in DNS have at most 253 characters; no pattern takes a longer one but "any".
const MAX_HOST: usize = 255;

/// By host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<str>, Paths>,
    /// With the dot, `.example.com`.
    suffix: HashMap<Box<str>, Paths>,
    any: Option<Paths>,
}

impl Hosts {
    /// The table of entries that are in the order of precedence.
    pub(super) fn new(entries: &[Entry]) -> Self {
        let mut hosts = Hosts::default();
        for (index, entry) in entries.iter().enumerate() {
            let paths = match &entry.host {
                Some(HostPattern::Exact(name)) => hosts.exact.entry((&**name).into()).or_default(),
                Some(HostPattern::Suffix(suffix)) => hosts.suffix.entry((&**suffix).into()).or_default(),
                None => hosts.any.get_or_insert_default(),
            };
            paths.add(index, entry.path.as_ref());
        }
        hosts
    }

    /// The first entry for this host and path that `takes` says yes to.
    pub(super) fn find(&self, host: &str, path: &str, takes: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        let mut buffer = [0u8; MAX_HOST];
        if !(self.exact.is_empty() && self.suffix.is_empty())
            && let Some(host) = lower(host, &mut buffer)
        {
            let exact = self.exact.get(host).and_then(|paths| paths.find(path, takes));
            if exact.is_some() {
                return exact;
            }
            if !self.suffix.is_empty() {
                // The longest first. A suffix takes at least one character before it.
                for (at, _) in host.match_indices('.').filter(|(at, _)| *at > 0) {
                    let paths = host.get(at..).and_then(|suffix| self.suffix.get(suffix));
                    if let Some(found) = paths.and_then(|paths| paths.find(path, takes)) {
                        return Some(found);
                    }
                }
            }
        }
        self.any.as_ref()?.find(path, takes)
    }
}

/// The host in the form that patterns have: lower case, without a final dot. `None`: no pattern takes it.
pub(super) fn lower<'a>(host: &'a str, buffer: &'a mut [u8; MAX_HOST]) -> Option<&'a str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if !host.bytes().any(|b| b.is_ascii_uppercase()) {
        return Some(host);
    }
    let lower = buffer.get_mut(..host.len())?;
    lower.copy_from_slice(host.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}

/// By path, within one host.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, Vec<usize>>,
    templates: Option<Node>,
    prefixes: Option<Node>,
    regexes: Vec<(regex::Regex, usize)>,
    any: Vec<usize>,
}

/// A node of a trie of path segments.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    capture: Option<Box<Node>>,
    /// Templates whose last segment takes the rest from here, at least one character.
    rest: Vec<usize>,
    /// Templates that end here; prefixes that reach here.
    ends: Vec<usize>,
    /// The smallest index in this node and below it.
    first: Option<usize>,
}

impl Paths {
    fn add(&mut self, index: usize, path: Option<&PathPattern>) {
        match path {
            None => self.any.push(index),
            Some(PathPattern::Exact(path)) => self.exact.entry((&**path).into()).or_default().push(index),
            Some(PathPattern::Regex(regex)) => self.regexes.push((regex.clone(), index)),
            Some(PathPattern::Prefix(prefix)) => {
                let mut node = self.prefixes.get_or_insert_default();
                node.reach(index);
                if **prefix != *"/" {
                    for segment in prefix.strip_prefix('/').unwrap_or(prefix).split('/') {
                        node = node.literals.entry(segment.into()).or_default();
                        node.reach(index);
                    }
                }
                node.ends.push(index);
            }
            Some(PathPattern::Template(template)) => {
                let mut node = self.templates.get_or_insert_default();
                node.reach(index);
                for segment in &template.segments {
                    node = match segment {
                        Segment::Literal(text) => node.literals.entry((&**text).into()).or_default(),
                        Segment::Capture(_) => node.capture.get_or_insert_default(),
                        Segment::Rest(_) => return node.rest.push(index),
                    };
                    node.reach(index);
                }
                node.ends.push(index);
            }
        }
    }

    fn find(&self, path: &str, takes: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        let mut first = |list: &[usize]| list.iter().copied().find(|index| takes(*index));
        if let Some(found) = self.exact.get(path).and_then(|list| first(list)) {
            return Some(found);
        }
        let segments = path.strip_prefix('/').unwrap_or(path);
        if let Some(root) = &self.templates {
            let mut best = None;
            root.best(Some(segments), &mut best, &mut first);
            if best.is_some() {
                return best;
            }
        }
        if let Some(root) = &self.prefixes
            && let Some(found) = root.longest(Some(segments), &mut first)
        {
            return Some(found);
        }
        for (regex, index) in &self.regexes {
            if super::condition::is_whole(regex, path) && first(&[*index]).is_some() {
                return Some(*index);
            }
        }
        first(&self.any)
    }
}

/// The first segment of what is left of a path, and what is left after it; `None`: nothing is left.
fn split(rest: Option<&str>) -> Option<(&str, Option<&str>)> {
    let rest = rest?;
    Some(rest.split_once('/').map_or((rest, None), |(segment, after)| (segment, Some(after))))
}

impl Node {
    fn reach(&mut self, index: usize) {
        self.first = Some(self.first.map_or(index, |first| first.min(index)));
    }

    /// The smallest index of a template that takes what is left of the path. Visits a node at most once, so the
    /// work is bounded by the size of the trie, and looks into none that can only be worse.
    fn best(
        &self,
        rest: Option<&str>,
        best: &mut Option<usize>,
        first: &mut dyn FnMut(&[usize]) -> Option<usize>,
    ) {
        if matches!((*best, self.first), (Some(best), Some(first)) if best < first) {
            return;
        }
        let mut keep = |found: Option<usize>| {
            if let Some(found) = found {
                *best = Some(best.map_or(found, |best: usize| best.min(found)));
            }
        };
        let Some((segment, after)) = split(rest) else {
            return keep(first(&self.ends));
        };
        if rest.is_some_and(|rest| !rest.is_empty()) {
            keep(first(&self.rest));
        }
        if let Some(node) = self.literals.get(segment) {
            node.best(after, best, first);
        }
        if let Some(node) = self.capture.as_deref().filter(|_| !segment.is_empty()) {
            node.best(after, best, first);
        }
    }

    /// The longest prefix of what is left of the path.
    fn longest(&self, rest: Option<&str>, first: &mut dyn FnMut(&[usize]) -> Option<usize>) -> Option<usize> {
        let below =
            split(rest).and_then(|(segment, after)| self.literals.get(segment)?.longest(after, first));
        below.or_else(|| first(&self.ends))
    }
}
