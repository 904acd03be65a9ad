//! A guest that has started, and the calls of its hooks.

use std::rc::Rc;

use bytes::Bytes;
use wasmtime::component::{Resource, ResourceAny};
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};
use weir_plugin::message::headers::Side;
use weir_plugin::{Hooks, Timers};

use crate::bindings::exported::plugin::{Guest as Plugin, Manifest};
use crate::bindings::exported::{connect_hooks, http_hooks, migrate_hooks, tick_hooks, websocket_hooks};
use crate::bindings::imported::types as wit;
use crate::engine::Place;
use crate::guest::Bound;
use crate::host::Data;
use crate::host::message::rep;
use crate::host::websocket::OWN;
use crate::now::{For, Now, current};
use crate::plugin::Inner;

/// What runs once, when a guest starts, may take so many times the budget of a hook.
const LOAD: u32 = 50;
/// The most things of the component model that a guest holds at once: handles to requests, headers and the like.
pub(crate) const MOST_HANDLES: usize = 100_000;
/// The most bytes that a guest hands over in one call, if twice the bodies that it may read are not more: copying them is
/// nothing that others have their turn in.
const MOST_HANDED: usize = 8 << 20;
/// The most functions of a trap's way that are told.
const MOST_FRAMES: usize = 5;

/// A call of a guest.
#[derive(Debug)]
pub(crate) enum Call {
    /// Nothing but its start.
    Start,
    Connect,
    Request,
    Select(Box<wit::Selection>),
    Response,
    Log,
    Piece(Side, Bytes, bool),
    WebSocket,
    Frame(wit::Frame),
    Message(wit::Frame),
    Close(Box<wit::Closed>),
    Save,
    Migrate(Bytes),
    Timer(String),
    Tick,
    /// What it keeps of an exchange is of no use any more.
    End(ResourceAny),
}

/// What a call comes to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done,
    /// It failed, and has nothing to decide.
    Failed(String),
    Connect(wit::ConnectVerdict),
    Verdict(wit::Verdict),
    Target(wit::Target),
    Piece(wit::Piece),
    Watch(Result<wit::Watch, String>),
    Frame(wit::FrameVerdict),
    Saved(Result<Vec<u8>, String>),
}

/// A guest that has started.
pub(crate) struct Live {
    pub(crate) store: Store<Data>,
    /// Dropped after the store, whose place it is.
    _place: Place,
    plugin: Plugin,
    connect: Option<connect_hooks::Guest>,
    http: Option<http_hooks::Guest>,
    websocket: Option<websocket_hooks::Guest>,
    migrate: Option<migrate_hooks::Guest>,
    tick: Option<tick_hooks::Guest>,
    /// The exchange of a plugin that keeps nothing of any.
    only: Only,
}

/// What a plugin has instead of an exchange for each, if it has told that it keeps nothing of them.
#[derive(Clone, Copy)]
enum Only {
    No,
    /// It is made for the first one.
    Yes(Option<ResourceAny>),
}

impl Live {
    /// Makes a guest of a plugin and has it load its settings. What it told comes with it. `timers` are none where the
    /// plugin is tried.
    ///
    /// # Errors
    /// Why it does not start.
    pub(crate) async fn start(
        inner: &Inner,
        now: &Now,
        timers: Option<&Rc<Timers>>,
    ) -> Result<(Self, Manifest), String> {
        let place = Place::take(timers.is_none())?;
        let limits = &inner.policy.limits;
        now.begin(For::default(), limits.cpu * LOAD);
        let wants_timers = timers.is_none() || inner.hooks.timer;
        let data = Data::new(&inner.name, &inner.policy, &inner.services, timers, wants_timers);
        let mut store = Store::new(inner.ready.pre.engine(), data);
        store.limiter(|data| &mut data.holds);
        store.set_hostcall_fuel(MOST_HANDED.max(limits.body.saturating_mul(2)));
        store.set_max_component_handles(MOST_HANDLES);
        let slice = limits.slice;
        store.epoch_deadline_callback(move |_| {
            match current(|now| Ok(now.meter.turn_is_over(slice))) {
                Ok(Ok(())) => {
                    // Sockets and timers of the worker have their turn in between.
                    Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
                }
                Ok(Err(message)) => Err(wasmtime::Error::msg(message)),
                Err(error) => Err(wasmtime::Error::msg(error.to_string())),
            }
        });
        store.set_epoch_deadline(1);
        let started = Self::instantiate(inner, store, place).await;
        now.end();
        started
    }

    async fn instantiate(
        inner: &Inner,
        mut store: Store<Data>,
        place: Place,
    ) -> Result<(Self, Manifest), String> {
        let why = |error: wasmtime::Error, store: &Store<Data>| why(&error, store);
        let instance = match inner.ready.pre.instantiate_async(&mut store).await {
            Ok(instance) => instance,
            Err(error) => return Err(why(error, &store)),
        };
        let exports = &inner.ready.exports;
        macro_rules! load {
            ($indices:expr) => {
                match $indices.as_ref().map(|indices| indices.load(&mut store, &instance)).transpose() {
                    Ok(loaded) => loaded,
                    Err(error) => return Err(why(error, &store)),
                }
            };
        }
        let plugin = match exports.plugin.load(&mut store, &instance) {
            Ok(plugin) => plugin,
            Err(error) => return Err(why(error, &store)),
        };
        let connect = load!(exports.connect);
        let http = load!(exports.http);
        let websocket = load!(exports.websocket);
        let migrate = load!(exports.migrate);
        let tick = load!(exports.tick);
        let manifest = match plugin.call_load(&mut store, &inner.settings).await {
            Ok(Ok(manifest)) => manifest,
            Ok(Err(message)) => return Err(message),
            Err(error) => return Err(why(error, &store)),
        };
        store.data_mut().holds.has_started();
        let only = if manifest.hooks.contains(wit::Hooks::STATELESS) { Only::Yes(None) } else { Only::No };
        Ok((Live { store, _place: place, plugin, connect, http, websocket, migrate, tick, only }, manifest))
    }

    /// Whether new exchanges should get another one: its memory is nearly used up.
    pub(crate) fn is_full(&self) -> bool {
        self.store.data().holds.is_full()
    }

    /// Runs a call. What is called often is here, so that nothing is moved or boxed for it; the rest is in
    /// [`Live::run_other`].
    ///
    /// # Errors
    /// The guest has ended with it, and must not be called any more.
    pub(crate) async fn run(
        &mut self,
        call: Call,
        bound: Option<&Bound>,
        number: u32,
    ) -> wasmtime::Result<Outcome> {
        self.store.set_epoch_deadline(1);
        let x = match bound {
            Some(bound) => match (self.only, bound.resource.get()) {
                (Only::Yes(Some(x)), _) | (Only::No, Some(x)) => Some(x),
                _ => Some(Box::pin(self.begin(bound)).await?),
            },
            None => None,
        };
        let request = Resource::new_borrow(rep(number, Side::Request));
        let store = &mut self.store;
        match (call, x, &self.http, &self.websocket) {
            (Call::Request, Some(x), Some(hooks), _) => {
                Ok(Outcome::Verdict(hooks.call_on_request(store, x, request).await?))
            }
            (Call::Response, Some(x), Some(hooks), _) => {
                let response = Resource::new_borrow(rep(number, Side::Response));
                Ok(Outcome::Verdict(hooks.call_on_response(store, x, response, request).await?))
            }
            (Call::Frame(frame), Some(x), _, Some(hooks)) => {
                let ws = Resource::new_borrow(OWN);
                Ok(Outcome::Frame(hooks.call_on_frame(store, x, ws, &frame).await?))
            }
            (Call::Message(message), Some(x), _, Some(hooks)) => {
                let ws = Resource::new_borrow(OWN);
                Ok(Outcome::Frame(hooks.call_on_message(store, x, ws, &message).await?))
            }
            (call, x, ..) => Box::pin(self.run_other(call, x, number)).await,
        }
    }

    /// Has the guest make what it keeps of an exchange.
    async fn begin(&mut self, bound: &Bound) -> wasmtime::Result<ResourceAny> {
        let constructor = self.plugin.exchange();
        match &mut self.only {
            Only::Yes(only) => Ok(*only.insert(constructor.call_constructor(&mut self.store, 0).await?)),
            Only::No => {
                let x = constructor.call_constructor(&mut self.store, bound.id).await?;
                bound.resource.set(Some(x));
                Ok(x)
            }
        }
    }

    async fn run_other(
        &mut self,
        call: Call,
        x: Option<ResourceAny>,
        number: u32,
    ) -> wasmtime::Result<Outcome> {
        if let Call::End(resource) = call {
            resource.resource_drop_async(&mut self.store).await?;
            return Ok(Outcome::Done);
        }
        let Some(x) = x else { return self.alone(call, number).await };
        match call {
            Call::WebSocket | Call::Close(_) => self.of_relay(call, x, number).await,
            Call::Save | Call::Migrate(_) => self.of_migration(call, x).await,
            call => self.of_request(call, x, number).await,
        }
    }

    /// A call that has no exchange.
    async fn alone(&mut self, call: Call, number: u32) -> wasmtime::Result<Outcome> {
        let store = &mut self.store;
        match call {
            Call::Connect => {
                let connection = Resource::new_borrow(rep(number, Side::Request));
                let hooks = has(&self.connect)?;
                Ok(Outcome::Connect(hooks.call_on_connect(store, connection).await?))
            }
            Call::Timer(name) => Ok(ended(has(&self.tick)?.call_on_timer(store, &name).await?)),
            Call::Tick => Ok(ended(has(&self.tick)?.call_on_tick(store).await?)),
            _ => Ok(Outcome::Done),
        }
    }

    async fn of_request(&mut self, call: Call, x: ResourceAny, number: u32) -> wasmtime::Result<Outcome> {
        let (hooks, store) = (has(&self.http)?, &mut self.store);
        let request = || Resource::new_borrow(rep(number, Side::Request));
        let response = || Resource::new_borrow(rep(number, Side::Response));
        Ok(match call {
            Call::Select(selection) => {
                Outcome::Target(hooks.call_select_upstream(store, x, &selection, request()).await?)
            }
            Call::Log => ended(hooks.call_on_log(store, x, response(), request()).await?),
            Call::Piece(Side::Request, data, last) => {
                Outcome::Piece(hooks.call_on_request_body(store, x, &data.into(), last).await?)
            }
            Call::Piece(Side::Response, data, last) => {
                Outcome::Piece(hooks.call_on_response_body(store, x, &data.into(), last).await?)
            }
            other => return Err(missing(&other)),
        })
    }

    async fn of_relay(&mut self, call: Call, x: ResourceAny, number: u32) -> wasmtime::Result<Outcome> {
        let (hooks, store) = (has(&self.websocket)?, &mut self.store);
        let ws = Resource::new_borrow(OWN);
        Ok(match call {
            Call::WebSocket => {
                let request = Resource::new_borrow(rep(number, Side::Request));
                Outcome::Watch(hooks.call_on_websocket(store, x, ws, request).await?)
            }
            Call::Close(closed) => ended(hooks.call_on_close(store, x, ws, &closed).await?),
            other => return Err(missing(&other)),
        })
    }

    async fn of_migration(&mut self, call: Call, x: ResourceAny) -> wasmtime::Result<Outcome> {
        let (hooks, store) = (has(&self.migrate)?, &mut self.store);
        Ok(match call {
            Call::Save => Outcome::Saved(hooks.call_save(store, x).await?),
            Call::Migrate(old) => {
                Outcome::Watch(hooks.call_on_migrate(store, x, Resource::new_borrow(OWN), &old.into()).await?)
            }
            _ => Outcome::Done,
        })
    }
}

/// What a hook comes to that decides nothing.
fn ended(result: Result<(), String>) -> Outcome {
    result.map_or_else(Outcome::Failed, |()| Outcome::Done)
}

/// A group of hooks, which is there where the plugin has told that it wants one of them.
fn has<T>(hooks: &Option<T>) -> wasmtime::Result<&T> {
    hooks.as_ref().ok_or_else(|| wasmtime::Error::msg("the plugin does not export this hook"))
}

fn missing(call: &Call) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the plugin does not export the hook of {call:?}"))
}

/// Why a guest has ended: what the host refused, or the trap and the functions where it was.
pub(crate) fn why(error: &wasmtime::Error, store: &Store<Data>) -> String {
    let mut text = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
        let names = trace.frames().iter().filter_map(|frame| frame.func_name());
        let names: Vec<&str> = names.take(MOST_FRAMES).collect();
        if !names.is_empty() {
            text.push_str(&format!(" (in {})", names.join(", called by ")));
        }
    }
    if let Some(refusal) = store.data().holds.refusal() {
        text.push_str(&format!("; {refusal}"));
    }
    text
}

/// What a plugin has told that it wants, if it can be.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn hooks(manifest: &Manifest, inner: &Inner) -> Result<Hooks, Vec<String>> {
    use std::time::Duration;
    use weir_plugin::services::seconds;

    let exports = &inner.ready.exports;
    let wants = |hook| manifest.hooks.contains(hook);
    let mut wrong = Vec::new();
    for (group, has, hooks) in [
        ("connect-hooks", exports.connect.is_some(), wit::Hooks::CONNECT),
        (
            "http-hooks",
            exports.http.is_some(),
            wit::Hooks::REQUEST
                | wit::Hooks::REQUEST_BODY
                | wit::Hooks::SELECT_UPSTREAM
                | wit::Hooks::RESPONSE
                | wit::Hooks::RESPONSE_BODY
                | wit::Hooks::LOG,
        ),
        (
            "websocket-hooks",
            exports.websocket.is_some(),
            wit::Hooks::WEBSOCKET | wit::Hooks::FRAME | wit::Hooks::MESSAGE | wit::Hooks::CLOSE,
        ),
        ("migrate-hooks", exports.migrate.is_some(), wit::Hooks::MIGRATE),
        ("tick-hooks", exports.tick.is_some(), wit::Hooks::TIMER | wit::Hooks::TICK),
    ] {
        if !has && manifest.hooks.intersects(hooks) {
            wrong.push(format!("`load` asks for hooks of `{group}`, which it does not export"));
        }
    }
    let every = manifest.tick_every.unwrap_or(60.0);
    let tick = match seconds(every) {
        Ok(every) if every >= Duration::from_secs(1) => Some(every),
        _ => {
            wrong.push(format!("`tick-every` is {every}: at least one second is wanted"));
            None
        }
    };
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Hooks {
        connect: wants(wit::Hooks::CONNECT),
        request: wants(wit::Hooks::REQUEST),
        request_body: wants(wit::Hooks::REQUEST_BODY),
        select_upstream: wants(wit::Hooks::SELECT_UPSTREAM),
        response: wants(wit::Hooks::RESPONSE),
        response_body: wants(wit::Hooks::RESPONSE_BODY),
        log: wants(wit::Hooks::LOG),
        websocket: wants(wit::Hooks::WEBSOCKET),
        frame: wants(wit::Hooks::FRAME),
        message: wants(wit::Hooks::MESSAGE),
        close: wants(wit::Hooks::CLOSE),
        migrate: wants(wit::Hooks::MIGRATE),
        timer: wants(wit::Hooks::TIMER),
        tick: tick.filter(|_| wants(wit::Hooks::TICK)),
    })
}
