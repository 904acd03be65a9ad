//! The plugins of a route, in order.

use std::rc::Rc;

use http::Response;
use weir_plugin::{Candidate, Exchange, Hooks, Instance, Target, Verdict};

use super::from_reply;
use crate::body::Body;
use crate::error::{Error, Kind, Result};
use crate::route::CompiledRoute;
use crate::worker::Worker;

/// The plugins of a route on this worker. Empty and without memory of its own where the route has none.
#[derive(Clone, Default)]
pub(crate) struct Chain(Option<Rc<[Link]>>);

/// A plugin with the hooks that it wants.
type Link = (Hooks, Rc<dyn Instance>);

impl Chain {
    /// The chain of a route; instances are made on first use and kept by the worker.
    pub(crate) fn new(worker: &Worker, route: &CompiledRoute) -> Result<Self> {
        if route.spec.plugins.is_empty() {
            return Ok(Chain(None));
        }
        let instance = |plugin| match worker.instance(plugin) {
            Ok(instance) => Ok((plugin.hooks(), instance)),
            Err(e) => Err(Error::because(Kind::Plugin, "a plugin did not start", e)),
        };
        Ok(Chain(Some(route.spec.plugins.iter().map(instance).collect::<Result<_>>()?)))
    }

    fn iter(&self) -> impl DoubleEndedIterator<Item = &Link> {
        self.0.iter().flat_map(|plugins| plugins.iter())
    }

    /// Runs `on_request` in order, up to the first plugin that answers.
    pub(crate) async fn on_request(&self, x: &mut Exchange) -> Result<Option<Response<Body>>> {
        for (_, plugin) in self.iter().filter(|(hooks, _)| hooks.request) {
            if let Some(response) = verdict(plugin.on_request(x).finish().await)? {
                return Ok(Some(response));
            }
        }
        Ok(None)
    }

    /// Runs `select_upstream` in order, up to the first plugin that decides.
    pub(crate) async fn select(&self, x: &mut Exchange, from: &dyn Fn() -> Vec<Candidate>) -> Target {
        let mut candidates = None;
        let attempt = x.attempts;
        for (_, plugin) in self.iter().filter(|(hooks, _)| hooks.select_upstream) {
            let candidates = candidates.get_or_insert_with(from);
            match plugin.select_upstream(x, candidates, attempt).finish().await {
                Target::Default => {}
                target => return target,
            }
        }
        Target::Default
    }

    /// Whether a plugin wants responses.
    pub(crate) fn wants_response(&self) -> bool {
        self.iter().any(|(hooks, _)| hooks.response)
    }

    /// Runs `on_response` in reverse order, up to the first plugin that answers.
    pub(crate) async fn on_response(&self, x: &mut Exchange) -> Result<Option<Response<Body>>> {
        for (_, plugin) in self.iter().rev().filter(|(hooks, _)| hooks.response) {
            if let Some(response) = verdict(plugin.on_response(x).finish().await)? {
                return Ok(Some(response));
            }
        }
        Ok(None)
    }

    /// Runs `on_log`.
    pub(crate) fn on_log(&self, x: &Exchange) {
        self.iter().filter(|(hooks, _)| hooks.log).for_each(|(_, plugin)| plugin.on_log(x));
    }
}

fn verdict(verdict: Verdict) -> Result<Option<Response<Body>>> {
    match verdict {
        Verdict::Proceed => Ok(None),
        Verdict::Respond(reply) => from_reply(reply).map(Some),
        Verdict::Fail(message) => Err(Error::because(Kind::Plugin, "a plugin failed", message)),
    }
}
