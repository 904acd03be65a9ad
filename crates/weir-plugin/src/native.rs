//! Plugins as Rust closures: for tests, and the proof that the data plane knows no engine.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::{Candidate, Exchange, Hooks, Instance, Plugin, PluginError, Step, Target, Verdict};

type RequestHook = dyn Fn(&mut Exchange) -> Verdict + Send + Sync;
type SelectHook = dyn Fn(&mut Exchange, &[Candidate], u32) -> Target + Send + Sync;
type LogHook = dyn Fn(&Exchange) + Send + Sync;

/// A plugin made of closures.
///
/// ```
/// use weir_plugin::{Verdict, native::Native};
/// let plugin = Native::new("stamp").on_request(|x| {
///     x.headers.insert("x-stamp", http::HeaderValue::from_static("1"));
///     Verdict::Proceed
/// });
/// # let _ = plugin;
/// ```
#[derive(Clone)]
pub struct Native {
    name: Arc<str>,
    request: Option<Arc<RequestHook>>,
    select: Option<Arc<SelectHook>>,
    response: Option<Arc<RequestHook>>,
    log: Option<Arc<LogHook>>,
}

impl Native {
    /// A plugin of this name without hooks.
    pub fn new(name: &str) -> Self {
        Native { name: name.into(), request: None, select: None, response: None, log: None }
    }

    /// Sets [`Instance::on_request`].
    pub fn on_request(mut self, hook: impl Fn(&mut Exchange) -> Verdict + Send + Sync + 'static) -> Self {
        self.request = Some(Arc::new(hook));
        self
    }

    /// Sets [`Instance::select_upstream`].
    pub fn select_upstream(
        mut self,
        hook: impl Fn(&mut Exchange, &[Candidate], u32) -> Target + Send + Sync + 'static,
    ) -> Self {
        self.select = Some(Arc::new(hook));
        self
    }

    /// Sets [`Instance::on_response`].
    pub fn on_response(mut self, hook: impl Fn(&mut Exchange) -> Verdict + Send + Sync + 'static) -> Self {
        self.response = Some(Arc::new(hook));
        self
    }

    /// Sets [`Instance::on_log`].
    pub fn on_log(mut self, hook: impl Fn(&Exchange) + Send + Sync + 'static) -> Self {
        self.log = Some(Arc::new(hook));
        self
    }
}

impl fmt::Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Native").field("name", &self.name).field("hooks", &self.hooks()).finish()
    }
}

impl Plugin for Native {
    fn name(&self) -> &str {
        &self.name
    }

    fn hooks(&self) -> Hooks {
        Hooks {
            request: self.request.is_some(),
            select_upstream: self.select.is_some(),
            response: self.response.is_some(),
            log: self.log.is_some(),
        }
    }

    fn instantiate(&self) -> Result<Rc<dyn Instance>, PluginError> {
        Ok(Rc::new(self.clone()))
    }
}

impl Instance for Native {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Verdict> {
        Step::Done(self.request.as_ref().map_or(Verdict::Proceed, |hook| hook(exchange)))
    }

    fn select_upstream<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        candidates: &'a [Candidate],
        attempt: u32,
    ) -> Step<'a, Target> {
        Step::Done(self.select.as_ref().map_or(Target::Default, |hook| hook(exchange, candidates, attempt)))
    }

    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Verdict> {
        Step::Done(self.response.as_ref().map_or(Verdict::Proceed, |hook| hook(exchange)))
    }

    fn on_log(&self, exchange: &Exchange) {
        if let Some(hook) = &self.log {
            hook(exchange);
        }
    }
}
