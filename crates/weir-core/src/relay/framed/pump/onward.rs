//! What becomes of frames and messages once the plugins have decided: they go on as they came or as weir makes them anew,
//! are put together, or end here.

use weir_plugin::websocket::{Frame, Opcode as Kind};

use super::{About, Around, Event, Form, Message, Open, Pump};
use crate::relay::framed::talkers::{Outcome, Stage};
use crate::relay::tap::Passed;
use crate::ws::frame::{Head, Opcode};
use crate::ws::sequence::Part;
use crate::ws::utf8::Utf8;
use crate::ws::{Role, Violation, mask};

impl Pump {
    /// The plugins have decided.
    pub(super) fn settled(
        &mut self,
        about: About,
        outcome: Outcome,
        stage: Stage,
        around: &Around<'_>,
    ) -> Result<(), Event> {
        // What a hook has sent itself goes first.
        if around.live.is_some_and(|live| live.has_asked()) && self.may_send() {
            self.mail |= self.send_mail(around);
        }
        let decided = match outcome {
            Outcome::Forward(frame, changed) => Some((frame, changed)),
            Outcome::Drop(frame) => {
                around.tell(self.direction, frame.opcode, &frame.data, Passed::Dropped);
                None
            }
            Outcome::Close(close) => return Err(Event::Verdict(close)),
            Outcome::Failed => return Err(Event::Failed),
        };
        // Nothing follows what a hook has ended.
        let ended = around.live.is_some_and(|live| live.has_asked() && live.close().is_some());
        let decided = decided.filter(|_| !ended);
        let Part::Data { compressed, last, .. } = about.part else {
            return self.control(about, decided);
        };
        match stage {
            // Whatever is wanted by now: what was begun in one way is ended in it.
            Stage::Frames
                if self.message.is_some() || self.open.is_none() && around.talkers.watch().messages =>
            {
                return self.collect(&about, decided, around);
            }
            Stage::Frames if last && self.open.is_none() => {
                self.messages += 1;
                self.whole(&about, decided, around);
            }
            Stage::Frames => return self.fragment(&about, decided, compressed, around),
            Stage::Messages => self.whole(&about, decided, around),
        }
        Ok(())
    }

    /// A ping or a pong goes on.
    fn control(&mut self, about: About, decided: Option<(Frame, bool)>) -> Result<(), Event> {
        let Some((frame, changed)) = decided else { return Ok(()) };
        if frame.opcode == Kind::Pong && self.awaited.as_ref() == Some(&frame.data) {
            self.awaited = None;
            self.own += about.raw.len() as u64;
            return Ok(());
        }
        if self.answers {
            self.own += about.raw.len() as u64;
            return match frame.opcode {
                Kind::Ping => Err(Event::Ping(frame.data)),
                _ => Ok(()),
            };
        }
        match changed {
            false => self.output.run(&self.input, about.raw),
            true => self.encode_message(frame.opcode, false, &frame.data),
        }
        Ok(())
    }

    /// A frame becomes part of a message that is put together.
    fn collect(
        &mut self,
        about: &About,
        decided: Option<(Frame, bool)>,
        around: &Around<'_>,
    ) -> Result<(), Event> {
        let Part::Data { first, last, compressed, text } = about.part else { return Ok(()) };
        if first && last {
            self.messages += 1;
            let Some((frame, changed)) = decided else {
                self.whole(about, None, around);
                return Ok(());
            };
            let message = Frame { sequence: self.messages, ..frame };
            let about = About { raw: about.raw.clone(), ..*about };
            return self.ask_message(message, about, changed, around);
        }
        let mut message = match self.message.take() {
            Some(message) => message,
            None => Box::new(Message { raw: Some(Vec::new()), data: Vec::new(), size: 0, any: false }),
        };
        message.size += about.size;
        match decided {
            Some((frame, changed)) => {
                message.any = true;
                message.data.extend_from_slice(&frame.data);
                match &mut message.raw {
                    Some(raw) if !changed => raw.extend_from_slice(self.input.at(about.raw.clone())),
                    raw => *raw = None,
                }
            }
            None => message.raw = None,
        }
        if self.most > 0 && message.data.len() as u64 > self.most {
            return Err(Event::Violation(Violation::too_big("message too big")));
        }
        if !last {
            self.message = Some(message);
            return Ok(());
        }
        self.messages += 1;
        if !message.any {
            self.whole(about, None, around);
            return Ok(());
        }
        let frame = Frame {
            direction: self.direction,
            opcode: if text { Kind::Text } else { Kind::Binary },
            data: std::mem::take(&mut message.data).into(),
            first: true,
            last: true,
            sequence: self.messages,
            compressed,
            size: message.size,
        };
        let changed = message.raw.is_none();
        if changed && frame.opcode.check(&frame.data).is_err() {
            return Err(around.talkers.broke_text());
        }
        let about = About { part: about.part, raw: 0..0, size: message.size };
        self.message = Some(message);
        self.ask_message(frame, about, changed, around)
    }

    /// Asks about a whole message, which hooks for frames may have changed before.
    fn ask_message(
        &mut self,
        message: Frame,
        about: About,
        changed: bool,
        around: &Around<'_>,
    ) -> Result<(), Event> {
        if changed && self.message.is_none() {
            // It does not go on as it came, whatever is decided about it now.
            self.message =
                Some(Box::new(Message { raw: None, data: Vec::new(), size: about.size, any: true }));
        }
        self.ask(Stage::Messages, message, about, around)
    }

    /// A whole message, of one frame or put together, goes on.
    fn whole(&mut self, about: &About, decided: Option<(Frame, bool)>, around: &Around<'_>) {
        let message = self.message.take();
        let Part::Data { compressed, .. } = about.part else { return };
        let Some((frame, changed)) = decided else {
            if compressed && let Some(coding) = &mut self.coding {
                coding.broken();
            }
            return;
        };
        around.tell(self.direction, frame.opcode, &frame.data, passed(changed));
        let kept = message.as_ref().is_none_or(|message| message.raw.is_some());
        let readable = !compressed || self.coding.as_ref().is_some_and(|coding| coding.is_raw());
        if !changed && kept && readable {
            match message.and_then(|message| message.raw) {
                Some(raw) => self.output.own(&self.input).extend_from_slice(&raw),
                None => self.output.run(&self.input, about.raw.clone()),
            }
            return;
        }
        if compressed && let Some(coding) = &mut self.coding {
            coding.broken();
        }
        self.encode_message(frame.opcode, compressed, &frame.data);
    }

    /// A fragment of a message whose frames go on one by one.
    fn fragment(
        &mut self,
        about: &About,
        decided: Option<(Frame, bool)>,
        compressed: bool,
        around: &Around<'_>,
    ) -> Result<(), Event> {
        let Part::Data { text, last, first, .. } = about.part else { return Ok(()) };
        if compressed && let Some(coding) = &mut self.coding {
            // Whatever becomes of it, it does not go on as it was.
            coding.broken();
        }
        let deflates = self.coding.as_ref().is_some_and(|coding| coding.deflates());
        let form = match (compressed, deflates) {
            (false, _) => Form::Raw,
            (true, true) => Form::Deflated,
            (true, false) => Form::Inflated,
        };
        let mut open = self.open.unwrap_or(Open { begun: false, form, utf8: Utf8::default() });
        let data = decided.as_ref().map_or(&[][..], |(frame, _)| &frame.data);
        if text && open.utf8.feed(data, last).is_err() {
            return Err(around.talkers.broke_text());
        }
        if let Some((frame, changed)) = &decided {
            around.tell(self.direction, frame.opcode, &frame.data, passed(*changed));
        }
        let opcode = match (open.begun, text) {
            (true, _) => Opcode::Continuation,
            (false, true) => Opcode::Text,
            (false, false) => Opcode::Binary,
        };
        let same = first != open.begun;
        let begun = match decided {
            Some((_, false)) if open.form == Form::Raw && same => {
                self.output.run(&self.input, about.raw.clone());
                true
            }
            Some((frame, _)) => {
                self.encode_fragment(last, &open, opcode, &frame.data);
                true
            }
            // Its receiver waits for the end of what it has got of the message.
            None if last && open.begun => {
                self.encode_fragment(true, &open, opcode, &[]);
                true
            }
            None => open.begun,
        };
        if last {
            self.messages += 1;
        }
        self.open = (!last).then_some(Open { begun, ..open });
        Ok(())
    }

    fn encode_fragment(&mut self, last: bool, open: &Open, opcode: Opcode, data: &[u8]) {
        let coding = self.coding.as_mut().filter(|_| open.form == Form::Deflated);
        match coding.and_then(|coding| coding.fragment(data, last)) {
            Some(deflated) => self.encode(last, !open.begun, opcode, &deflated),
            None => self.encode(last, false, opcode, data),
        }
    }

    /// A whole message, a ping or a pong as weir makes it; `deflate`: compressed, where that is worth it.
    pub(super) fn encode_message(&mut self, opcode: Kind, deflate: bool, data: &[u8]) {
        let opcode = match opcode {
            Kind::Text => Opcode::Text,
            Kind::Binary => Opcode::Binary,
            Kind::Ping => Opcode::Ping,
            Kind::Pong => Opcode::Pong,
        };
        let coding = self.coding.as_mut().filter(|_| deflate);
        match coding.and_then(|coding| coding.whole(data)) {
            Some(deflated) => self.encode(true, true, opcode, &deflated),
            None => self.encode(true, false, opcode, data),
        }
    }

    /// A frame as weir makes it, in the place of the sender.
    pub(super) fn encode(&mut self, fin: bool, compressed: bool, opcode: Opcode, payload: &[u8]) {
        let key = (self.sender == Role::Client).then(|| fastrand::u32(..).to_ne_bytes());
        let head = Head::new(fin, compressed, opcode, key, payload.len() as u64);
        let out = self.output.own(&self.input);
        out.extend_from_slice(head.encode().bytes());
        let from = out.len();
        out.extend_from_slice(payload);
        if let (Some(key), Some(written)) = (key, out.get_mut(from..)) {
            mask::apply(written, key, 0);
        }
    }
}

fn passed(changed: bool) -> Passed {
    if changed { Passed::Replaced } else { Passed::Forwarded }
}
