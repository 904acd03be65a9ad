//! What an engine implements.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::{Candidate, Exchange, Target, Verdict};

/// The hooks that a plugin wants. One that is not wanted is never called and costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// [`Instance::on_request`].
    pub request: bool,
    /// [`Instance::select_upstream`].
    pub select_upstream: bool,
    /// [`Instance::on_response`].
    pub response: bool,
    /// [`Instance::on_log`].
    pub log: bool,
}

/// Why a plugin could not be made ready.
#[derive(Debug, thiserror::Error)]
#[error("plugin {plugin}: {message}")]
pub struct PluginError {
    /// The plugin's name.
    pub plugin: String,
    /// What went wrong, with the plugin's own file and line where there is one.
    pub message: String,
}

/// A compiled plugin with its configuration: part of a snapshot, shared by all workers.
pub trait Plugin: Send + Sync + std::fmt::Debug + 'static {
    /// Its name in the configuration.
    fn name(&self) -> &str;
    /// What it wants; asked once when a snapshot is assembled.
    fn hooks(&self) -> Hooks;
    /// A fresh instance for the worker that calls this.
    ///
    /// # Errors
    /// When the plugin's own start fails; the snapshot is then not published.
    fn instantiate(&self) -> Result<Rc<dyn Instance>, PluginError>;
}

/// What a hook call comes to: a value at once, or one that waits. A call that does not wait allocates nothing.
pub enum Step<'a, T> {
    /// The hook has run.
    Done(T),
    /// The hook waits; dropping the future cancels it.
    Wait(Pin<Box<dyn Future<Output = T> + 'a>>),
}

impl<T> Step<'_, T> {
    /// The value, waited for if need be.
    pub async fn finish(self) -> T {
        match self {
            Step::Done(value) => value,
            Step::Wait(future) => future.await,
        }
    }
}

/// A plugin on one worker. Hooks run in the order of the configuration, response hooks in reverse.
pub trait Instance: 'static {
    /// After routing, before an upstream is chosen. May change the request's method, URI and headers.
    fn on_request<'a>(&'a self, _exchange: &'a mut Exchange) -> Step<'a, Verdict> {
        Step::Done(Verdict::Proceed)
    }

    /// Before each attempt (0 is the first). The first plugin that does not return [`Target::Default`] decides.
    fn select_upstream<'a>(
        &'a self,
        _exchange: &'a mut Exchange,
        _candidates: &'a [Candidate],
        _attempt: u32,
    ) -> Step<'a, Target> {
        Step::Done(Target::Default)
    }

    /// When the response head is there, before it is sent. May change status and headers.
    fn on_response<'a>(&'a self, _exchange: &'a mut Exchange) -> Step<'a, Verdict> {
        Step::Done(Verdict::Proceed)
    }

    /// Exactly once when the exchange has ended, also after a client abort.
    fn on_log(&self, _exchange: &Exchange) {}
}
