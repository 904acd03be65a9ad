//! What waits to be written to one side: bytes of weir's own, then a run of the input that goes on as it came.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use super::input::Input;
use crate::net::Stream;

/// Bytes of weir's own are kept in a buffer up to this size between two uses.
const KEPT: usize = 4 << 10;

/// Bytes on their way to one side, in order.
#[derive(Default)]
pub(super) struct Output {
    /// Written first, from `done` on.
    own: Vec<u8>,
    done: usize,
    /// Of the input, after them.
    run: Range<usize>,
    /// Whether TLS may hold written bytes back.
    unflushed: bool,
    carried: u64,
}

impl Output {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting() == 0 && !self.unflushed
    }

    /// Bytes that wait.
    pub(super) fn waiting(&self) -> usize {
        self.own.len() - self.done + self.run.len()
    }

    /// Bytes that were written.
    pub(super) fn carried(&self) -> u64 {
        self.carried
    }

    /// Adds bytes of the input, as they are.
    pub(super) fn run(&mut self, input: &Input, range: Range<usize>) {
        if self.run.is_empty() {
            self.run = range;
        } else if self.run.end == range.start {
            self.run.end = range.end;
        } else {
            self.settle(input);
            self.run = range;
        }
    }

    /// Adds bytes of weir's own: where they go.
    pub(super) fn own(&mut self, input: &Input) -> &mut Vec<u8> {
        self.settle(input);
        // A receiver that never takes all would have them kept for good.
        if self.done > self.own.len() / 2 {
            self.own.drain(..self.done);
            self.done = 0;
        }
        &mut self.own
    }

    /// Copies the run, so that something else can follow it, or the input can change.
    fn settle(&mut self, input: &Input) {
        if !self.run.is_empty() {
            self.own.extend_from_slice(input.at(self.run.clone()));
            self.run = 0..0;
        }
    }

    /// Writes all that waits.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        input: &Input,
        to: &mut Stream,
    ) -> Poll<io::Result<()>> {
        while self.done < self.own.len() {
            let n = ready!(write(cx, to, self.own.get(self.done..).unwrap_or_default()))?;
            self.done += n;
            self.wrote(n, to);
        }
        if self.done > 0 {
            self.done = 0;
            self.own.clear();
            self.own.shrink_to(KEPT);
        }
        while !self.run.is_empty() {
            let n = ready!(write(cx, to, input.at(self.run.clone())))?;
            self.run.start += n;
            self.wrote(n, to);
        }
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// What waits is written no more.
    pub(super) fn forget(&mut self) {
        *self = Output { carried: self.carried, ..Output::default() };
    }

    /// Gives memory back while nothing waits.
    pub(super) fn rest(&mut self) {
        if self.own.is_empty() {
            self.own = Vec::new();
        }
    }

    fn wrote(&mut self, n: usize, to: &Stream) {
        self.carried += n as u64;
        self.unflushed = to.as_plain().is_none();
    }
}

fn write(cx: &mut Context<'_>, to: &mut Stream, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        n => Poll::Ready(Ok(n)),
    }
}
