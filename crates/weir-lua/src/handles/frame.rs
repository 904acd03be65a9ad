//! Frames and messages of WebSockets. They come by the thousand, so nothing is allocated for one: the slot is of its
//! direction, and what a script does not look at is not made.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use weir_plugin::WebSocket;
use weir_plugin::websocket::Frame;

use super::{Class, Handle, Member, Out, Part};

/// A frame.
pub(super) const FRAME: Class = Class { name: "frame", late: "frame", members: MEMBERS };
/// A message.
pub(super) const MESSAGE: Class = Class { name: "message", late: "message", members: MEMBERS };

const MEMBERS: &[(&str, Member)] = &[
    ("direction", Member::OfFrame(|frame| Out::text(frame.direction.name()))),
    ("opcode", Member::OfFrame(|frame| Out::text(frame.opcode.name()))),
    // Lua finds the same string again while the script has it.
    ("data", Member::OfFrame(|frame| Out::text(&frame.data))),
    ("first", Member::OfFrame(|frame| Out::Boolean(frame.first))),
    ("last", Member::OfFrame(|frame| Out::Boolean(frame.last))),
    ("sequence", Member::OfFrame(|frame| Out::count(frame.sequence))),
    ("compressed", Member::OfFrame(|frame| Out::Boolean(frame.compressed))),
    ("size", Member::OfFrame(|frame| Out::count(frame.size))),
];

/// Where the frames of one direction of a relay are while hooks of one plugin run on them, one at a time.
#[derive(Debug)]
pub(crate) struct FrameSlot {
    ws: Rc<WebSocket>,
    /// The frame that is lent, and the number that it is lent as.
    lent: RefCell<Option<(u64, Frame)>>,
}

/// While this lives, the frame is in the slot.
#[derive(Debug)]
pub(crate) struct FrameLoan {
    slot: Rc<FrameSlot>,
    number: u64,
}

impl FrameSlot {
    pub(crate) fn new(ws: Rc<WebSocket>) -> Rc<Self> {
        Rc::new(FrameSlot { ws, lent: RefCell::default() })
    }

    /// The relay.
    pub(crate) fn ws(&self) -> &Rc<WebSocket> {
        &self.ws
    }

    /// Lends a frame until the loan is dropped: by a number that no other of this thread has or will have.
    pub(crate) fn lend(self: &Rc<Self>, part: Part, frame: Frame) -> (Handle, FrameLoan) {
        thread_local!(static LAST: Cell<u64> = const { Cell::new(0) });
        let number = LAST.get() + 1;
        LAST.set(number);
        *self.lent.borrow_mut() = Some((number, frame));
        (Handle { part, slot: number }, FrameLoan { slot: self.clone(), number })
    }

    /// Runs `f` on the frame of this number; `None` where it is lent no more.
    pub(crate) fn with<T>(&self, number: u64, f: impl FnOnce(&Frame) -> T) -> Option<T> {
        match &*self.lent.borrow() {
            Some((lent, frame)) if *lent == number => Some(f(frame)),
            _ => None,
        }
    }
}

impl Drop for FrameLoan {
    fn drop(&mut self) {
        let mut lent = self.slot.lent.borrow_mut();
        // A call that was given up may end after the next one has begun.
        if lent.as_ref().is_some_and(|(number, _)| *number == self.number) {
            *lent = None;
        }
    }
}
