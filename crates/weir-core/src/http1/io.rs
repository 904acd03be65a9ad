//! A stream with the bytes that wait on it. While none wait it holds no buffer: reads go through one scratch
//! buffer a thread, and only what cannot be used at once is kept.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Decoder;
use crate::net::{Rewind, Stream};

/// Size of the scratch buffer: what one read takes at the most.
pub(crate) const READ: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
    static OUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with an empty buffer of this thread, to build what is written at once.
pub(crate) fn with_out<T>(f: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    OUT.with(|out| {
        let mut out = out.borrow_mut();
        out.clear();
        f(&mut out)
    })
}

/// A stream with the bytes that wait on it.
pub(crate) struct Io {
    pub(crate) stream: Stream,
    /// Read, not yet used.
    pub(crate) input: BytesMut,
    /// To be written.
    output: BytesMut,
    /// The other side has closed its half.
    pub(crate) eof: bool,
    /// A final response is being written: `100 Continue` would stand in the middle of it.
    pub(crate) responding: bool,
    /// What is left on a client's connection of the body of the last request.
    pub(crate) unread: Unread,
}

/// What is left of a request body when its reader lets go of it.
#[derive(Debug, Default)]
pub(crate) enum Unread {
    /// Nothing: the next byte belongs to the next request.
    #[default]
    Nothing,
    /// The rest that this decodes.
    Rest(Decoder),
    /// It is being read, or the client may or may not send it.
    Unknown,
}

impl Io {
    pub(crate) fn new(stream: Rewind<Stream>) -> Self {
        let (prefix, stream) = stream.into_parts();
        Io {
            stream,
            input: BytesMut::from(&prefix[..]),
            output: BytesMut::new(),
            eof: false,
            responding: false,
            unread: Unread::Nothing,
        }
    }

    /// The stream, and the bytes that were read and not used.
    pub(crate) fn into_parts(self) -> (Stream, Bytes) {
        (self.stream, self.input.freeze())
    }

    /// Reads once and hands the bytes to `use_up`, which says how many of them it used; the rest is kept. None: the
    /// other side has closed its half.
    pub(crate) fn poll_read_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        use_up: impl FnOnce(&mut Context<'_>, &[u8]) -> (usize, T),
    ) -> Poll<io::Result<Option<T>>> {
        debug_assert!(self.input.is_empty());
        SCRATCH.with(|scratch| {
            let mut scratch = scratch.borrow_mut();
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            let bytes = buf.filled();
            if bytes.is_empty() {
                self.eof = true;
                return Poll::Ready(Ok(None));
            }
            let (used, out) = use_up(cx, bytes);
            if used < bytes.len() {
                self.input.extend_from_slice(&bytes[used..]);
            }
            Poll::Ready(Ok(Some(out)))
        })
    }

    /// Reads once and appends to `input`. False: the other side has closed its half.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        SCRATCH.with(|scratch| {
            let mut scratch = scratch.borrow_mut();
            let mut buf = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            self.input.extend_from_slice(buf.filled());
            self.eof |= buf.filled().is_empty();
            Poll::Ready(Ok(!self.eof))
        })
    }

    /// Takes `n` bytes off the front of `input`.
    pub(crate) fn take_input(&mut self, n: usize) -> Bytes {
        if n == self.input.len() { std::mem::take(&mut self.input) } else { self.input.split_to(n) }.freeze()
    }

    /// Takes `n` bytes off the front of `input` and gives its memory back when nothing is left.
    pub(crate) fn consume(&mut self, n: usize) {
        if n == self.input.len() {
            self.input = BytesMut::new();
        } else {
            self.input.advance(n);
        }
    }

    /// How many bytes wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.output.len()
    }

    /// Whether bytes wait to be written.
    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Writes what the stream takes now; what it does not take waits.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>, mut data: &[u8]) -> io::Result<()> {
        if self.output.is_empty() {
            while !data.is_empty() {
                match Pin::new(&mut self.stream).poll_write(cx, data) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(n)) => data = &data[n..],
                    Poll::Ready(Err(e)) => return Err(e),
                    Poll::Pending => break,
                }
            }
        }
        if !data.is_empty() {
            self.output.extend_from_slice(data);
        }
        Ok(())
    }

    /// As [`Io::write`], of three pieces in one system call.
    pub(crate) fn write_parts(&mut self, cx: &mut Context<'_>, parts: [&[u8]; 3]) -> io::Result<()> {
        let mut written = 0;
        if self.output.is_empty() {
            let slices = parts.map(IoSlice::new);
            if let Poll::Ready(n) = Pin::new(&mut self.stream).poll_write_vectored(cx, &slices) {
                written = n?;
            }
        }
        for part in parts {
            let skip = written.min(part.len());
            written -= skip;
            self.write(cx, &part[skip..])?;
        }
        Ok(())
    }

    /// Ready when nothing waits to be written any more.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(n);
        }
        if self.output.capacity() > 0 {
            self.output = BytesMut::new();
        }
        match &mut self.stream {
            Stream::Plain(_) => Poll::Ready(Ok(())),
            tls => Pin::new(tls).poll_flush(cx),
        }
    }

    /// Ready when the other side has gone. Bytes that come meanwhile wait in `input`; while some wait it does not
    /// look.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.eof {
            return Poll::Ready(());
        }
        if !self.input.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_fill(cx)) {
            Ok(true) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}
