//! One direction of a relay whose frames are read.
//!
//! Frames that nobody changes go on as the bytes that they came in. Those that nobody wants to see are not even waited
//! for: once their header was looked at, they pass in pieces.
//!
//! This file takes frames out of what was read; [`onward`] is what becomes of them.

mod onward;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use weir_plugin::Step;
use weir_plugin::websocket::{CloseReason, Direction, Frame, Opcode as Kind, Watch};

use super::coding::Coding;
use super::input::Input;
use super::output::Output;
use super::show::Show;
use super::talkers::{Outcome, Stage, Talkers};
use crate::net::{InTurns, Stream};
use crate::relay::flow::Broken;
use crate::relay::live::Live;
use crate::relay::tap::Passed;
use crate::ws::extension::Agreement;
use crate::ws::frame::{Head, Opcode};
use crate::ws::sequence::{Limits, Part, Sequence};
use crate::ws::utf8::Utf8;
use crate::ws::{Role, Violation, close, mask};

/// So much may wait to be written before more frames are looked at.
const HIGH: usize = 64 << 10;
/// Answers to pings that wait for a slow receiver at most.
const PONGS: usize = 16;
/// Reads in a row before other connections of the worker have their turn.
const ROUNDS: usize = 16;

/// One direction.
pub(super) struct Pump {
    direction: Direction,
    sender: Role,
    input: Input,
    output: Output,
    sequence: Sequence,
    utf8: Utf8,
    /// The frame whose payload is awaited.
    head: Option<(Head, Part)>,
    /// Bytes of a frame that passes in pieces, which are still to come.
    passing: u64,
    /// What the plugins are being asked about.
    asked: Option<Box<Asked>>,
    /// A message that is being put together.
    message: Option<Box<Message>>,
    /// A message whose frames go on one by one.
    open: Option<Open>,
    /// The rest of the message passes without being read.
    unread: bool,
    /// What weir itself has to say to the receiver between two frames.
    ping: Option<Bytes>,
    pongs: VecDeque<Bytes>,
    /// What weir's own ping to the sender says: its answer is for nobody else.
    awaited: Option<Bytes>,
    coding: Option<Box<Coding>>,
    /// The most bytes of a message, without compression.
    most: u64,
    state: State,
    /// Whether the receiver waits for the rest of a frame that does not come.
    is_cut: bool,
    /// Whether it was left before all was looked at that was read.
    early: bool,
    /// Whether others have sent something into it.
    mail: bool,
    /// Pings are answered, and no pongs passed on.
    answers: bool,
    /// Whether a ping of weir's own was sent.
    asks: bool,
    /// Whether it waits for the sender.
    reading: bool,
    /// Bytes that have come, and those of them that were for nobody but weir.
    read: u64,
    own: u64,
    frames: u64,
    messages: u64,
}

/// How far a direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing is passed on any more; the sender's close frame is awaited.
    Discarding,
    /// The sender has sent its close frame, or ended.
    Closed,
}

/// What the plugins are being asked about.
struct Asked {
    waiting: Pin<Box<dyn Future<Output = Outcome>>>,
    stage: Stage,
    about: About,
}

/// A frame that the plugins are asked about, or the message that it completes.
struct About {
    part: Part,
    /// Where it is in the input, with its header.
    raw: Range<usize>,
    size: u64,
}

/// A message that is being put together.
struct Message {
    /// The frames as they came, as long as none of them was changed.
    raw: Option<Vec<u8>>,
    data: Vec<u8>,
    size: u64,
    /// Whether any of them goes on.
    any: bool,
}

/// A message whose frames go on one by one.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Whether the receiver has got one of them.
    begun: bool,
    /// How they reach the receiver.
    form: Form,
    /// Of what the receiver gets, where it is text.
    utf8: Utf8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As they came, where they are not changed.
    Raw,
    /// Compressed anew.
    Deflated,
    /// Without the sender's compression.
    Inflated,
}

/// What a direction comes to that concerns the other one.
pub(super) enum Event {
    /// The sender has sent its close frame.
    Close(close::Close),
    /// The sender has ended without one.
    Ended,
    /// The sender broke a rule, or went over a limit.
    Violation(Violation),
    /// A plugin ends the relay.
    Verdict(CloseReason),
    /// A plugin failed that must not be left out.
    Failed,
    /// A ping that weir answers: what is in it.
    Ping(Bytes),
    /// A connection broke off.
    Broken(Broken),
}

/// What a direction is polled with.
pub(super) struct Around<'a> {
    pub(super) talkers: &'a Rc<Talkers>,
    pub(super) live: Option<&'a Live>,
    pub(super) show: Option<&'a Show>,
    /// No frame is begun any more.
    pub(super) hold: bool,
}

impl Around<'_> {
    /// Shows something to an operator who looks.
    fn tell(&self, direction: Direction, opcode: Kind, data: &Bytes, passed: Passed) {
        if let (Some(show), Some(live)) = (self.show, self.live) {
            show.tell(live, direction, opcode, data, passed);
        }
    }
}

impl Pump {
    /// A direction that begins with bytes that were read before.
    pub(super) fn new(
        direction: Direction,
        head: &Bytes,
        limits: Limits,
        coding: Option<Coding>,
        answers: bool,
    ) -> Self {
        let sender = match direction {
            Direction::ToUpstream => Role::Client,
            Direction::ToClient => Role::Server,
        };
        Pump {
            direction,
            sender,
            input: Input::new(head),
            output: Output::default(),
            sequence: Sequence::new(sender, coding.as_ref().is_some_and(Coding::inflates), limits),
            utf8: Utf8::default(),
            head: None,
            passing: 0,
            asked: None,
            message: None,
            open: None,
            unread: false,
            ping: None,
            pongs: VecDeque::new(),
            awaited: None,
            coding: coding.map(Box::new),
            most: limits.message,
            state: State::Open,
            is_cut: false,
            early: false,
            mail: false,
            answers,
            asks: false,
            reading: false,
            read: 0,
            own: 0,
            frames: 0,
            messages: 0,
        }
    }

    /// The sender is there now, with bytes that were read of it before, and has agreed on this.
    pub(super) fn hear(&mut self, head: &Bytes, agreement: Option<Agreement>) {
        self.input = Input::new(head);
        if let (Some(coding), Some(agreement)) = (&mut self.coding, agreement) {
            coding.hear(agreement);
            self.sequence.set_deflate();
        }
    }

    /// The receiver is there now, and has agreed on this.
    pub(super) fn reach(&mut self, agreement: Option<Agreement>) {
        if let (Some(coding), Some(agreement)) = (&mut self.coding, agreement) {
            coding.reach(agreement);
        }
    }

    /// Whether something waits for the receiver.
    pub(super) fn is_waiting(&self) -> bool {
        self.output.waiting() > 0
    }

    /// The receiver is not there, and will not be: what waits for it is not written.
    pub(super) fn forget(&mut self) {
        self.output.forget();
    }

    /// Bytes that the receiver has taken.
    pub(super) fn carried(&self) -> u64 {
        self.output.carried()
    }

    /// Frames that have come.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// Takes other bounds.
    pub(super) fn limit(&mut self, limits: Limits, answers: bool) {
        self.most = limits.message;
        self.sequence.set_limits(limits);
        self.answers = answers;
    }

    /// Others have sent something into it.
    pub(super) fn has_mail(&mut self) {
        self.mail = true;
    }

    /// Whether it is between two frames, or two messages where they are put together, and nobody is being asked.
    pub(super) fn rests(&self) -> bool {
        self.asked.is_none() && self.message.is_none() && self.open.is_none() && self.passing == 0
    }

    /// Whether all was written.
    pub(super) fn is_flushed(&self) -> bool {
        self.output.is_empty()
    }

    /// Whether the sender's close frame, or its end, was seen.
    pub(super) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Passes nothing on any more, and waits for the sender's close frame.
    pub(super) fn discard(&mut self) {
        if self.state == State::Open {
            self.state = State::Discarding;
            self.is_cut = self.passing > 0;
            self.asked = None;
            self.message = None;
        }
    }

    /// The sender has ended: nothing more is read.
    pub(super) fn end(&mut self) {
        self.discard();
        self.state = State::Closed;
    }

    /// The receiver is gone: nothing more is written.
    pub(super) fn abandon(&mut self) {
        self.end();
        self.output.forget();
    }

    /// Adds the last frame that the receiver gets, unless it waits for the rest of another.
    pub(super) fn say_close(&mut self, payload: &[u8]) {
        if !self.is_cut {
            self.encode(true, false, Opcode::Close, payload);
        }
    }

    /// Has all that others have sent go on now, before the end.
    pub(super) fn send_last(&mut self, around: &Around<'_>) {
        while self.may_send() && self.send_mail(around) {}
    }

    /// Sends the receiver a ping of weir's own, as soon as it can.
    pub(super) fn ping(&mut self, data: Bytes) {
        self.ping = Some(data);
    }

    /// Answers a ping of the receiver's, as soon as it can. Of very many the last ones: an answer counts for all before.
    pub(super) fn pong(&mut self, data: Bytes) {
        if self.pongs.len() >= PONGS {
            self.pongs.pop_front();
        }
        self.pongs.push_back(data);
    }

    /// Whether the ping of weir's own was sent since this was asked last.
    pub(super) fn has_asked(&mut self) -> bool {
        std::mem::take(&mut self.asks)
    }

    /// Whether it waits for the sender, and for nothing else.
    pub(super) fn is_reading(&self) -> bool {
        self.reading
    }

    /// Bytes that have come of the sender.
    pub(super) fn read(&self) -> u64 {
        self.read
    }

    /// Of these, those that were for nobody but weir.
    pub(super) fn for_weir(&self) -> u64 {
        self.own
    }

    /// The answer to this ping is awaited from the sender.
    pub(super) fn awaits(&mut self, data: Bytes) {
        self.awaited = Some(data);
    }

    /// Carries frames until something comes that concerns the other direction. Once it is closed, it only writes. A side
    /// that is not there yet is waited for.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (mut from, mut to): (Option<&mut Stream>, Option<&mut Stream>),
        around: &Around<'_>,
    ) -> Poll<Event> {
        for _ in 0..ROUNDS {
            if let Some(event) = self.advance(around) {
                return Poll::Ready(event);
            }
            self.reading = false;
            let written = match to.as_deref_mut() {
                None => self.output.is_empty(),
                Some(to) => match self.output.poll_write(cx, &self.input, to) {
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Event::Broken(Broken { error, reading: false }));
                    }
                    written => written.is_ready(),
                },
            };
            // Also while the receiver is slow: a call that waits has its time, and holds others up.
            if let Some(asked) = &mut self.asked {
                let outcome = ready!(asked.waiting.as_mut().poll(cx));
                if let Some(Asked { stage, about, .. }) = self.asked.take().map(|asked| *asked)
                    && let Err(event) = self.settled(about, outcome, stage, around)
                {
                    return Poll::Ready(event);
                }
                continue;
            }
            if !written {
                return Poll::Pending;
            }
            self.input.done();
            if around.hold && self.rests() || self.state == State::Closed {
                self.output.rest();
                return Poll::Pending;
            }
            if self.early || self.mail && around.live.is_some() && self.may_send() {
                continue;
            }
            let Some(from) = from.as_deref_mut() else {
                self.output.rest();
                return Poll::Pending;
            };
            match ready!(self.poll_read(cx, from)) {
                Ok(0) => {
                    self.end();
                    return Poll::Ready(Event::Ended);
                }
                Ok(n) => self.read += n as u64,
                Err(error) => return Poll::Ready(Event::Broken(Broken { error, reading: true })),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, from: &mut Stream) -> Poll<io::Result<usize>> {
        let wanted = match &self.head {
            Some((head, _)) => usize::try_from(head.length).unwrap_or(usize::MAX).saturating_add(head.size),
            None => 0,
        };
        let read = self.input.poll_read(cx, from, wanted);
        self.reading = read.is_pending();
        if self.reading {
            self.output.rest();
        }
        read
    }

    /// Looks at what was read, as far as it goes without waiting.
    fn advance(&mut self, around: &Around<'_>) -> Option<Event> {
        loop {
            self.early = self.output.waiting() >= HIGH;
            if self.asked.is_some() || self.state == State::Closed || self.early {
                return None;
            }
            if self.mail && self.may_send() {
                self.mail = self.send_mail(around);
            }
            if self.passing > 0 {
                if !self.pass_on() {
                    return None;
                }
                continue;
            }
            self.say_own();
            if around.hold && self.rests() {
                return None;
            }
            match self.frame(around) {
                Ok(true) => {}
                Ok(false) => return None,
                Err(event) => return Some(event),
            }
        }
    }

    /// Says what weir itself has to say.
    fn say_own(&mut self) {
        if self.state != State::Open {
            (self.ping, self.pongs) = (None, VecDeque::new());
            return;
        }
        if let Some(data) = self.ping.take() {
            self.asks = true;
            self.encode(true, false, Opcode::Ping, &data);
        }
        while let Some(data) = self.pongs.pop_front() {
            self.encode(true, false, Opcode::Pong, &data);
        }
        if self.pongs.capacity() > 0 {
            self.pongs = VecDeque::new();
        }
    }

    /// Whether a message of others can be sent now.
    fn may_send(&self) -> bool {
        let inside = self.unread || self.open.is_some_and(|open| open.begun);
        self.state == State::Open && self.passing == 0 && !inside
    }

    /// Has what others have sent go on, as much as may wait. Whether there is more.
    fn send_mail(&mut self, around: &Around<'_>) -> bool {
        let Some(live) = around.live else { return false };
        let most = self.output.waiting().saturating_add(HIGH);
        while self.output.waiting() < most {
            let Some((opcode, data)) = live.next(self.direction) else { return false };
            around.tell(self.direction, opcode, &data, Passed::Sent);
            self.encode_message(opcode, !opcode.is_control(), &data);
        }
        true
    }

    /// More of a frame that passes in pieces. False: there is no more.
    fn pass_on(&mut self) -> bool {
        let there = self.input.fresh().len();
        let n = there.min(usize::try_from(self.passing).unwrap_or(usize::MAX));
        if n == 0 {
            return false;
        }
        let range = self.input.see(n);
        self.passing -= n as u64;
        if self.state == State::Open {
            self.output.run(&self.input, range);
        }
        true
    }

    /// Looks at the next frame. False: it is not there, or not all of it.
    fn frame(&mut self, around: &Around<'_>) -> Result<bool, Event> {
        let (head, part) = match self.head {
            Some(known) => known,
            None => {
                let Some(head) = Head::parse(self.input.fresh()).map_err(Event::Violation)? else {
                    return Ok(false);
                };
                if self.state == State::Discarding && head.opcode != Opcode::Close {
                    self.input.see(head.size);
                    self.passing = head.length;
                    return Ok(true);
                }
                if self.state == State::Discarding {
                    self.head = Some((head, Part::Close));
                    return self.frame(around);
                }
                let part = self.sequence.head(&head, Instant::now()).map_err(Event::Violation)?;
                self.frames += 1;
                if self.passes_unread(part, around) {
                    return Ok(self.pass_unread(&head, part));
                }
                self.head = Some((head, part));
                (head, part)
            }
        };
        let whole = usize::try_from(head.length).unwrap_or(usize::MAX).saturating_add(head.size);
        if self.input.fresh().len() < whole {
            return Ok(false);
        }
        self.head = None;
        let raw = self.input.see(whole);
        match self.state {
            State::Open => self.take(head, part, raw, around)?,
            _ => return self.discarded(&head, raw),
        }
        Ok(true)
    }

    /// A frame came that is not passed on any more.
    fn discarded(&mut self, head: &Head, raw: Range<usize>) -> Result<bool, Event> {
        if head.opcode != Opcode::Close {
            return Ok(true);
        }
        self.state = State::Closed;
        Err(self.closed(head, raw))
    }

    /// Whether a frame can go on without its payload having been read.
    fn passes_unread(&self, part: Part, around: &Around<'_>) -> bool {
        let Part::Data { compressed, .. } = part else { return false };
        let Watch { frames, messages, .. } = around.talkers.watch();
        let read = compressed && self.coding.as_ref().is_some_and(|coding| coding.reads_all());
        let wanted = frames || messages || around.show.is_some() || read;
        self.unread || !(wanted || self.message.is_some() || self.open.is_some())
    }

    fn pass_unread(&mut self, head: &Head, part: Part) -> bool {
        if let Part::Data { last, .. } = part {
            self.unread = !last;
            self.messages += u64::from(last);
        }
        let range = self.input.see(head.size);
        self.output.run(&self.input, range);
        self.passing = head.length;
        true
    }

    /// A frame is there as a whole.
    fn take(&mut self, head: Head, part: Part, raw: Range<usize>, around: &Around<'_>) -> Result<(), Event> {
        let (opcode, first, last) = match part {
            Part::Close => {
                self.state = State::Closed;
                return Err(self.closed(&head, raw));
            }
            Part::Ping => (Kind::Ping, true, true),
            Part::Pong => (Kind::Pong, true, true),
            Part::Data { text, first, last, .. } => {
                (if text { Kind::Text } else { Kind::Binary }, first, last)
            }
        };
        let data = self.payload(&head, part, raw.clone()).map_err(Event::Violation)?;
        let compressed = matches!(part, Part::Data { compressed: true, .. });
        let frame = Frame {
            direction: self.direction,
            opcode,
            data: data.into(),
            first,
            last,
            sequence: self.frames,
            compressed,
            size: head.length,
        };
        let about = About { part, raw, size: head.length };
        if !around.talkers.watch().frames {
            return self.settled(about, Outcome::Forward(frame, false), Stage::Frames, around);
        }
        self.ask(Stage::Frames, frame, about, around)
    }

    /// What a frame says, without mask and compression.
    fn payload(&mut self, head: &Head, part: Part, raw: Range<usize>) -> Result<Vec<u8>, Violation> {
        let mut data = self.unmasked(head, raw);
        if let Part::Data { compressed: true, last, .. } = part
            && let Some(coding) = &mut self.coding
        {
            let mut inflated = Vec::new();
            coding.read(&data, last, &mut inflated, self.most)?;
            data = inflated;
        }
        if let Part::Data { text: true, last, .. } = part {
            self.utf8.feed(&data, last)?;
        }
        Ok(data)
    }

    /// The payload of a frame without its mask.
    fn unmasked(&self, head: &Head, raw: Range<usize>) -> Vec<u8> {
        let bytes = self.input.at(raw.start + head.size..raw.end);
        let mut data = Vec::new();
        match head.mask {
            Some(key) => mask::unmasked(bytes, key, 0, &mut data),
            None => data.extend_from_slice(bytes),
        }
        data
    }

    /// The sender's close frame.
    fn closed(&self, head: &Head, raw: Range<usize>) -> Event {
        match close::Close::parse(&self.unmasked(head, raw)) {
            Ok(close) => Event::Close(close),
            Err(violation) => Event::Violation(violation),
        }
    }

    /// Asks the plugins.
    fn ask(&mut self, stage: Stage, frame: Frame, about: About, around: &Around<'_>) -> Result<(), Event> {
        match around.talkers.ask(stage, frame) {
            Step::Done(outcome) => self.settled(about, outcome, stage, around),
            Step::Wait(waiting) => {
                let waiting = Box::pin(InTurns::new(waiting));
                self.asked = Some(Box::new(Asked { waiting, stage, about }));
                Ok(())
            }
        }
    }
}
