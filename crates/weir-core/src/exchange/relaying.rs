//! WebSockets whose frames are read: the plugins of the exchange on its relay, and how they go over to those of another
//! generation.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use weir_plugin::websocket::Watch;
use weir_plugin::{Held, Hooks, OnFailure, Phase, Talk, WebSocket};

use super::chain::Link;
use super::compression::Compression;
use super::websocket::{Late, Upstream};
use super::{Chain, Tally, Whose, bounded};
use crate::instances::Running;
use crate::net::Stream;
use crate::relay::framed::{Ended, Framed, Next, Talker, Talkers, within};
use crate::relay::{self, Carried, Control, End, Farewell};
use crate::route::CompiledRoute;
use crate::worker::Worker;

/// A WebSocket that has been agreed on.
pub(super) struct Relayed {
    pub(super) client: Stream,
    /// What was read already of the client.
    pub(super) head: Bytes,
    pub(super) upstream: Upstream,
    pub(super) compression: Compression,
    pub(super) route: Arc<CompiledRoute>,
    pub(super) control: Control,
}

/// Relays until an end. Plugins are told of the begin and the end.
pub(super) async fn run(tally: &mut Tally, relayed: Relayed) -> (Carried, End) {
    let Relayed { client, head, upstream, compression, mut route, control } = relayed;
    let (mut upstream, rest, late) = match upstream {
        Upstream::There(stream, rest) => (Some(stream), rest, None),
        Upstream::Late(late) => (None, Bytes::new(), Some(late)),
    };
    let head = (head, rest);
    let settings = route.spec.websocket.clone().unwrap_or_default();
    let ws = Rc::new(as_seen(tally, &control));
    tally.x.phase = Phase::Ended;
    let opened = Box::pin(tally.chain.on_websocket(&mut tally.x, &ws)).await;
    let (talkers, failed) = opened;
    let asked = control.live().is_some_and(|live| live.is_wanted());
    let wanted = failed || asked || settings.reads_frames || talkers.watch().is_any();
    if !wanted
        && compression.is_transparent()
        && let Some(upstream) = upstream.take()
    {
        control.pass();
        drop((talkers, ws, compression));
        let times = (settings.idle_timeout, settings.age());
        return relay::relay(client, upstream, head, times, Farewell::WebSocket, control).await;
    }
    let agreements = compression.agreements;
    let mut framed =
        Box::new(Framed::new((client, upstream), &head, agreements, &settings, talkers, control));
    drop((head, settings));
    if failed {
        framed.fail();
    }
    loop {
        let ended = match framed.run().await {
            Next::Migrate => {
                if let Some(newer) = Box::pin(migrate(tally, &ws, &mut framed)).await {
                    route = newer;
                }
                continue;
            }
            Next::Open => match &late {
                Some(late) => Box::pin(open(tally, &route, late, &mut framed)).await,
                None => None,
            },
            Next::Ended(ended) => Some(ended),
        };
        if let Some(Ended { carried, end, closed }) = ended {
            let talkers = framed.talkers().clone();
            framed.control().closed(closed.code);
            // It is in no list and no group any more when plugins are told.
            drop(framed);
            Box::pin(talkers.end(&closed)).await;
            return (carried, end);
        }
    }
}

/// Opens the upstream, while the client is still served. What the relay has come to, if it has ended meanwhile.
async fn open(
    tally: &mut Tally,
    route: &Arc<CompiledRoute>,
    late: &Late,
    framed: &mut Framed,
) -> Option<Ended> {
    let opened = framed.run_until(late.open(tally, route)).await;
    tally.x.phase = Phase::Ended;
    match opened {
        Ok(Ok((stream, head, agreement))) => framed.join(stream, &head, agreement),
        Ok(Err(error)) => {
            tracing::debug!(request_id = ?tally.x.request_id, %error, "an upstream was not opened");
            let (code, reason) = relay::not_opened(error.kind());
            framed.cannot_open(code, reason, End::NotOpened(error.kind(), error.detail()));
        }
        Err(ended) => return Some(ended),
    }
    None
}

/// The relay as plugins see it.
fn as_seen(tally: &Tally, control: &Control) -> WebSocket {
    let x = &tally.x;
    let subprotocol = x.response_headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
    WebSocket {
        relay: control.handle(),
        route: x.route.clone(),
        request_id: x.request_id.to_str().unwrap_or_default().into(),
        client_ip: x.client.map(|ip| ip.to_string()).unwrap_or_default().into(),
        subprotocol: subprotocol.map(Into::into),
    }
}

/// Goes over to the newest generation, if that can be: its route.
async fn migrate(tally: &mut Tally, ws: &Rc<WebSocket>, framed: &mut Framed) -> Option<Arc<CompiledRoute>> {
    let newest = Worker::current().map(|worker| (worker.snapshot(), worker));
    let Some((newest, worker)) = newest.filter(|(newest, _)| newest.generation != tally.snapshot.generation)
    else {
        framed.stay();
        return None;
    };
    let routes = newest.router.routes();
    let route = routes.iter().find(|route| *route.spec.name == *tally.x.route);
    let Some((route, settings)) = route.and_then(|route| Some((route, route.spec.websocket.as_ref()?)))
    else {
        framed.stay();
        return None;
    };
    let route = route.clone();
    let talkers = framed.talkers().clone();
    match tally.chain.succeed(&worker, &route, &mut tally.x, ws, &talkers).await {
        Ok(talkers) => {
            framed.control().moved(route.clone(), newest.generation);
            framed.go_on(talkers, settings);
            tally.snapshot = newest;
            let latest = worker.snapshot();
            if latest.generation != tally.snapshot.generation {
                // Published meanwhile: what it meant for the relay was meant for the one before.
                worker.relays().reconcile_one(framed.control(), &latest);
            }
            Some(route)
        }
        Err(message) => {
            let (route, request_id) = (&*tally.x.route, &tally.x.request_id);
            let generation = tally.snapshot.generation;
            tracing::warn!(
                route,
                ?request_id,
                generation,
                "a WebSocket stays with its generation: {message}"
            );
            framed.stay();
            None
        }
    }
}

/// What a plugin wants of a relay where it does not say.
fn all(hooks: &Hooks) -> Watch {
    Watch { frames: hooks.frame, messages: hooks.message, send: true }
}

/// A plugin that goes on with a relay, in the chain of another generation.
enum Successor {
    /// The one that is there already.
    Same,
    /// Another, which has taken over its state, where it has any.
    Other(Link, Option<Talker>),
}

impl Chain {
    /// Whether a plugin wants to see frames, or to send some.
    pub(super) fn wants_relay(&self) -> bool {
        self.0.iter().any(|link| link.running.hooks.is_for_relays())
    }

    /// Runs `on_websocket` in order. True: a plugin failed that must not be left out; those before it are told of the end.
    async fn on_websocket(&mut self, x: &mut Held, ws: &Rc<WebSocket>) -> (Talkers, bool) {
        let whose = Whose::of(x);
        let mut talkers = Vec::new();
        for link in self.0.iter_mut().filter(|link| link.running.hooks.is_for_relays()) {
            match link.on_websocket(x, ws).await {
                Ok(talker) => talkers.extend(talker),
                Err(message) => {
                    if link.running.failed(&whose, "on_websocket", message).is_err() {
                        return (Talkers::new(talkers, whose), true);
                    }
                }
            }
        }
        (Talkers::new(talkers, whose), false)
    }

    /// Becomes the chain of a route of a newer generation, with what its plugins have kept of the relay.
    ///
    /// # Errors
    /// Why a plugin does not take over; the chain is as it was then. (What hooks of others have done is done.)
    async fn succeed(
        &mut self,
        worker: &Worker,
        route: &Arc<CompiledRoute>,
        x: &mut Held,
        ws: &Rc<WebSocket>,
        before: &Talkers,
    ) -> Result<Talkers, String> {
        let mut successors = Vec::with_capacity(route.spec.plugins.len());
        for plugin in &route.spec.plugins {
            let running = match worker.instances.get(plugin).await {
                Ok(running) => running,
                Err(_) if plugin.policy().on_failure == OnFailure::Open => continue,
                Err(error) => return Err(error.to_string()),
            };
            let known = self.0.iter().position(|link| Rc::ptr_eq(&link.running, &running));
            successors.push(match known {
                Some(_) => (Successor::Same, running),
                None => {
                    let saved = before.of(&running.name);
                    let name = running.name.clone();
                    let (link, talker) = Link::take_over(&running, x, ws, saved)
                        .await
                        .map_err(|message| format!("plugin {name}: {message}"))?;
                    (Successor::Other(link, talker), running)
                }
            });
        }
        let mut old: Vec<_> = std::mem::take(&mut self.0).into_vec();
        let (mut links, mut talkers) = (Vec::new(), Vec::new());
        for (successor, running) in successors {
            match successor {
                Successor::Other(link, talker) => {
                    links.push(link);
                    talkers.extend(talker);
                }
                Successor::Same => {
                    talkers.extend(before.of(&running.name).cloned());
                    if let Some(at) = old.iter().position(|link| Rc::ptr_eq(&link.running, &running)) {
                        links.push(old.swap_remove(at));
                    }
                }
            }
        }
        self.0 = links.into();
        Ok(Talkers::new(talkers, Whose::of(x)))
    }
}

impl Link {
    async fn on_websocket(&mut self, x: &mut Held, ws: &Rc<WebSocket>) -> Result<Option<Talker>, String> {
        let has = all(&self.running.hooks);
        let watch = match self.running.hooks.websocket {
            true => bounded(&self.running, self.visit.on_websocket(x, ws, has)).await.flatten()?,
            false => has,
        };
        Ok(talker(&self.running, self.visit.talk(ws), watch))
    }

    /// A plugin of a newer generation, with what the one before it has saved. One that is new there begins as on a new
    /// relay.
    async fn take_over(
        running: &Rc<Running>,
        x: &mut Held,
        ws: &Rc<WebSocket>,
        before: Option<&Talker>,
    ) -> Result<(Link, Option<Talker>), String> {
        let visit = running.instance.clone().visit();
        let mut link = Link { running: running.clone(), visit };
        if !running.hooks.is_for_relays() {
            return Ok((link, None));
        }
        let Some(before) = before else {
            let talker = link.on_websocket(x, ws).await?;
            return Ok((link, talker));
        };
        let saved = bounded(&before.running, before.talk.save()).await.flatten()?;
        let has = all(&running.hooks);
        let watch = bounded(running, link.visit.on_migrate(x, ws, saved, has)).await.flatten()?;
        let talker = talker(running, link.visit.talk(ws), watch);
        Ok((link, talker))
    }
}

/// A plugin on a relay. It gets no more than it has hooks for.
fn talker(running: &Rc<Running>, talk: Option<Rc<dyn Talk>>, watch: Watch) -> Option<Talker> {
    let talk = talk?;
    let watch = within(talk.changed().unwrap_or(watch), &running.hooks);
    Some(Talker { running: running.clone(), talk, watch: Cell::new(watch) })
}
