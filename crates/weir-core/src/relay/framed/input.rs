//! What was read from one side and is not yet done with.

use std::io;
use std::ops::Range;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::net::Stream;
use crate::relay::buffer::{Buffer, SIZE};

/// Bytes that were read, in one piece. Holds a buffer only while there are some.
///
/// Positions count from the first byte that is held; [`Input::done`] moves them.
#[derive(Default)]
pub(super) struct Input {
    buffer: Option<Buffer>,
    /// Bytes at the begin that were looked at and may still be wanted by the output.
    seen: usize,
}

impl Input {
    /// With bytes that were read before.
    pub(super) fn new(head: &Bytes) -> Self {
        let mut input = Input::default();
        if !head.is_empty() {
            let mut buffer = Buffer::take();
            buffer.append(head);
            input.buffer = Some(buffer);
        }
        input
    }

    /// Bytes that were not looked at yet.
    pub(super) fn fresh(&self) -> &[u8] {
        self.bytes().get(self.seen..).unwrap_or_default()
    }

    /// The next `n` bytes count as looked at: where they are.
    pub(super) fn see(&mut self, n: usize) -> Range<usize> {
        let from = self.seen;
        self.seen = (from + n).min(self.bytes().len());
        from..self.seen
    }

    /// Bytes by their positions.
    pub(super) fn at(&self, range: Range<usize>) -> &[u8] {
        self.bytes().get(range).unwrap_or_default()
    }

    /// Lets go of all that was looked at.
    pub(super) fn done(&mut self) {
        let Some(buffer) = &mut self.buffer else { return };
        buffer.advance(self.seen);
        self.seen = 0;
        if buffer.bytes().is_empty() {
            self.buffer = None;
        }
    }

    /// Reads once, when all that was looked at is let go of. There will be room for a frame of `wanted` bytes, which grows
    /// with what has come of it. 0: the side has ended.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        let mut buffer = self.buffer.take().unwrap_or_else(Buffer::take);
        let held = buffer.bytes().len();
        // Twice what is there at the most, so that a length alone costs nothing.
        let room = wanted.clamp(held + 1, (held * 2).max(SIZE));
        if room > buffer.room() {
            buffer.make_room(room);
        }
        let read = buffer.poll_fill(cx, from);
        if !buffer.bytes().is_empty() {
            self.buffer = Some(buffer);
        }
        read
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| buffer.bytes())
    }
}
