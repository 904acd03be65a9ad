//! One WebSocket through a plugin of any engine, as the data plane would run it, but with two sides that a test scripts.

use std::rc::Rc;

use bytes::Bytes;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, StatusCode};
use weir_plugin::scenario::websocket::{Conversation, Conversed, Sent, ToOther};
use weir_plugin::scenario::{AnsweredBy, Scenario};
use weir_plugin::websocket::{
    CloseReason, Closed, ClosedBy, Direction, Frame, FrameVerdict, Opcode, RelayLimits, Watch,
};
use weir_plugin::{Instance, OnFailure, Plugin, Reply, Talk, WebSocket};
use weir_services::{Done, NotedRelays};

use super::exchange::{self, Patience};

/// The id of the relay that is run: that of its exchange.
const OWN: u64 = 1;

/// A WebSocket under way, or a handshake that came to nothing.
pub(super) struct Run<'a> {
    exchange: exchange::Run<'a>,
    reply: Reply,
    relays: &'a NotedRelays,
    ws: Rc<WebSocket>,
    watch: Watch,
    talk: Option<Rc<dyn Talk>>,
    to_upstream: Side,
    to_client: Side,
    limits: RelayLimits,
    others: Vec<u64>,
    closed: Option<Closed>,
    /// What opens the upstream, where it is not yet.
    late: Option<Scenario>,
}

/// What goes to one side.
#[derive(Default)]
struct Side {
    sent: Vec<Sent>,
    frames: u64,
    messages: u64,
}

/// What is left of a frame when hooks have seen it.
enum Left {
    Same(Bytes),
    Other(Bytes),
    Nothing,
}

impl<'a> Run<'a> {
    /// Makes the handshake, and opens the WebSocket where it is agreed on.
    ///
    /// # Errors
    /// As [`exchange::run`]; for ids of others that there are twice.
    pub(super) async fn open(
        plugin: &'a dyn Plugin,
        instance: Rc<dyn Instance>,
        conversation: &Conversation,
        patience: &'a Patience,
        relays: &'a NotedRelays,
    ) -> Result<Self, String> {
        let Conversation { handshake, subprotocol, others, .. } = conversation;
        let mut exchange = exchange::Run::new(plugin, instance, handshake, patience)?;
        exchange.x.is_websocket = true;
        let reply = match conversation.late {
            false => exchange.answered(handshake).await?,
            true => exchange.accepted(agreed(subprotocol.as_deref())).await,
        };
        let is_open =
            reply.status == StatusCode::SWITCHING_PROTOCOLS && exchange.answered_by == AnsweredBy::Upstream;
        let client_ip = exchange.x.client.map(|ip| ip.to_string()).unwrap_or_default();
        let ws = WebSocket {
            relay: relays.open(OWN, &handshake.route, []),
            route: handshake.route.clone(),
            request_id: handshake.request_id.as_str().into(),
            client_ip: client_ip.into(),
            subprotocol: subprotocol.as_deref().map(Rc::from),
        };
        let mut run = Run {
            exchange,
            reply,
            relays,
            ws: Rc::new(ws),
            watch: Watch::default(),
            talk: None,
            to_upstream: Side::default(),
            to_client: Side::default(),
            limits: RelayLimits::default(),
            others: Vec::new(),
            closed: (!is_open).then(Closed::in_the_end),
            late: conversation.late.then(|| handshake.clone()),
        };
        for other in others {
            if other.id == OWN || run.others.contains(&other.id) {
                return Err(format!("there is a relay {} already: others have other ids", other.id));
            }
            run.others.push(other.id);
            relays.open(other.id, &other.route, other.groups.clone());
        }
        if is_open {
            run.begin().await;
            run.connect().await?;
        }
        Ok(run)
    }

    /// Opens the upstream where that was put off, and something waits for it.
    ///
    /// # Errors
    /// When the scenario has a failure that there is not.
    pub(super) async fn connect(&mut self) -> Result<(), String> {
        if self.to_upstream.sent.is_empty() || !self.is_open() {
            return Ok(());
        }
        let Some(handshake) = self.late.take() else { return Ok(()) };
        if let Some((code, reason)) = self.exchange.opened(&handshake).await? {
            self.to_upstream.sent.clear();
            self.close(Closed { code: Some(code), reason: reason.into(), by: ClosedBy::Weir });
        }
        self.settle();
        Ok(())
    }

    /// Whether it goes on.
    pub(super) fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// Whether its upstream is not there yet.
    pub(super) fn is_late(&self) -> bool {
        self.late.is_some()
    }

    fn has(&self) -> Watch {
        let hooks = self.exchange.plugin.hooks();
        Watch { frames: hooks.frame, messages: hooks.message, send: true }
    }

    async fn begin(&mut self) {
        if !self.exchange.plugin.hooks().is_for_relays() {
            return self.relays.pass(OWN);
        }
        let (has, deadline) = (self.has(), self.exchange.deadline());
        let step = self.exchange.visit.on_websocket(&mut self.exchange.x, &self.ws, has);
        match self.exchange.patience.bounded(deadline, step).await.flatten() {
            Ok(watch) => self.watch = watch,
            Err(message) => self.failed("on_websocket", message),
        }
        self.talk = self.exchange.visit.talk(&self.ws);
        self.settle();
        if !self.watch.is_any() {
            self.relays.pass(OWN);
        }
    }

    /// What the plugin has said that it wants to see.
    fn note_watch(&mut self) {
        self.watch = self.talk.as_ref().and_then(|talk| talk.changed()).unwrap_or(self.watch);
        let has = self.has();
        self.watch.frames &= has.frames;
        self.watch.messages &= has.messages;
    }

    /// Does what the plugin has asked for.
    pub(super) fn settle(&mut self) {
        self.note_watch();
        for done in self.relays.take(OWN) {
            match done {
                Done::Sent { to, opcode, data } => self.side(to).sent.push(Sent { opcode, data }),
                Done::Closed(close) => self.close(by_plugin(&close)),
                Done::Limited(set) => {
                    let now = &mut self.limits;
                    now.max_message = set.max_message.or(now.max_message);
                    now.idle_timeout = set.idle_timeout.or(now.idle_timeout);
                    now.max_age = set.max_age.or(now.max_age);
                    now.ping_interval = set.ping_interval.or(now.ping_interval);
                }
            }
        }
    }

    fn side(&mut self, to: Direction) -> &mut Side {
        match to {
            Direction::ToUpstream => &mut self.to_upstream,
            Direction::ToClient => &mut self.to_client,
        }
    }

    /// A message, a ping or a pong has come.
    pub(super) async fn message(
        &mut self,
        direction: Direction,
        opcode: Opcode,
        fragments: &[Bytes],
        compressed: bool,
    ) {
        let (mut left, mut is_changed) = (Vec::new(), false);
        for (number, data) in (1..).zip(fragments) {
            let side = self.side(direction);
            side.frames += 1;
            let frame = Frame {
                direction,
                opcode,
                data: data.clone(),
                first: number == 1,
                last: number == fragments.len(),
                sequence: side.frames,
                compressed,
                size: data.len() as u64,
            };
            match self.seen(frame, true).await {
                Some(Left::Same(data)) => left.push(data),
                Some(Left::Other(data)) => {
                    is_changed = true;
                    left.push(data);
                }
                Some(Left::Nothing) => {}
                None => return,
            }
        }
        if left.is_empty() {
            return;
        }
        let mut data = Bytes::from(left.concat());
        if is_changed && let FrameVerdict::Fail(message) = FrameVerdict::Replace(data.clone()).checked(opcode)
        {
            // The first of them may be on their way by then: `on_failure` is not asked.
            return self.broke("on_frame", message);
        }
        if !opcode.is_control() {
            let side = self.side(direction);
            side.messages += 1;
            let (sequence, size) = (side.messages, data.len() as u64);
            let message =
                Frame { direction, opcode, data, first: true, last: true, sequence, compressed, size };
            data = match self.seen(message, false).await {
                Some(Left::Same(data) | Left::Other(data)) => data,
                Some(Left::Nothing) | None => return,
            };
        }
        self.side(direction).sent.push(Sent { opcode, data });
    }

    /// What the hook of frames, or that of messages, makes of one; `None` where that was the end.
    async fn seen(&mut self, frame: Frame, is_frame: bool) -> Option<Left> {
        let watches = if is_frame { self.watch.frames } else { self.watch.messages };
        let Some(talk) = self.talk.clone().filter(|_| watches) else { return Some(Left::Same(frame.data)) };
        let (opcode, data, is_whole) = (frame.opcode, frame.data.clone(), frame.first && frame.last);
        let (hook, step) = match is_frame {
            true => ("on_frame", talk.on_frame(frame)),
            false => ("on_message", talk.on_message(frame)),
        };
        let verdict = self.exchange.patience.bounded(self.exchange.deadline(), step).await;
        let mut verdict = verdict.unwrap_or_else(FrameVerdict::Fail);
        if is_whole {
            verdict = verdict.checked(opcode);
        }
        // What it has sent itself goes first.
        self.settle();
        if !self.is_open() {
            return None;
        }
        match verdict {
            FrameVerdict::Forward => Some(Left::Same(data)),
            FrameVerdict::Replace(data) => Some(Left::Other(data)),
            FrameVerdict::Drop => Some(Left::Nothing),
            FrameVerdict::Close(close) => {
                self.close(by_plugin(&close));
                None
            }
            FrameVerdict::Fail(message) => {
                self.failed(hook, message);
                self.is_open().then_some(Left::Same(data))
            }
        }
    }

    /// Goes to another instance of the plugin.
    pub(super) async fn migrate(&mut self, instance: Rc<dyn Instance>) {
        let Some(talk) = self.talk.clone() else { return };
        let (has, deadline) = (self.has(), self.exchange.deadline());
        let saved = self.exchange.patience.bounded(deadline, talk.save()).await.flatten();
        let mut visit = instance.visit();
        let moved = match saved {
            Ok(saved) => {
                let step = visit.on_migrate(&mut self.exchange.x, &self.ws, saved, has);
                self.exchange.patience.bounded(deadline, step).await.flatten()
            }
            Err(message) => Err(message),
        };
        match moved {
            Ok(watch) => {
                self.talk = visit.talk(&self.ws);
                (self.exchange.visit, self.watch) = (visit, watch);
            }
            // It stays with the instance that it has.
            Err(message) => drop(self.exchange.failure.get_or_insert(format!("on_migrate: {message}"))),
        }
        self.settle();
    }

    /// It ends.
    pub(super) fn close(&mut self, closed: Closed) {
        self.closed.get_or_insert(closed);
    }

    /// What happens when the plugin has failed.
    fn failed(&mut self, hook: &str, message: String) {
        match self.exchange.plugin.policy().on_failure {
            OnFailure::Closed => self.broke(hook, message),
            OnFailure::Open => drop(self.exchange.failure.get_or_insert(format!("{hook}: {message}"))),
        }
    }

    /// The plugin has failed, and must not be left out.
    fn broke(&mut self, hook: &str, message: String) {
        self.exchange.failure.get_or_insert(format!("{hook}: {message}"));
        self.close(Closed { code: Some(1011), reason: "".into(), by: ClosedBy::Weir });
    }

    /// Comes to the end.
    pub(super) async fn finish(mut self) -> Conversed {
        let is_opened = self.reply.status == StatusCode::SWITCHING_PROTOCOLS
            && self.exchange.answered_by == AnsweredBy::Upstream;
        let closed = is_opened.then(|| self.closed.take().unwrap_or_else(Closed::in_the_end));
        let groups = self.relays.groups(OWN);
        self.relays.end(OWN);
        if let (Some(talk), Some(closed)) = (&self.talk, &closed)
            && self.exchange.plugin.hooks().close
            && self.watch.is_any()
        {
            let step = talk.on_close(closed.clone());
            let ended = self.exchange.patience.bounded(self.exchange.deadline(), step).await.flatten();
            if let Err(message) = ended {
                self.exchange.failure.get_or_insert(format!("on_close: {message}"));
            }
        }
        self.exchange.log().await;
        let mut others = Vec::new();
        for id in self.others {
            for done in self.relays.take(id) {
                let what = match done {
                    Done::Sent { to, opcode, data } => Ok((to, Sent { opcode, data })),
                    Done::Closed(close) => Err(close),
                    Done::Limited(_) => continue,
                };
                others.push(ToOther { id, what });
            }
            self.relays.end(id);
        }
        Conversed {
            exchange: self.exchange.outcome(self.reply),
            to_upstream: self.to_upstream.sent,
            to_client: self.to_client.sent,
            closed,
            groups,
            limits: self.limits,
            others,
        }
    }
}

/// The answer to a handshake that is agreed on.
fn agreed(subprotocol: Option<&str>) -> Reply {
    let protocol = subprotocol.and_then(|protocol| HeaderValue::from_str(protocol).ok());
    let headers = protocol.map(|protocol| (SEC_WEBSOCKET_PROTOCOL, protocol)).into_iter().collect();
    Reply { status: StatusCode::SWITCHING_PROTOCOLS, headers, body: Bytes::new() }
}

fn by_plugin(close: &CloseReason) -> Closed {
    Closed { code: Some(close.code()), reason: close.reason().clone(), by: ClosedBy::Plugin }
}
