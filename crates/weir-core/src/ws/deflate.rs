//! Compression of messages (RFC 7692, section 7.2): raw deflate, each message flushed to a byte, without the four bytes
//! that every flush ends in.

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use super::Violation;
use super::states::{self, Shape};

#[cfg(test)]
mod tests;

/// What a flush ends in: the rest of an empty block. Senders leave it out, receivers put it back.
const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// An empty block that is the last of its stream.
const END: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];
/// The first byte of an empty block: with the tail, a message of nothing (RFC 7692, section 7.2.3.6).
const NOTHING: u8 = 0;

/// The most room that is made for output at once, in bytes.
const STEP: usize = 64 << 10;
/// That much output of a message is free of the ratio, in bytes: as much as may wait for a side anyway (the default of
/// `queue`), and a quarter of what a message may have that comes without compression (the default of `max_message`). So
/// ordinary messages that repeat themselves pass, which deflate makes up to 1032 times smaller.
const FREE_OF_RATIO: u64 = 256 << 10;

/// The most blocks of a message that are marked as the last of their stream: each costs a fresh start, and no sender has a
/// reason for more than one.
const MOST_ENDS: u32 = 64;

/// How much may come out of a compressed message. 0 is no bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    /// Bytes of the whole message.
    pub(crate) size: usize,
    /// So many times what came in of the message so far, beside the first 256 KiB.
    pub(crate) ratio: u32,
}

/// Decompresses the messages of one direction.
pub(crate) struct Inflater {
    takeover: bool,
    state: Option<Box<Inflate>>,
    /// Bytes of the message under way, before and after.
    received: u64,
    produced: u64,
    /// The state is behind a block that was the last of its stream.
    ended: bool,
    /// How many such blocks the message under way had.
    ends: u32,
}

impl Inflater {
    /// For a sender with any window. `takeover`: each message may refer to those before it. Without it this holds a
    /// state only while a message is under way.
    pub(crate) fn new(takeover: bool) -> Self {
        Inflater { takeover, state: None, received: 0, produced: 0, ended: false, ends: 0 }
    }

    /// Appends to `out` what a frame's payload says. `last`: the message ends with it.
    ///
    /// A block may be marked as the last of its stream anywhere (RFC 7692, section 7.2.3.4); what follows it in the same
    /// or the next messages begins afresh and refers to nothing before it.
    ///
    /// # Errors
    ///
    /// Code 1007 for what is not deflated data and, without takeover, for a message that breaks off. Code 1009 if the
    /// message or its ratio is larger than the bound; then `out` has grown up to the bound and no further.
    /// Nothing more is to be fed after an error.
    pub(crate) fn inflate(
        &mut self,
        input: &[u8],
        last: bool,
        out: &mut Vec<u8>,
        bound: Bound,
    ) -> Result<(), Violation> {
        self.received = self.received.saturating_add(input.len() as u64);
        self.feed(input, out, bound)?;
        if last { self.finish(out, bound) } else { Ok(()) }
    }

    /// Whether a state is held now.
    #[cfg(test)]
    pub(crate) fn holds_state(&self) -> bool {
        self.state.is_some()
    }

    /// The end of a message.
    fn finish(&mut self, out: &mut Vec<u8>, bound: Bound) -> Result<(), Violation> {
        if self.received > 0 && !self.ended {
            self.feed(&TAIL, out, bound)?;
            if !self.takeover {
                // Only if the message is whole is this the end of a stream.
                self.feed(&END, out, bound)?;
                if !self.ended {
                    return Err(Violation::data("compressed message breaks off"));
                }
            }
        }
        (self.received, self.produced, self.ends) = (0, 0, 0);
        if !self.takeover {
            self.ended = false;
            if let Some(state) = self.state.take() {
                states::give_inflate(state);
            }
        }
        Ok(())
    }

    fn feed(&mut self, input: &[u8], out: &mut Vec<u8>, bound: Bound) -> Result<(), Violation> {
        let mut input = input;
        if input.is_empty() {
            return Ok(());
        }
        let state = self.state.get_or_insert_with(states::take_inflate);
        loop {
            if self.ended {
                if input.is_empty() {
                    return Ok(());
                }
                state.reset(false);
                self.ended = false;
            }
            let start = out.len();
            let room = bound.room(self.produced, input.len());
            out.resize(start + room, 0);
            let (before_in, before_out) = (state.total_in(), state.total_out());
            let output = out.get_mut(start..).unwrap_or_default();
            let status = state.decompress(input, output, InflateFlush::SyncFlush);
            let (used, made) = (state.total_in() - before_in, state.total_out() - before_out);
            let (used, made) = (used as usize, made as usize);
            out.truncate(start + made);
            input = input.get(used..).unwrap_or_default();
            self.produced += made as u64;
            if let Some(violation) = bound.violated(self.produced, self.received) {
                out.truncate(out.len() - bound.excess(self.produced));
                return Err(violation);
            }
            match status {
                Err(_) => return Err(Violation::data("not deflated data")),
                Ok(Status::StreamEnd) => {
                    self.ended = true;
                    self.ends += 1;
                    if self.ends > MOST_ENDS {
                        return Err(Violation::policy("too many ends in a compressed message"));
                    }
                }
                // Room is left: there is nothing more to tell.
                Ok(_) if made < room && (input.is_empty() || used == 0) => return Ok(()),
                Ok(_) => {}
            }
        }
    }
}

impl Bound {
    /// Room for what may come out of so much input: one byte over the bound at most.
    fn room(self, produced: u64, input: usize) -> usize {
        let left = match self.size {
            0 => usize::MAX,
            size => (size as u64).saturating_sub(produced) as usize,
        };
        input.saturating_mul(4).clamp(256, STEP).min(left.saturating_add(1))
    }

    /// By how much the output is over the size.
    fn excess(self, produced: u64) -> usize {
        if self.size == 0 { 0 } else { produced.saturating_sub(self.size as u64) as usize }
    }

    fn violated(self, produced: u64, received: u64) -> Option<Violation> {
        if self.excess(produced) > 0 {
            return Some(Violation::too_big("message too big when decompressed"));
        }
        let most = received.saturating_mul(self.ratio.into()).saturating_add(FREE_OF_RATIO);
        let bomb = self.ratio > 0 && produced > most;
        bomb.then_some(Violation::too_big("message compressed too well"))
    }
}

/// Compresses the messages of one direction.
pub(crate) struct Deflater {
    shape: Shape,
    takeover: bool,
    state: Option<Box<Deflate>>,
}

impl Deflater {
    /// With a level of 0 to 9, a window of 9 to 15 bits and a memory level of 1 to 9. `takeover`: each message refers to
    /// those before it. Without it this holds a state only while a message is under way.
    ///
    /// # Panics
    ///
    /// At the first message, if one of the numbers is another.
    pub(crate) fn new(level: u8, window_bits: u8, mem_level: u8, takeover: bool) -> Self {
        Deflater { shape: Shape { level, window_bits, mem_level }, takeover, state: None }
    }

    /// Appends to `out` the payload of a frame that says `input`, all of which its receiver can read at once. `last`: the
    /// message ends with it.
    pub(crate) fn deflate(&mut self, input: &[u8], last: bool, out: &mut Vec<u8>) {
        let start = out.len();
        if !input.is_empty() {
            self.flush(input, out);
        }
        if !last {
            return;
        }
        if out.len() == start {
            out.push(NOTHING);
        } else {
            debug_assert!(out.ends_with(&TAIL), "a flush ends in its tail");
            out.truncate(out.len() - TAIL.len());
        }
        if !self.takeover
            && let Some(state) = self.state.take()
        {
            states::give_deflate(self.shape, state);
        }
    }

    /// Whether a state is held now.
    #[cfg(test)]
    pub(crate) fn holds_state(&self) -> bool {
        self.state.is_some()
    }

    fn flush(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let state = self.state.get_or_insert_with(|| states::take_deflate(self.shape));
        let mut input = input;
        loop {
            let start = out.len();
            // Never so little that a flush would be made twice.
            let room = (input.len() / 2).clamp(64, STEP);
            out.resize(start + room, 0);
            let (before_in, before_out) = (state.total_in(), state.total_out());
            let output = out.get_mut(start..).unwrap_or_default();
            let status = state.compress(input, output, DeflateFlush::SyncFlush);
            status.expect("every input can be deflated");
            let (used, made) = (state.total_in() - before_in, state.total_out() - before_out);
            out.truncate(start + made as usize);
            input = input.get(used as usize..).unwrap_or_default();
            if (made as usize) < room && input.is_empty() {
                return;
            }
        }
    }
}
