//! A component that is checked, compiled and configured: what a snapshot holds.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use weir_plugin::services::Services;
use weir_plugin::settings::{Settings, Value};
use weir_plugin::{Hooks, Instance, Plugin, PluginError, Policy, Step};

use crate::calls::{self, Live};
use crate::component::{Compiled, Ready, ready};
use crate::instance::WasmInstance;
use crate::now::{Now, Running};
use crate::ticker::Turn;

/// A component that is checked, compiled and configured.
pub struct WasmPlugin(Arc<Inner>);

/// What all guests of a plugin have.
pub(crate) struct Inner {
    pub(crate) name: Arc<str>,
    pub(crate) ready: Arc<Ready>,
    /// As JSON.
    pub(crate) settings: Arc<str>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) services: Arc<Services>,
    pub(crate) hooks: Hooks,
}

/// Why a component is not taken: everything that is wrong with it, as far as can be told at once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct LoadError(pub Vec<String>);

impl WasmPlugin {
    /// Links a component and has it load its settings once. May wait for what that waits for.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub async fn load(
        name: &str,
        component: Compiled,
        settings: &Settings,
        policy: Policy,
        services: Services,
    ) -> Result<WasmPlugin, LoadError> {
        let ready = Arc::new(ready(name, &component, &policy).map_err(LoadError)?);
        let settings = serde_json::Value::Object(json(settings)).to_string().into();
        let (policy, services) = (Arc::new(policy), Arc::new(services));
        let hooks = Hooks::default();
        let mut inner = Inner { name: name.into(), ready, settings, policy, services, hooks };
        inner.hooks = tried(&inner).await.map_err(LoadError)?;
        Ok(WasmPlugin(Arc::new(inner)))
    }
}

/// Starts a guest that nothing else is asked of. What it wants.
async fn tried(inner: &Inner) -> Result<Hooks, Vec<String>> {
    let now = Rc::new(Now::default());
    let mut starting = Box::pin(Live::start(inner, &now, None));
    let started = poll_fn(|cx| {
        let _turn = Turn::new(inner.policy.limits.slice);
        let _running = Running::new(&now);
        starting.as_mut().poll(cx)
    });
    let (_, manifest) = started.await.map_err(|why| vec![why])?;
    calls::hooks(&manifest, inner)
}

fn json(settings: &Settings) -> serde_json::Map<String, serde_json::Value> {
    settings.iter().map(|(name, value)| (name.clone(), value_to_json(value))).collect()
}

fn value_to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(flag) => (*flag).into(),
        Value::Integer(n) => (*n).into(),
        Value::Number(n) => (*n).into(),
        Value::String(text) => text.as_str().into(),
        Value::List(list) => list.iter().map(value_to_json).collect::<Vec<_>>().into(),
        Value::Table(table) => json(table).into(),
    }
}

impl fmt::Debug for WasmPlugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmPlugin")
            .field("name", &self.0.name)
            .field("hooks", &self.0.hooks)
            .finish_non_exhaustive()
    }
}

impl Plugin for WasmPlugin {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn hooks(&self) -> Hooks {
        self.0.hooks
    }

    fn policy(&self) -> &Policy {
        &self.0.policy
    }

    fn instantiate(&self) -> Step<'_, Result<Rc<dyn Instance>, PluginError>> {
        Step::Wait(Box::pin(WasmInstance::start(self.0.clone())))
    }

    fn lent(&self, services: &Services) -> Option<Arc<dyn Plugin>> {
        let Inner { name, ready, settings, policy, hooks, .. } = &*self.0;
        let inner = Inner {
            name: name.clone(),
            ready: ready.clone(),
            settings: settings.clone(),
            policy: policy.clone(),
            services: Arc::new(services.clone()),
            hooks: *hooks,
        };
        Some(Arc::new(WasmPlugin(Arc::new(inner))))
    }
}
