//! What guests call: the WIT package's imports. These only convert; the rules are `weir-plugin`'s.

#![allow(unreachable_pub, reason = "the bindings name resources again, for whom they are")]

pub(crate) mod convert;
pub(crate) mod http;
pub(crate) mod kv;
pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod metrics;
pub(crate) mod services;
pub(crate) mod websocket;

use std::rc::Rc;
use std::sync::Arc;

use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use weir_plugin::services::Services;
use weir_plugin::websocket::Access;
use weir_plugin::{Namespace, Policy, Timers};

use crate::limits::Holds;
use crate::local::Local;
use crate::wasi;

/// The most things of the host that a guest holds at once: answers to calls, counters, sets of networks and the like.
const MOST: usize = 10_000;

/// The data of a store.
pub(crate) struct Data {
    pub(crate) plugin: Arc<str>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) services: Arc<Services>,
    /// The key-value namespace that only this plugin has.
    own: Namespace,
    access: Access,
    /// Those of the worker's instance; none while the plugin is tried.
    timers: Option<Local<Rc<Timers>>>,
    /// Whether it has the hook `on-timer`, or may have.
    wants_timers: bool,
    pub(crate) holds: Holds,
    table: ResourceTable,
    /// How many answers to its calls are in the table.
    answers: usize,
    wasi: WasiCtx,
}

impl Data {
    /// Of a fresh guest.
    pub(crate) fn new(
        plugin: &Arc<str>,
        policy: &Arc<Policy>,
        services: &Arc<Services>,
        timers: Option<&Rc<Timers>>,
        wants_timers: bool,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MOST);
        Data {
            plugin: plugin.clone(),
            policy: policy.clone(),
            services: services.clone(),
            own: Namespace::own(plugin),
            access: Access::new(plugin, &policy.grants, services.websockets.clone()),
            timers: timers.map(|timers| Local::new(timers.clone())),
            wants_timers,
            holds: Holds::new(policy.limits.memory),
            table,
            answers: 0,
            wasi: wasi::context(plugin),
        }
    }
}

impl HasData for Data {
    type Data<'a> = &'a mut Data;
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
