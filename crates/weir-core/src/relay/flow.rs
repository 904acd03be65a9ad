//! One direction of a relay.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::buffer::Buffer;
use super::pipe::Pipe;
use crate::net::Stream;

/// Reads in a row before other connections of the worker have their turn.
const ROUNDS: usize = 16;

/// A flow whose splices bring less than this goes back to reading and writing, which is cheaper for little.
const LITTLE: usize = 16 << 10;

/// Bytes from one stream to another. Holds a buffer or a pipe only while bytes wait for the receiver.
#[derive(Default)]
pub(crate) struct Flow {
    held: Held,
    phase: Phase,
    /// Whether the last read brought so much that the kernel had better move the next itself.
    bulk: bool,
    /// Whether TLS may hold written bytes back.
    unflushed: bool,
    carried: u64,
}

/// Bytes that were read and not yet written.
#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Head(Bytes),
    Buffer(Buffer),
    Pipe(Pipe),
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The sender has ended, the receiver has to be told.
    Closing,
    Ended,
}

/// A flow that broke off.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Why.
    pub(crate) error: io::Error,
    /// Whether it was the stream it reads from.
    pub(crate) reading: bool,
}

impl Flow {
    /// A flow that begins with bytes that were read before.
    pub(crate) fn new(head: Bytes) -> Self {
        let held = if head.is_empty() { Held::Nothing } else { Held::Head(head) };
        Flow { held, ..Flow::default() }
    }

    /// Bytes that the receiver has taken.
    pub(crate) fn carried(&self) -> u64 {
        self.carried
    }

    /// Whether all that was read was written, and the receiver was not yet told of the end.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.held, Held::Nothing) && self.phase == Phase::Open && !self.unflushed
    }

    /// Whether the end was passed on.
    pub(crate) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Carries bytes until the sender has ended and the receiver was told so.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
    ) -> Poll<Result<(), Broken>> {
        for _ in 0..ROUNDS {
            match self.phase {
                Phase::Ended => return Poll::Ready(Ok(())),
                Phase::Closing => {
                    match ready!(Pin::new(&mut *to).poll_shutdown(cx)) {
                        // The receiver is gone already: it knows.
                        Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                            return Poll::Ready(Err(Broken { error, reading: false }));
                        }
                        _ => self.phase = Phase::Ended,
                    }
                }
                Phase::Open => {
                    let written = ready!(self.poll_write(cx, to));
                    written.map_err(|error| Broken { error, reading: false })?;
                    let read = ready!(self.poll_read(cx, from, to));
                    if read.map_err(|error| Broken { error, reading: true })? == 0 {
                        self.phase = Phase::Closing;
                    }
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes all that is held.
    fn poll_write(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        loop {
            let taken = match &mut self.held {
                Held::Nothing => break,
                Held::Head(bytes) => {
                    let n = ready!(Pin::new(&mut *to).poll_write(cx, bytes))?;
                    bytes.advance(n.min(bytes.len()));
                    (n, bytes.is_empty())
                }
                Held::Buffer(buffer) => {
                    let n = ready!(Pin::new(&mut *to).poll_write(cx, buffer.bytes()))?;
                    buffer.advance(n);
                    (n, buffer.bytes().is_empty())
                }
                Held::Pipe(pipe) => {
                    let Some(socket) = to.as_plain() else { break };
                    let n = ready!(pipe.poll_drain(cx, socket))?;
                    (n, pipe.waiting() == 0)
                }
            };
            let (n, empty) = taken;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.carried += n as u64;
            self.unflushed = to.as_plain().is_none();
            if empty {
                self.held = Held::Nothing;
            }
        }
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, now that nothing is held. 0: the sender has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>, from: &mut Stream, to: &Stream) -> Poll<io::Result<usize>> {
        if self.bulk
            && let (Some(source), Some(_)) = (from.as_plain(), to.as_plain())
            && let Some(mut pipe) = Pipe::take()
        {
            let n = ready!(pipe.poll_fill(cx, source, usize::MAX))?;
            self.bulk = n >= LITTLE;
            if n > 0 {
                self.held = Held::Pipe(pipe);
            }
            return Poll::Ready(Ok(n));
        }
        let mut buffer = Buffer::take();
        let n = ready!(buffer.poll_read(cx, from))?;
        self.bulk = buffer.is_full();
        if n > 0 {
            self.held = Held::Buffer(buffer);
        }
        Poll::Ready(Ok(n))
    }
}
