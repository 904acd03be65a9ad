//! Bodies that are being sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::HeaderMap;
use http_body::Body as _;

use super::chunked::may_be_trailer;
use super::framing::Framing;
use super::head::write_field;
use super::incoming::{Link, TransferError, Waits};
use super::io::Io;
use crate::body::Body;
use crate::error::{Error, Kind};

/// Body bytes that go out together with the head.
const WITH_HEAD: usize = 16 << 10;

/// Something that owns or shares a connection. Not borrowed while a body is polled, which may need the same one.
pub(crate) trait Sink {
    /// Runs `f` on the connection.
    fn with<T>(&mut self, f: impl FnOnce(&mut Io) -> T) -> T;
}

impl Sink for &mut Io {
    fn with<T>(&mut self, f: impl FnOnce(&mut Io) -> T) -> T {
        f(self)
    }
}

impl Sink for &Link {
    fn with<T>(&mut self, f: impl FnOnce(&mut Io) -> T) -> T {
        f(&mut self.borrow_mut())
    }
}

/// A body that is being sent on an HTTP/1 connection.
pub(crate) struct Sender {
    body: Body,
    framing: Framing,
    /// Data bytes sent so far, without framing.
    pub(crate) sent: u64,
    /// What the last poll that was not ready waits for.
    pub(crate) waits: Waits,
    ended: bool,
}

impl Sender {
    /// Sends `body`, framed as told. [`Framing::None`] drops it.
    pub(crate) fn new(body: Body, framing: Framing) -> Self {
        let ended = framing == Framing::None;
        let body = if ended { Body::Empty } else { body };
        Sender { body, framing, sent: 0, waits: Waits::Source, ended }
    }

    /// How a body of this length is framed, where the chunked coding may be used.
    pub(crate) fn framing_of(body: &Body) -> Framing {
        match body.size_hint().exact() {
            Some(0) => Framing::None,
            Some(n) => Framing::Length(n),
            None => Framing::Chunked,
        }
    }

    fn chunked(&self) -> bool {
        self.framing == Framing::Chunked
    }

    /// Appends what is at hand of the body to `out`, behind the head.
    pub(crate) fn start(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let chunked = self.chunked();
        match &mut self.body {
            _ if self.ended => {}
            Body::Empty => self.end(out, None),
            Body::Full(bytes) if bytes.len() <= WITH_HEAD => {
                write_data(out, bytes, chunked);
                self.sent += bytes.len() as u64;
                self.end(out, None);
            }
            Body::Http1(incoming) => {
                let before = incoming.received();
                let all = incoming.take_ready(out, WITH_HEAD, chunked)?;
                self.sent += incoming.received() - before;
                if all {
                    self.end(out, None);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Appends the end of the body.
    fn end(&mut self, out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
        self.ended = true;
        if self.chunked() {
            out.extend_from_slice(b"0\r\n");
            for (name, value) in trailers.into_iter().flatten().filter(|(name, _)| may_be_trailer(name)) {
                write_field(out, name.as_str(), value.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Ready when all of it, and what waited before it, was written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut sink: impl Sink,
    ) -> Poll<Result<(), TransferError>> {
        let chunked = self.chunked();
        loop {
            if self.ended {
                self.waits = Waits::Sink;
                ready!(sink.with(|io| io.poll_flush(cx))).map_err(TransferError::Sink)?;
                return Poll::Ready(Ok(()));
            }
            let trailers = if let Body::Http1(incoming) = &mut self.body {
                incoming.prepare(cx);
                let before = incoming.received();
                let moved = sink.with(|io| incoming.poll_transfer(cx, io, chunked, &mut self.waits));
                self.sent += incoming.received() - before;
                ready!(moved)?
            } else {
                self.waits = Waits::Sink;
                ready!(sink.with(|io| io.poll_flush(cx))).map_err(TransferError::Sink)?;
                self.waits = Waits::Source;
                match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    Some(Err(e)) => return Poll::Ready(Err(TransferError::Source(e))),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            self.sent += data.len() as u64;
                            self.check_length(false)?;
                            sink.with(|io| io.write_data(cx, &data, chunked)).map_err(TransferError::Sink)?;
                            continue;
                        }
                        Err(frame) => frame.into_trailers().ok(),
                    },
                    None => None,
                }
            };
            self.check_length(true)?;
            let end = super::io::with_out(|out| {
                self.end(out, trailers.as_ref());
                sink.with(|io| io.write(cx, out))
            });
            end.map_err(TransferError::Sink)?;
        }
    }

    /// A body must be as long as its head said.
    fn check_length(&self, at_end: bool) -> Result<(), TransferError> {
        match self.framing {
            Framing::Length(n) if self.sent > n || (at_end && self.sent < n) => {
                let error = Error::new(Kind::Internal, "a body is not as long as was announced");
                Err(TransferError::Source(error))
            }
            _ => Ok(()),
        }
    }
}

/// Appends data of a body.
pub(crate) fn write_data(out: &mut Vec<u8>, data: &[u8], chunked: bool) {
    if !chunked {
        out.extend_from_slice(data);
    } else if !data.is_empty() {
        write_chunk_size(out, data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a chunk size with its line end.
fn write_chunk_size(out: &mut Vec<u8>, size: usize) {
    use std::io::Write;
    // A Vec takes everything.
    let _ = write!(out, "{size:x}\r\n");
}

impl Io {
    /// Writes data of a body; what the stream does not take now waits.
    pub(crate) fn write_data(&mut self, cx: &mut Context<'_>, data: &[u8], chunked: bool) -> io::Result<()> {
        if !chunked {
            return self.write(cx, data);
        }
        if data.is_empty() {
            return Ok(());
        }
        let mut size = Vec::with_capacity(18);
        write_chunk_size(&mut size, data.len());
        self.write_parts(cx, [&size, data, b"\r\n"])
    }
}
