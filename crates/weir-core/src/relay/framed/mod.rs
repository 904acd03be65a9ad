//! A relay whose frames are read: a WebSocket with plugins on it, or with bounds on what may pass.
//!
//! In reading order: this file (both directions, the close handshake, time, orders), [`pump`] (one direction), `input` and
//! `output` (bytes on their way), `coding` (compression), [`talkers`] (the plugins), `show` (what operators see).

mod coding;
mod input;
mod output;
mod pump;
mod show;
mod talkers;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use weir_plugin::websocket::{Closed, ClosedBy, Direction, RelayLimits};

use self::coding::Coding;
use self::pump::{Around, Event, Pump};
use self::show::Show;
use super::flow::Broken;
use super::live::index;
use super::registry::{Control, Order};
use super::{Carried, End, LINGER, count_farewell, depart};
use crate::net::Stream;
use crate::net::deadline::{Coarse, Deadline};
use crate::spec;
use crate::ws::extension::Agreement;
use crate::ws::sequence::Limits;
use crate::ws::{Role, Violation, close};

pub(crate) use talkers::{Talker, Talkers, within};

/// What the client and the upstream agreed on with weir. `None`: no compression.
pub(crate) type Agreements = (Option<Agreement>, Option<Agreement>);

/// A relay whose frames are read.
pub(crate) struct Framed {
    client: Stream,
    /// None as long as it is not opened.
    upstream: Option<Stream>,
    opening: bool,
    /// Whether it is opened although the client is about to leave: for what the client has said before.
    delivers: bool,
    up: Pump,
    down: Pump,
    talkers: Rc<Talkers>,
    bounds: Bounds,
    control: Control,
    closing: Option<Closing>,
    /// What an operator may see, while one looks.
    show: Option<Show>,
    tap: Option<Arc<spec::Tap>>,
    deadline: Deadline,
    /// What others wake.
    waker: Option<Waker>,
    opened: Coarse,
    /// When a frame passed last, and when one of the client's did.
    passed: Coarse,
    heard: Coarse,
    /// Whether the client is asked whether it is there.
    ping: Ping,
    seen: Seen,
    /// Since when it is to go over to another generation.
    moving: Option<Coarse>,
    /// Whether no frame is begun until then: for a moment, lest one direction waits long for the other.
    holds: bool,
}

/// Whether a client is asked whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    No,
    /// As soon as its side takes it.
    Soon,
    Since(Coarse),
}

/// What had passed when it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    frames: [u64; 2],
    bytes: [u64; 2],
    read: [u64; 2],
    for_weir: [u64; 2],
}

/// How long frames wait for the other direction, where the relay is to go over to another generation.
const HOLD: Duration = Duration::from_millis(500);

/// What a relay is bounded by.
#[derive(Clone, Debug)]
struct Bounds {
    idle: Duration,
    /// Zero: none.
    age: Duration,
    /// The most that `age` may be: the route's. Zero: none.
    most_age: Duration,
    close: Duration,
    ping_interval: Duration,
    ping_timeout: Duration,
    answers: bool,
    limits: Limits,
    /// How long it may take until there is something to be sent to an upstream that is not opened yet.
    first: Duration,
}

/// A relay that is being closed.
struct Closing {
    closed: Closed,
    end: End,
    since: Coarse,
    /// Whether weir has sent a close frame, or cannot: to the upstream, to the client.
    sent: [bool; 2],
    /// Whether the side that has got none yet broke a rule: then that is what it is told.
    broke: bool,
}

/// What a relay comes to.
pub(crate) enum Next {
    /// There is something to be sent to the upstream, which is to be opened now.
    Open,
    /// It is between two messages, and is to go over to the newest generation.
    Migrate,
    /// It has ended.
    Ended(Ended),
}

/// What a relay comes to, for those who run it.
enum Turn {
    Migrate,
    Open,
    Ended(Closing),
}

/// How a relay whose frames are read has ended.
pub(crate) struct Ended {
    pub(crate) carried: Carried,
    pub(crate) end: End,
    pub(crate) closed: Closed,
}

impl Framed {
    /// A relay between two sides that have agreed, or of a client whose upstream is opened later. `head` are bytes already
    /// read from each side (client, upstream).
    pub(crate) fn new(
        (client, upstream): (Stream, Option<Stream>),
        head: &(Bytes, Bytes),
        agreements: Agreements,
        settings: &spec::WebSocket,
        talkers: Talkers,
        control: Control,
    ) -> Self {
        let bounds = Bounds::new(settings);
        let coding = |sender| {
            let (deflate, (client, upstream)) = (settings.frames.deflate.as_ref()?, agreements);
            client.or(upstream)?;
            let (from, to) = if sender == Role::Client { (client, upstream) } else { (upstream, client) };
            Some(Coding::new(sender, from, to, deflate))
        };
        let answers = bounds.answers || upstream.is_none();
        let pump =
            |direction, head, sender| Pump::new(direction, head, bounds.limits, coding(sender), answers);
        let now = Coarse::now();
        let mut framed = Framed {
            client,
            upstream,
            opening: false,
            delivers: false,
            up: pump(Direction::ToUpstream, &head.0, Role::Client),
            down: pump(Direction::ToClient, &head.1, Role::Server),
            talkers: Rc::new(talkers),
            bounds,
            control,
            closing: None,
            show: None,
            tap: settings.frames.tap.clone(),
            deadline: Deadline::default(),
            waker: None,
            opened: now,
            passed: now,
            heard: now,
            ping: Ping::No,
            seen: Seen::default(),
            moving: None,
            holds: false,
        };
        framed.note_watch();
        framed
    }

    /// The plugins on it.
    pub(crate) fn talkers(&self) -> &Rc<Talkers> {
        &self.talkers
    }

    /// The relay as plugins and operators know it.
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// Goes on with other plugins, and by other settings.
    pub(crate) fn go_on(&mut self, talkers: Talkers, settings: &spec::WebSocket) {
        self.talkers = Rc::new(talkers);
        self.bounds = Bounds::new(settings);
        // What plugins have set for this one holds on.
        if let Some(limits) = self.control.live().and_then(|live| live.limits()) {
            self.bounds.set(&limits);
        }
        self.tap.clone_from(&settings.frames.tap);
        self.show = None;
        self.apply_bounds();
        self.note_watch();
    }

    /// The upstream is there now, with bytes that were read of it already, and has agreed on this.
    pub(crate) fn join(&mut self, upstream: Stream, head: &Bytes, agreement: Option<Agreement>) {
        self.opening = false;
        if self.closing.is_none() || self.delivers {
            self.upstream = Some(upstream);
            self.up.reach(agreement);
            self.down.hear(head, agreement);
            self.apply_bounds();
        }
    }

    /// It ends: the upstream could not be opened.
    pub(crate) fn cannot_open(&mut self, code: u16, reason: &str, end: End) {
        self.opening = false;
        let delivers = std::mem::replace(&mut self.delivers, false);
        match &mut self.closing {
            Some(closing) if delivers => closing.end = end,
            Some(_) => {}
            None => self.close_both(code, reason, ClosedBy::Weir, end),
        }
    }

    /// It ends: a plugin failed that must not be left out.
    pub(crate) fn fail(&mut self) {
        self.close_both(1011, "", ClosedBy::Weir, End::PluginFailed);
    }

    /// It stays with the plugins that it has.
    pub(crate) fn stay(&mut self) {
        (self.moving, self.holds) = (None, false);
    }

    fn note_watch(&mut self) {
        self.stay();
        self.control.reads_messages(self.talkers.watch().messages);
    }

    /// Carries frames until it has ended, is to go over to another generation, or needs its upstream.
    pub(crate) async fn run(&mut self) -> Next {
        match poll_fn(|cx| self.poll(cx)).await {
            Turn::Migrate => Next::Migrate,
            Turn::Open => Next::Open,
            Turn::Ended(closing) => Next::Ended(self.ended(closing).await),
        }
    }

    /// Goes on while its upstream is opened.
    ///
    /// # Errors
    /// What it has come to meanwhile.
    pub(crate) async fn run_until<T>(&mut self, opened: impl Future<Output = T>) -> Result<T, Ended> {
        let mut opened = pin!(opened);
        let turn = poll_fn(|cx| match opened.as_mut().poll(cx) {
            Poll::Ready(opened) => Poll::Ready(Ok(opened)),
            Poll::Pending => self.poll(cx).map(Err),
        });
        match turn.await {
            Ok(opened) => Ok(opened),
            Err(Turn::Ended(closing)) => Err(self.ended(closing).await),
            // It says neither of these while it is opened.
            Err(Turn::Migrate | Turn::Open) => Ok(opened.await),
        }
    }

    async fn ended(&mut self, Closing { closed, end, .. }: Closing) -> Ended {
        // Boxed: it is for the end only.
        Box::pin(self.depart()).await;
        let carried = Carried { to_upstream: self.up.carried(), to_client: self.down.carried() };
        Ended { carried, end, closed }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !known {
            self.waker = Some(cx.waker().clone());
            self.control.register(cx.waker());
        }
        self.talkers.take_changes();
        self.take_orders();
        self.take_asked();
        loop {
            while let Some(event) = self.poll_pumps(cx) {
                self.on_event(event);
            }
            if !self.end_alone() {
                break;
            }
        }
        self.note_passed();
        self.control.reads_messages(self.talkers.watch().messages);
        let wanted = self.upstream.is_none() && self.up.is_waiting();
        if wanted && !std::mem::replace(&mut self.opening, true) {
            return Poll::Ready(Turn::Open);
        }
        if let Some(closing) = self.closing.take_if(|closing| {
            let [to_upstream, to_client] = closing.sent;
            let all = to_upstream && to_client && self.up.is_closed() && self.down.is_closed();
            all && self.up.is_flushed() && self.down.is_flushed()
        }) {
            return Poll::Ready(Turn::Ended(closing));
        }
        if self.closing.is_some()
            && let Some(live) = self.control.live()
        {
            live.shut();
        }
        let may_move = self.closing.is_none() && !self.opening;
        if self.moving.is_some() && may_move && self.up.rests() && self.down.rests() {
            return Poll::Ready(Turn::Migrate);
        }
        self.poll_time(cx).map(Turn::Ended)
    }

    /// It is closing, and there is no upstream. Whether there is something to be written because of that.
    fn end_alone(&mut self) -> bool {
        let Some(closing) = self.closing.as_mut().filter(|_| self.upstream.is_none() && !self.delivers)
        else {
            return false;
        };
        self.up.forget();
        if self.down.is_closed() {
            return false;
        }
        // Nobody else answers the client, and nothing comes of anybody else.
        if let Some(payload) = closing.last_word(Direction::ToClient, None) {
            self.down.say_close(&payload);
        }
        closing.sent = [true; 2];
        self.down.end();
        true
    }

    fn take_orders(&mut self) {
        match self.control.order() {
            _ if self.closing.is_some() => {}
            Some(Order::Stop) => {
                count_farewell();
                self.close_both(1001, "", ClosedBy::Weir, End::Stopped);
            }
            Some(Order::Restart) => self.close_both(1012, "", ClosedBy::Weir, End::Reloaded),
            Some(Order::Close) => self.close_both(1012, "", ClosedBy::Plugin, End::Ordered),
            None if self.control.is_to_migrate() => {
                (self.moving, self.holds) = (Some(Coarse::now()), true);
            }
            None => {}
        }
    }

    /// What others have asked of it.
    fn take_asked(&mut self) {
        let Some(live) = self.control.live() else { return };
        let looked_at = live.is_tapped();
        if looked_at != self.show.is_some() {
            self.show = self.tap.clone().filter(|_| looked_at).map(Show);
        }
        if !live.was_asked() {
            return;
        }
        self.up.has_mail();
        self.down.has_mail();
        let close = live.close().filter(|_| self.closing.is_none());
        let limits = live.limits();
        if let Some((close, by)) = close {
            let end = if by == ClosedBy::Weir { End::Slow } else { End::Closed };
            self.close_both(close.code(), close.reason(), by, end);
        }
        if let Some(limits) = limits {
            self.bounds.set(&limits);
            self.apply_bounds();
        }
    }

    fn apply_bounds(&mut self) {
        // Nobody else answers a client whose upstream is not there.
        let answers = self.bounds.answers || self.upstream.is_none();
        self.up.limit(self.bounds.limits, answers);
        self.down.limit(self.bounds.limits, answers);
    }

    fn poll_pumps(&mut self, cx: &mut Context<'_>) -> Option<(Direction, Event)> {
        let around = Around {
            talkers: &self.talkers,
            live: self.control.live(),
            show: self.show.as_ref(),
            hold: self.holds && self.closing.is_none(),
        };
        let streams = (Some(&mut self.client), self.upstream.as_mut());
        if let Poll::Ready(event) = self.up.poll(cx, streams, &around) {
            return Some((Direction::ToUpstream, event));
        }
        let streams = (self.upstream.as_mut(), Some(&mut self.client));
        match self.down.poll(cx, streams, &around) {
            Poll::Ready(event) => Some((Direction::ToClient, event)),
            Poll::Pending => None,
        }
    }

    fn on_event(&mut self, (direction, event): (Direction, Event)) {
        let by_client = direction == Direction::ToUpstream;
        if self.upstream.is_none() && self.closing.is_none() {
            let leaves = match &event {
                Event::Close(_) | Event::Ended | Event::Violation(_) | Event::Broken(_) => true,
                Event::Verdict(_) | Event::Failed | Event::Ping(_) => false,
            };
            self.delivers = leaves && self.up.is_waiting();
        }
        let side = if by_client { ClosedBy::Client } else { ClosedBy::Upstream };
        match event {
            Event::Ping(data) => self.pump(opposite(direction)).pong(data),
            Event::Close(close) => self.pass_close(direction, &close, side),
            Event::Verdict(close) => {
                self.close_both(close.code(), close.reason(), ClosedBy::Plugin, End::Closed);
            }
            Event::Failed => self.fail(),
            Event::Violation(violation) => self.on_violation(direction, violation),
            Event::Ended => {
                self.on_end(direction, End::Failed(std::io::ErrorKind::UnexpectedEof.into(), by_client))
            }
            Event::Broken(Broken { error, reading: true }) => {
                self.pump(direction).end();
                self.on_end(direction, End::Failed(error, by_client));
            }
            Event::Broken(Broken { error, reading: false }) => {
                self.on_gone(direction, End::Failed(error, !by_client));
            }
        }
    }

    /// The receiver of a direction takes nothing more. What it has sent itself still goes on.
    fn on_gone(&mut self, direction: Direction, end: End) {
        self.pump(direction).abandon();
        let closing = self.closing.get_or_insert_with(|| Closing {
            closed: Closed { code: None, reason: "".into(), by: ClosedBy::Nobody },
            end,
            since: Coarse::now(),
            sent: [false; 2],
            broke: false,
        });
        if let Some(sent) = closing.sent.get_mut(index(direction)) {
            *sent = true;
        }
    }

    /// A side has sent its close frame: the other one gets it, unless it got one before.
    fn pass_close(&mut self, direction: Direction, close: &close::Close, by: ClosedBy) {
        let closing = self.closing.get_or_insert_with(|| Closing {
            closed: Closed { code: close.code, reason: (*close.reason).into(), by },
            end: End::Closed,
            since: Coarse::now(),
            sent: [false; 2],
            broke: false,
        });
        if closing.closed.by == ClosedBy::Nobody {
            closing.closed = Closed { code: close.code, reason: (*close.reason).into(), by };
        }
        if let Some(payload) = closing.last_word(direction, Some(close)) {
            self.pump(direction).say_close(&payload);
        }
    }

    /// A side has ended without a close frame.
    fn on_end(&mut self, direction: Direction, end: End) {
        if self.closing.is_none() {
            let closed = Closed { code: None, reason: "".into(), by: ClosedBy::Nobody };
            // What it has sent still goes on; then the other side's connection ends, as it would without weir.
            let since = Coarse::now();
            self.closing = Some(Closing { closed, end, since, sent: [true; 2], broke: false });
            self.pump(opposite(direction)).end();
            return;
        }
        self.close_without(direction);
    }

    /// A side sends no close frame: the other side's handshake still comes to its end.
    fn close_without(&mut self, direction: Direction) {
        let payload = self.closing.as_mut().and_then(|closing| closing.last_word(direction, None));
        if let Some(payload) = payload {
            self.pump(direction).say_close(&payload);
        }
    }

    /// A side broke a rule. It is told so after all that the other side has to say to what it sent before.
    fn on_violation(&mut self, direction: Direction, violation: Violation) {
        let Violation { code, detail } = violation;
        let by_client = direction == Direction::ToUpstream;
        self.pump(direction).discard();
        if let Some(closing) = &self.closing {
            let told = closing.sent.get(index(opposite(direction))).is_some_and(|told| *told);
            self.pump(direction).end();
            // One that has yet to be told waits for what the other side has to say.
            if told {
                self.close_without(direction);
            }
            return;
        }
        self.pump(direction).say_close(&close::encode(1001, ""));
        self.closing = Some(Closing {
            closed: Closed { code: Some(code), reason: detail.into(), by: ClosedBy::Weir },
            end: End::Broke(detail, by_client),
            since: Coarse::now(),
            sent: [by_client, !by_client],
            broke: true,
        });
    }

    /// Sends close frames to both sides, and waits for theirs.
    fn close_both(&mut self, code: u16, reason: &str, by: ClosedBy, end: End) {
        if self.closing.is_some() {
            return;
        }
        let around = Around {
            talkers: &self.talkers,
            live: self.control.live(),
            show: self.show.as_ref(),
            hold: true,
        };
        // What was sent before goes first, as far as that is possible now.
        self.up.send_last(&around);
        self.down.send_last(&around);
        self.up.discard();
        self.down.discard();
        let payload = close::encode(code, reason);
        self.up.say_close(&payload);
        self.down.say_close(&payload);
        let closed = Closed { code: Some(code), reason: reason.into(), by };
        self.closing = Some(Closing { closed, end, since: Coarse::now(), sent: [true; 2], broke: false });
    }

    /// The close handshake takes too long. `None`: a side that has got no close frame yet gets one, and a moment for it.
    fn cut(&mut self) -> Option<Closing> {
        let closing = self.closing.as_mut()?;
        let direction = match closing.sent {
            [true, true] => return self.closing.take(),
            [false, _] => Direction::ToUpstream,
            _ => Direction::ToClient,
        };
        closing.since = Coarse::now();
        self.pump(direction).end();
        self.close_without(direction);
        None
    }

    fn pump(&mut self, direction: Direction) -> &mut Pump {
        match direction {
            Direction::ToUpstream => &mut self.up,
            Direction::ToClient => &mut self.down,
        }
    }

    /// Counts what has passed.
    fn note_passed(&mut self) {
        let both = |f: fn(&Pump) -> u64| [f(&self.up), f(&self.down)];
        let seen = Seen {
            frames: both(Pump::frames),
            bytes: both(Pump::carried),
            read: both(Pump::read),
            for_weir: both(Pump::for_weir),
        };
        if self.down.has_asked() && self.ping == Ping::Soon {
            self.ping = Ping::Since(Coarse::now());
        }
        if seen == self.seen {
            return;
        }
        let now = Coarse::now();
        if seen.read.first() != self.seen.read.first() {
            (self.heard, self.ping) = (now, Ping::No);
        }
        let for_others =
            |seen: &Seen| seen.read.iter().sum::<u64>().saturating_sub(seen.for_weir.iter().sum::<u64>());
        if for_others(&seen) != for_others(&self.seen) {
            self.passed = now;
        }
        self.seen = seen;
        let counts = seen.bytes.into_iter().zip(seen.frames);
        for (direction, (bytes, frames)) in
            [Direction::ToUpstream, Direction::ToClient].into_iter().zip(counts)
        {
            self.control.passed(direction, bytes, frames);
        }
    }

    /// Waits for the next moment at which something is to happen by itself.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<Closing> {
        loop {
            let Some((at, due)) = self.next_due() else {
                self.deadline.clear();
                return Poll::Pending;
            };
            self.deadline.set_at(at);
            if self.deadline.poll(cx).is_pending() {
                return Poll::Pending;
            }
            match due {
                Due::Cut => {
                    if let Some(closing) = self.cut() {
                        return Poll::Ready(closing);
                    }
                }
                Due::Wordless => {
                    self.close_both(1008, "no message in time", ClosedBy::Weir, End::Wordless);
                }
                Due::Idle => self.close_both(1001, "idle", ClosedBy::Weir, End::Idle),
                Due::Aged => self.close_both(1001, "as old as it may be", ClosedBy::Weir, End::Aged),
                // The answer may be there: nobody reads it while the upstream or a plugin holds it up.
                Due::Silent if !self.up.is_reading() => self.ping = Ping::Since(Coarse::now()),
                Due::Silent => self.close_both(1001, "no answer to a ping", ClosedBy::Weir, End::Silent),
                Due::Held => self.holds = false,
                Due::Ping => {
                    let data = Bytes::copy_from_slice(&fastrand::u64(..).to_be_bytes());
                    self.ping = Ping::Soon;
                    self.up.awaits(data.clone());
                    self.down.ping(data);
                }
            }
            // What that wrote goes out.
            cx.waker().wake_by_ref();
        }
    }

    /// The next thing that is to happen by itself, and when.
    fn next_due(&self) -> Option<(Coarse, Due)> {
        if let Some(closing) = &self.closing {
            return Some((closing.since.after(self.bounds.close), Due::Cut));
        }
        let bounds = &self.bounds;
        let ping = match self.ping {
            Ping::Since(asked) => (bounds.ping_timeout, asked, Due::Silent),
            Ping::No => (bounds.ping_interval, self.heard, Due::Ping),
            Ping::Soon => (Duration::ZERO, self.heard, Due::Ping),
        };
        let held = match self.moving.filter(|_| self.holds) {
            Some(since) => (HOLD, since, Due::Held),
            None => (Duration::ZERO, self.opened, Due::Held),
        };
        let first = if self.upstream.is_none() && !self.opening { bounds.first } else { Duration::ZERO };
        let first = (first, self.opened, Due::Wordless);
        let all =
            [(bounds.idle, self.passed, Due::Idle), (bounds.age, self.opened, Due::Aged), ping, held, first];
        let set = all.into_iter().filter(|(time, ..)| !time.is_zero());
        set.map(|(time, from, due)| (from.after(time), due)).min_by_key(|(at, _)| *at)
    }

    /// Ends both connections, with a moment for what is still on its way.
    async fn depart(&mut self) {
        let client = depart(&mut self.client, None);
        let upstream = async {
            match &mut self.upstream {
                Some(upstream) => depart(upstream, None).await,
                None => Default::default(),
            }
        };
        let _ = timeout(LINGER, async { tokio::join!(client, upstream) }).await;
    }
}

/// What is to happen by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// A close handshake that takes too long.
    Cut,
    /// There is nothing yet for which the upstream would be opened.
    Wordless,
    Idle,
    Aged,
    /// The client has not answered.
    Silent,
    Ping,
    /// Frames have waited for the other direction.
    Held,
}

impl Closing {
    /// The close frame of a direction, which counts as sent; `None` where one was. `said`: what its sender has closed with.
    fn last_word(&mut self, direction: Direction, said: Option<&close::Close>) -> Option<Vec<u8>> {
        let sent = self.sent.get_mut(index(direction)).filter(|sent| !**sent)?;
        *sent = true;
        let (code, reason) = match said {
            _ if self.broke => (self.closed.code, &*self.closed.reason),
            Some(close) => (close.code, &*close.reason),
            // As it would be without weir.
            None if self.closed.by == ClosedBy::Nobody => return None,
            None => (self.closed.code, ""),
        };
        Some(code.map(|code| close::encode(code, reason)).unwrap_or_default())
    }
}

impl Bounds {
    fn new(settings: &spec::WebSocket) -> Self {
        let frames = &settings.frames;
        let age = settings.age();
        Bounds {
            idle: settings.idle_timeout,
            age,
            most_age: age,
            close: frames.close_timeout,
            ping_interval: frames.ping_interval,
            ping_timeout: frames.ping_timeout,
            answers: frames.pings == spec::Pings::Answer,
            limits: Limits {
                frame: frames.max_frame,
                message: frames.max_message,
                fragments: frames.max_fragments,
                controls_per_second: frames.max_controls,
            },
            first: frames.first_message_timeout,
        }
    }

    fn set(&mut self, limits: &RelayLimits) {
        self.limits.message = limits.max_message.unwrap_or(self.limits.message);
        self.idle = limits.idle_timeout.unwrap_or(self.idle);
        // A plugin may end it sooner than the route, never later.
        let ages = [self.most_age, limits.max_age.unwrap_or_default()];
        self.age = ages.into_iter().filter(|age| !age.is_zero()).min().unwrap_or_default();
        self.ping_interval = limits.ping_interval.unwrap_or(self.ping_interval);
    }
}

fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::ToUpstream => Direction::ToClient,
        Direction::ToClient => Direction::ToUpstream,
    }
}
