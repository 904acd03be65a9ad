//! The plugins of a route, in order.

use std::rc::Rc;
use std::task::{Context, Waker};

use http::Response;
use tokio::task::spawn_local;
use weir_plugin::{Held, OnFailure, Phase, Selection, Step, Target, Verdict, Visit};

use super::admit::normalise;
use super::from_reply;
use crate::body::Body;
use crate::error::{Error, Kind, Result};
use crate::instances::Running;
use crate::net::InTurns;
use crate::route::CompiledRoute;
use crate::snapshot::Snapshot;
use crate::worker::Worker;

/// The plugins of a route on one exchange. Without memory of its own where the route has none.
#[derive(Default)]
pub(crate) struct Chain(Box<[Link]>);

/// A plugin on one exchange.
struct Link {
    running: Rc<Running>,
    visit: Box<dyn Visit>,
}

impl Chain {
    /// The chain of a route. Plugins start on first use.
    ///
    /// # Errors
    /// When a plugin that must not be left out does not start.
    pub(crate) async fn new(worker: &Worker, route: &CompiledRoute) -> Result<Self> {
        if route.spec.plugins.is_empty() {
            return Ok(Chain::default());
        }
        let mut links = Vec::with_capacity(route.spec.plugins.len());
        for plugin in &route.spec.plugins {
            match worker.instances.get(plugin).await {
                Ok(running) => links.push(Link { visit: running.instance.clone().visit(), running }),
                Err(error) => match plugin.policy().on_failure {
                    OnFailure::Closed => {
                        return Err(Error::because(Kind::Plugin, "a plugin did not start", error));
                    }
                    OnFailure::Open => {}
                },
            }
        }
        Ok(Chain(links.into()))
    }

    /// Runs `on_request` in order, up to the first plugin that answers.
    /// A path that one has set is brought into the form that those of clients have.
    pub(crate) async fn on_request(
        &mut self,
        x: &mut Held,
        snapshot: &Snapshot,
    ) -> Result<Option<Response<Body>>> {
        for link in self.0.iter_mut().filter(|link| link.running.hooks.request) {
            let before = x.uri.clone();
            let verdict = bounded(&link.running, link.visit.on_request(x)).await;
            let mut verdict = verdict.unwrap_or_else(Verdict::Fail);
            if let Err(error) = normalise(x, snapshot) {
                x.uri = before;
                verdict = Verdict::Fail(format!("the path that it has set cannot be: {}", error.detail()));
            }
            if let Some(response) = link.running.verdict(x, "on_request", verdict)? {
                return Ok(Some(response));
            }
        }
        Ok(None)
    }

    /// Whether a plugin wants to choose upstreams.
    pub(crate) fn wants_selection(&self) -> bool {
        self.0.iter().any(|link| link.running.hooks.select_upstream)
    }

    /// Runs `select_upstream` in order, up to the first plugin that decides.
    pub(crate) async fn select(&mut self, x: &mut Held, from: &Selection) -> Result<Target> {
        x.phase = Phase::Upstream;
        for link in self.0.iter_mut().filter(|link| link.running.hooks.select_upstream) {
            match bounded(&link.running, link.visit.select_upstream(x, from)).await.flatten() {
                Ok(Target::Default) => {}
                Ok(target) => return Ok(target),
                Err(message) => link.running.failed(x, "select_upstream", message)?,
            }
        }
        Ok(Target::Default)
    }

    /// Whether a plugin wants responses.
    pub(crate) fn wants_response(&self) -> bool {
        self.0.iter().any(|link| link.running.hooks.response)
    }

    /// Whether a plugin wants to be told of the end.
    pub(crate) fn wants_log(&self) -> bool {
        self.0.iter().any(|link| link.running.hooks.log)
    }

    /// Runs `on_response` in reverse order, up to the first plugin that answers.
    pub(crate) async fn on_response(&mut self, x: &mut Held) -> Result<Option<Response<Body>>> {
        x.phase = Phase::Response;
        for link in self.0.iter_mut().rev().filter(|link| link.running.hooks.response) {
            let verdict = bounded(&link.running, link.visit.on_response(x)).await;
            let verdict = verdict.unwrap_or_else(Verdict::Fail);
            if let Some(response) = link.running.verdict(x, "on_response", verdict)? {
                return Ok(Some(response));
            }
        }
        Ok(None)
    }

    /// Runs `on_log`. What waits goes on in a task of its own.
    pub(crate) fn on_log(self, x: &mut Held) {
        if self.wants_log() {
            x.phase = Phase::Ended;
            let mut logging = Box::pin(self.log(x.take()));
            if logging.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                spawn_local(logging);
            }
        }
    }

    async fn log(mut self, mut x: Held) {
        for link in self.0.iter_mut().filter(|link| link.running.hooks.log) {
            let logged = bounded(&link.running, link.visit.on_log(&mut x)).await.flatten();
            if let Err(message) = logged {
                link.running.tell(&x, "on_log", &message);
            }
        }
    }
}

/// Waits for a hook for as long as it may take.
async fn bounded<T>(running: &Running, step: Step<'_, T>) -> std::result::Result<T, String> {
    match step {
        Step::Done(value) => Ok(value),
        Step::Wait(waiting) => {
            let deadline = running.policy.limits.deadline;
            let late = |_| format!("it took longer than its deadline of {deadline:?}");
            tokio::time::timeout(deadline, InTurns::new(waiting)).await.map_err(late)
        }
    }
}

impl Running {
    /// What a verdict comes to: an answer, or the next plugin.
    fn verdict(&self, x: &Held, hook: &str, verdict: Verdict) -> Result<Option<Response<Body>>> {
        match verdict {
            Verdict::Proceed => Ok(None),
            Verdict::Respond(reply) => from_reply(reply).map(Some),
            Verdict::Fail(message) => self.failed(x, hook, message).map(|()| None),
        }
    }

    /// What happens when the plugin has failed.
    fn failed(&self, x: &Held, hook: &str, message: String) -> Result<()> {
        self.tell(x, hook, &message);
        match self.policy.on_failure {
            OnFailure::Open => Ok(()),
            OnFailure::Closed => Err(Error::because(Kind::Plugin, "a plugin failed", message)),
        }
    }

    fn tell(&self, x: &Held, hook: &str, message: &str) {
        let plugin = self.name.as_str();
        tracing::error!(plugin, hook, route = %x.route, request_id = ?x.request_id, "{message}");
    }
}
