//! The plugins of a route, in order.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use http::{HeaderMap, HeaderValue, Method, Response};
use http_body::Body as _;
use tokio::task::spawn_local;
use weir_plugin::message::body;
use weir_plugin::message::headers::Side;
use weir_plugin::{Exchange, Held, OnFailure, Phase, Selection, Step, Target, Verdict, Visit};

use super::admit::normalise;
use super::content::{Answered, Flowing};
use super::from_reply;
use crate::action::decompress;
use crate::body::Body;
use crate::error::{Error, Kind, Result};
use crate::headers::is_bodiless;
use crate::instances::Running;
use crate::net::InTurns;
use crate::route::CompiledRoute;
use crate::snapshot::Snapshot;
use crate::worker::Worker;

/// The plugins of a route on one exchange. Without memory of its own where the route has none.
#[derive(Default)]
pub(crate) struct Chain(pub(super) Box<[Link]>);

/// A plugin on one exchange.
pub(super) struct Link {
    pub(super) running: Rc<Running>,
    pub(super) visit: Box<dyn Visit>,
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

    /// Whether there is no plugin.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The most bytes of a body that any of the plugins may read.
    pub(crate) fn most_of_a_body(&self) -> usize {
        self.0.iter().map(|link| link.running.policy.limits.body).max().unwrap_or_default()
    }

    /// Leads the body of a request through the plugins that want to see it pass, in order.
    pub(super) fn flow_request(&mut self, x: &mut Held, body: Body, answered: &Answered) -> Body {
        if body.is_end_stream() {
            return body;
        }
        let links = self.0.iter_mut().filter(|link| link.running.hooks.request_body);
        let mut headers = std::mem::take(&mut x.headers);
        let body = flow(links, Side::Request, x, &mut headers, body, Some(answered));
        x.headers = headers;
        body
    }

    /// Leads the body of a response through the plugins that want to see it pass, in reverse order.
    pub(super) fn flow_response(&mut self, x: &Exchange, response: Response<Body>) -> Response<Body> {
        if !self.0.iter().any(|link| link.running.hooks.response_body) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        if x.method == Method::HEAD {
            // What would be said of the body that a plugin makes of it is not known.
            body::decoded(&mut parts.headers);
            body::changed(&mut parts.headers);
        }
        let body = if is_bodiless(&x.method, parts.status) { Body::Empty } else { body };
        let links = self.0.iter_mut().rev().filter(|link| link.running.hooks.response_body);
        let body = flow(links, Side::Response, x, &mut parts.headers, body, None);
        Response::from_parts(parts, body)
    }

    /// Runs `on_request` in order, up to the first plugin that answers. A plugin that fails because the body broke off is no
    /// failure of the plugin: whoever takes the body back is told.
    pub(crate) async fn on_request(
        &mut self,
        x: &mut Held,
        snapshot: &Snapshot,
    ) -> Result<Option<Response<Body>>> {
        for link in self.0.iter_mut().filter(|link| link.running.hooks.request) {
            let verdict = link.on_request(x, snapshot).await;
            if matches!(verdict, Verdict::Fail(_)) && x.request_body.is_broken() {
                return Ok(None);
            }
            if let Some(response) = link.running.verdict(x, "on_request", verdict)? {
                return Ok(Some(response));
            }
        }
        Ok(None)
    }

    /// The chain of a route that is tried: plugins start as in [`Chain::new`].
    ///
    /// # Errors
    /// The name of a plugin that does not start, and why.
    pub(crate) async fn tried(
        worker: &Worker,
        route: &CompiledRoute,
    ) -> std::result::Result<Self, (String, String)> {
        let mut links = Vec::with_capacity(route.spec.plugins.len());
        for plugin in &route.spec.plugins {
            let running = worker.instances.get(plugin).await;
            let running = running.map_err(|error| (error.plugin, error.message))?;
            links.push(Link { visit: running.instance.clone().visit(), running });
        }
        Ok(Chain(links.into()))
    }

    /// As [`Chain::on_request`], for a request that nobody waits for.
    ///
    /// # Errors
    /// The name of the first plugin that fails, and why.
    pub(crate) async fn try_request(
        &mut self,
        x: &mut Held,
        snapshot: &Snapshot,
    ) -> std::result::Result<(), (String, String)> {
        for link in self.0.iter_mut().filter(|link| link.running.hooks.request) {
            let failed = match link.on_request(x, snapshot).await {
                Verdict::Proceed => continue,
                Verdict::Respond(reply) => match from_reply(reply) {
                    Ok(_) => return Ok(()),
                    Err(error) => error.detail().to_owned(),
                },
                Verdict::Fail(message) => message,
            };
            return Err((link.running.name.clone(), failed));
        }
        Ok(())
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
                Err(message) => link.running.failed(&Whose::of(x), "select_upstream", message)?,
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
            if matches!(verdict, Verdict::Fail(_)) && x.response_body.is_broken() {
                return Ok(None);
            }
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
                link.running.tell(&Whose::of(&x), "on_log", &message);
            }
        }
    }
}

impl Link {
    /// Asks the plugin, for as long as that may take. A path that it has set is brought into the form that those of
    /// clients have.
    async fn on_request(&mut self, x: &mut Held, snapshot: &Snapshot) -> Verdict {
        let before = x.uri.clone();
        let verdict = bounded(&self.running, self.visit.on_request(x)).await;
        let verdict = verdict.unwrap_or_else(Verdict::Fail);
        if x.uri != before
            && let Err(error) = normalise(x, snapshot)
        {
            x.uri = before;
            return Verdict::Fail(format!("the path that it has set cannot be: {}", error.detail()));
        }
        verdict
    }
}

/// Leads a body through plugins. Without its content coding, from the first one on.
fn flow<'a>(
    links: impl Iterator<Item = &'a mut Link>,
    side: Side,
    x: &Exchange,
    headers: &mut HeaderMap,
    mut body: Body,
    answered: Option<&Answered>,
) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let mut first = true;
    for link in links {
        let Some(flow) = link.visit.flow(side, x) else { continue };
        if std::mem::replace(&mut first, false) {
            if let Some(coding) = body::coding(headers) {
                let kind = if side == Side::Request { Kind::BadRequest } else { Kind::UpstreamInvalid };
                body = decompress(body, coding, kind);
                body::decoded(headers);
            }
            body::changed(headers);
        }
        body = Flowing::through(body, flow, link.running.clone(), Whose::of(x), answered.cloned());
    }
    body
}

/// Waits for a hook for as long as it may take.
pub(crate) async fn bounded<T>(running: &Running, step: Step<'_, T>) -> std::result::Result<T, String> {
    match step {
        Step::Done(value) => Ok(value),
        Step::Wait(waiting) => {
            let _waits = running.wait()?;
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
            Verdict::Fail(message) => self.failed(&Whose::of(x), hook, message).map(|()| None),
        }
    }

    /// What happens when the plugin has failed.
    ///
    /// # Errors
    /// Where the exchange cannot go on without it.
    pub(crate) fn failed(&self, whose: &Whose, hook: &str, message: String) -> Result<()> {
        self.tell(whose, hook, &message);
        match self.policy.on_failure {
            OnFailure::Open => Ok(()),
            OnFailure::Closed => Err(Error::because(Kind::Plugin, "a plugin failed", message)),
        }
    }

    /// Waits for a hook that belongs to no exchange.
    pub(crate) async fn beside(&self, hook: &str, step: Step<'static, std::result::Result<(), String>>) {
        if let Err(message) = bounded(self, step).await.flatten() {
            let plugin = self.name.as_str();
            tracing::error!(plugin, hook, "{message}");
        }
    }

    pub(crate) fn tell(&self, whose: &Whose, hook: &str, message: &str) {
        let plugin = self.name.as_str();
        tracing::error!(plugin, hook, route = %whose.route, request_id = ?whose.request_id, "{message}");
    }
}

/// What the log has to say whose exchange it was.
#[derive(Clone)]
pub(crate) struct Whose {
    route: Arc<str>,
    request_id: HeaderValue,
}

impl Whose {
    pub(super) fn of(x: &Exchange) -> Self {
        Whose { route: x.route.clone(), request_id: x.request_id.clone() }
    }
}
