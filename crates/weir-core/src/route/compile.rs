//! Building and asking a [`Router`].

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;
use weir_plugin::{Captures, Plugin};

use crate::spec::{self, PathPattern, Segment};
use crate::upstream::Group;

use super::order::{self, Entry, Overlap};
use super::table::Hosts;
use super::{CompiledRoute, Found, Question, RouteError, Router, condition};

impl Router {
    /// The plugins of all routes; one that several have comes as often.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<dyn Plugin>> {
        self.routes.iter().flat_map(|route| &route.spec.plugins)
    }

    /// Compiles routes.
    ///
    /// # Errors
    /// When two routes conflict or one names an upstream that is not there.
    pub fn new(routes: &[spec::Route], groups: &HashMap<Arc<str>, Arc<Group>>) -> Result<Self, RouteError> {
        let compiled = routes.iter().map(|route| compile(route, groups)).collect::<Result<Vec<_>, _>>()?;
        let mut entries: Vec<Entry> =
            routes.iter().enumerate().flat_map(|(index, route)| Entry::of(index, &route.matching)).collect();
        check_conflicts(&entries, routes)?;
        entries.sort_by(|a, b| {
            let ((a_route, b_route), of) = ((&routes[a.route], &routes[b.route]), order::conditions);
            a.by_place(b)
                .then_with(|| of(&b_route.matching).cmp(&of(&a_route.matching)))
                .then_with(|| order::by_detail((a, &a_route.matching), (b, &b_route.matching)))
                .then_with(|| a_route.name.cmp(&b_route.name))
        });
        Ok(Router { hosts: Hosts::new(&entries), entries, routes: compiled })
    }

    /// The route that takes a request. Allocates only captures.
    pub fn find(&self, question: &Question<'_>) -> Option<Found<'_>> {
        let index = self.hosts.find(question.host, question.path, &mut |index| {
            self.route_of(index).is_some_and(|route| condition::hold(&route.spec.matching, question))
        })?;
        let route = self.route_of(index)?;
        let captures =
            self.entries.get(index).map(|entry| captures(entry, question.path)).unwrap_or_default();
        Some(Found { route, captures })
    }

    /// The methods with which this request would have found a route, sorted: for `Allow` of a 405 (RFC 9110,
    /// section 15.5.6) where [`Router::find`] finds none. Empty: there is none with any method.
    pub fn allowed(&self, question: &Question<'_>) -> Vec<Method> {
        let mut methods: Vec<Method> =
            self.routes.iter().flat_map(|route| route.spec.matching.methods.iter().cloned()).collect();
        methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        methods.retain(|method| self.find(&Question { method, ..*question }).is_some());
        methods
    }

    /// All routes, in the order of the configuration.
    pub fn routes(&self) -> &[Arc<CompiledRoute>] {
        &self.routes
    }

    pub(super) fn route_of(&self, entry: usize) -> Option<&Arc<CompiledRoute>> {
        self.routes.get(self.entries.get(entry)?.route)
    }
}

fn compile(
    route: &spec::Route,
    groups: &HashMap<Arc<str>, Arc<Group>>,
) -> Result<Arc<CompiledRoute>, RouteError> {
    let group =
        match &route.action {
            spec::Action::Upstream(name) => Some(groups.get(name).cloned().ok_or_else(|| {
                RouteError::NoUpstream { route: route.name.clone(), upstream: name.clone() }
            })?),
            _ => None,
        };
    Ok(Arc::new(CompiledRoute { spec: route.clone(), group }))
}

/// Two routes at the same place with as many conditions must be told apart by them.
fn check_conflicts(entries: &[Entry], routes: &[spec::Route]) -> Result<(), RouteError> {
    let mut places: HashMap<(String, usize), Vec<&Entry>> = HashMap::new();
    for entry in entries {
        let count = order::conditions(&routes[entry.route].matching);
        let others = places.entry((entry.place_key(), count)).or_default();
        for other in others.iter().filter(|other| other.route != entry.route) {
            let (a, b) = (&routes[other.route], &routes[entry.route]);
            let (first, second) = (a.name.clone(), b.name.clone());
            match order::overlap(&a.matching, &b.matching) {
                Overlap::Apart => {}
                Overlap::Same => return Err(RouteError::Conflict { first, second }),
                Overlap::Unclear => return Err(RouteError::Ambiguous { first, second, at: entry.place() }),
            }
        }
        others.push(entry);
    }
    Ok(())
}

/// What the path of an entry that takes `path` captures.
fn captures(entry: &Entry, path: &str) -> Captures {
    match &entry.path {
        Some(PathPattern::Template(template)) => {
            let mut captures = Captures::new();
            let mut rest = path.strip_prefix('/').unwrap_or(path);
            for segment in &template.segments {
                let (text, after) = rest.split_once('/').unwrap_or((rest, ""));
                match segment {
                    Segment::Literal(_) => {}
                    Segment::Capture(name) => captures.push((name.clone(), text.to_owned())),
                    Segment::Rest(name) => captures.push((name.clone(), rest.to_owned())),
                }
                rest = after;
            }
            captures
        }
        Some(PathPattern::Regex(regex)) if regex.capture_names().any(|name| name.is_some()) => {
            let Some(found) = regex.captures(path) else { return Captures::new() };
            let named = regex.capture_names().flatten();
            named.filter_map(|name| Some((name.into(), found.name(name)?.as_str().to_owned()))).collect()
        }
        _ => Captures::new(),
    }
}
