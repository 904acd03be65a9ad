//! Bodies that are being received.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::chunked::{ChunkError, Piece};
use super::client::Busy;
use super::framing::{Decoder, Framing};
use super::io::{Io, Unread};
use super::sender::write_data;
use crate::error::{Error, Kind};
use crate::relay::pipe::Pipe;

/// Data left from which on a pipe is worth its system calls.
const WORTH_A_PIPE: u64 = 128 << 10;

/// A client's connection, shared by the loop that serves it and the request body that is read from it. Borrowed only
/// inside of a poll.
pub(crate) type Link = Rc<RefCell<Io>>;

/// A body that is being received on an HTTP/1 connection. Dropped before its end, the connection is closed.
pub struct Incoming {
    source: Source,
    decoder: Decoder,
    received: u64,
    limit: u64,
    meter: Option<Rc<Cell<u64>>>,
    /// Holds bytes that the kernel moves; there while a large body is moved.
    pipe: Option<Pipe>,
    /// The client waits for `100 Continue` before it sends the body.
    expects_continue: bool,
    ended: bool,
}

#[allow(clippy::large_enum_variant, reason = "the body that holds it is boxed")]
enum Source {
    Client(Link),
    /// None once the connection went back to its pool.
    Upstream(Option<Busy>),
}

/// Why bytes of a body could not be had.
enum ReadError {
    Io(io::Error),
    Early,
    Chunk(ChunkError),
}

impl From<ChunkError> for ReadError {
    fn from(e: ChunkError) -> Self {
        ReadError::Chunk(e)
    }
}

/// What [`Incoming::poll_transfer`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// Bytes of the body.
    Source,
    /// The sink to take more.
    Sink,
}

/// Why a transfer broke off.
pub(crate) enum TransferError {
    /// The body could not be read.
    Source(Error),
    /// The sink could not be written.
    Sink(io::Error),
}

impl Incoming {
    /// The body of a request.
    pub(crate) fn from_client(link: Link, framing: Framing, expects_continue: bool) -> Self {
        link.borrow_mut().unread = Unread::Unknown;
        Incoming::new(Source::Client(link), framing, expects_continue)
    }

    /// The body of a response.
    pub(crate) fn from_upstream(busy: Busy, framing: Framing) -> Self {
        Incoming::new(Source::Upstream(Some(busy)), framing, false)
    }

    fn new(source: Source, framing: Framing, expects_continue: bool) -> Self {
        let decoder = Decoder::new(framing);
        Incoming {
            source,
            decoder,
            received: 0,
            limit: u64::MAX,
            meter: None,
            pipe: None,
            expects_continue,
            ended: false,
        }
    }

    /// Fails with `BodyTooLarge` once more than `limit` was received. When it ends or is dropped, `meter` is told how
    /// much that was.
    pub(crate) fn limit(&mut self, limit: u64, meter: Rc<Cell<u64>>) {
        self.limit = limit;
        self.meter = Some(meter);
    }

    /// As [`http_body::Body::poll_frame`].
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.prepare(cx);
        let decoder = &mut self.decoder;
        let next = match &mut self.source {
            Source::Client(link) => ready!(next_data(&mut link.borrow_mut(), decoder, cx)),
            Source::Upstream(Some(busy)) => ready!(next_data(&mut busy.io, decoder, cx)),
            Source::Upstream(None) => Ok(None),
        };
        Poll::Ready(match next {
            Ok(Some(data)) => {
                let counted = self.count(data.len());
                if counted.is_ok() && matches!(self.decoder, Decoder::Length(0)) {
                    // So that the connection is free before the reader is done with the data. No trailers, no error.
                    let _ = self.end();
                }
                Some(counted.map(|()| Frame::data(data)))
            }
            Ok(None) => self.end().transpose().map(|trailers| trailers.map(Frame::trailers)),
            Err(e) => {
                // The decoder may be ahead of the input: nobody may read on.
                self.ended = true;
                Some(Err(self.blame(e)))
            }
        })
    }

    /// Moves the rest of the body to `sink` without making it into frames. Ready with the trailers at its end.
    pub(crate) fn poll_transfer(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut Io,
        chunked: bool,
        waits: &mut Waits,
    ) -> Poll<Result<Option<HeaderMap>, TransferError>> {
        if !self.ended {
            let (decoder, received, limit) = (&mut self.decoder, &mut self.received, self.limit);
            let mut to = Transfer { sink, chunked, received, limit, waits, pipe: &mut self.pipe };
            let done = match &mut self.source {
                Source::Client(link) => ready!(to.poll(cx, &mut link.borrow_mut(), decoder)),
                Source::Upstream(Some(busy)) => ready!(to.poll(cx, &mut busy.io, decoder)),
                Source::Upstream(None) => Ok(()),
            };
            if let Err(e) = done {
                self.ended = true;
                return Poll::Ready(Err(match e {
                    Broken::Read(e) => TransferError::Source(self.blame(e)),
                    Broken::Write(e) => TransferError::Sink(e),
                    Broken::TooLarge => TransferError::Source(too_large()),
                }));
            }
        }
        Poll::Ready(self.end().map_err(TransferError::Source))
    }

    /// Appends what is at hand of the body to `out`, up to about `room` bytes. True: that was all of it, and there are
    /// no trailers.
    pub(crate) fn take_ready(
        &mut self,
        out: &mut Vec<u8>,
        room: usize,
        chunked: bool,
    ) -> Result<bool, Error> {
        let taken = match &mut self.source {
            Source::Client(link) => take_input(&mut link.borrow_mut(), &mut self.decoder, out, room, chunked),
            Source::Upstream(Some(busy)) => take_input(&mut busy.io, &mut self.decoder, out, room, chunked),
            Source::Upstream(None) => return Ok(true),
        };
        match taken {
            Ok(n) => self.count(n)?,
            Err(e) => {
                self.ended = true;
                return Err(self.blame(e));
            }
        }
        match &self.decoder {
            Decoder::Length(0) => self.end().map(|_| true),
            _ => Ok(false),
        }
    }

    /// What must be done before the body is waited for: tell a client to go on, keep an upload going that the
    /// response has overtaken. Borrows client connections, so never call it with one borrowed.
    pub(crate) fn prepare(&mut self, cx: &mut Context<'_>) {
        match &mut self.source {
            Source::Client(link) if self.expects_continue => {
                self.expects_continue = false;
                let mut io = link.borrow_mut();
                if io.input.is_empty() && !io.responding {
                    // A client that cannot be written to shows in the read that follows.
                    let _ = io.write(cx, b"HTTP/1.1 100 Continue\r\n\r\n");
                    let _ = io.poll_flush(cx);
                }
            }
            Source::Upstream(Some(busy)) => busy.drive_upload(cx),
            _ => {}
        }
    }

    /// As [`http_body::Body::is_end_stream`].
    pub fn is_end(&self) -> bool {
        self.ended
    }

    /// As [`http_body::Body::size_hint`].
    pub fn size_hint(&self) -> SizeHint {
        self.decoder.left().map_or_else(SizeHint::new, SizeHint::with_exact)
    }

    /// Data bytes received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    fn count(&mut self, n: usize) -> Result<(), Error> {
        self.received += n as u64;
        if self.received > self.limit {
            self.ended = true;
            return Err(too_large());
        }
        Ok(())
    }

    /// The body has ended: gives the connection back and tells the trailers.
    fn end(&mut self) -> Result<Option<HeaderMap>, Error> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(None);
        }
        if let Source::Client(link) = &self.source {
            link.borrow_mut().unread = Unread::Nothing;
        }
        let trailers = match &mut self.decoder {
            Decoder::Chunked(chunked) => match chunked.take_trailers() {
                Ok(trailers) => trailers,
                Err(e) => return Err(self.blame(e.into())),
            },
            _ => None,
        };
        if let Source::Upstream(busy) = &mut self.source
            && let Some(busy) = busy.take()
        {
            busy.finish();
        }
        Ok(trailers)
    }

    fn blame(&self, error: ReadError) -> Error {
        let client = matches!(self.source, Source::Client(_));
        match error {
            ReadError::Io(e) if client => Error::because(Kind::ClientGone, "reading the request body", e),
            ReadError::Early if client => Error::new(Kind::BadRequest, "the request body ended early"),
            ReadError::Chunk(e) if client => Error::because(Kind::BadRequest, "the request body", e),
            ReadError::Io(e) => Error::because(Kind::UpstreamClosed, "reading the response body", e),
            ReadError::Early => Error::new(Kind::UpstreamClosed, "the response body ended early"),
            ReadError::Chunk(e) => Error::because(Kind::UpstreamInvalid, "the response body", e),
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            meter.set(self.received);
        }
        if let (Source::Client(link), false, false) = (&self.source, self.ended, self.expects_continue)
            // Bytes in a pipe have left the socket: where the next request begins is not known any more.
            && self.pipe.as_ref().is_none_or(|pipe| pipe.waiting() == 0)
            && let Ok(mut io) = link.try_borrow_mut()
        {
            let decoder = std::mem::replace(&mut self.decoder, Decoder::Length(0));
            io.unread = Unread::Rest(decoder);
        }
    }
}

fn too_large() -> Error {
    Error::new(Kind::BodyTooLarge, "the request body is over the limit")
}

/// The next data of a body, or None at its end.
fn next_data(
    io: &mut Io,
    decoder: &mut Decoder,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Bytes>, ReadError>> {
    loop {
        if decoder.is_done() {
            return Poll::Ready(Ok(None));
        }
        if io.input.is_empty() && (io.eof || !ready!(io.poll_fill(cx)).map_err(ReadError::Io)?) {
            return Poll::Ready(if decoder.close() { Ok(None) } else { Err(ReadError::Early) });
        }
        let (used, piece) = decoder.decode(&io.input)?;
        let Piece::Data(data) = piece else {
            io.consume(used);
            continue;
        };
        let n = data.len();
        io.input.advance(used - n);
        return Poll::Ready(Ok(Some(io.take_input(n))));
    }
}

/// Appends data that waits in `io` to `out`; returns how much.
fn take_input(
    io: &mut Io,
    decoder: &mut Decoder,
    out: &mut Vec<u8>,
    room: usize,
    chunked: bool,
) -> Result<usize, ReadError> {
    let (mut used, start) = (0, out.len());
    let mut taken = 0;
    while used < io.input.len() && out.len() - start < room && !decoder.is_done() {
        let (n, piece) = decoder.decode(&io.input[used..])?;
        used += n;
        if let Piece::Data(data) = piece {
            taken += data.len();
            write_data(out, data, chunked);
        }
    }
    io.consume(used);
    Ok(taken)
}

/// A body on its way from one connection to another.
struct Transfer<'a> {
    sink: &'a mut Io,
    chunked: bool,
    received: &'a mut u64,
    limit: u64,
    waits: &'a mut Waits,
    pipe: &'a mut Option<Pipe>,
}

enum Broken {
    Read(ReadError),
    Write(io::Error),
    TooLarge,
}

impl Transfer<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Io,
        decoder: &mut Decoder,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if !from.input.is_empty() {
                let input = std::mem::take(&mut from.input);
                let used = self.pass(cx, &input, decoder)?;
                from.input = input;
                from.consume(used);
            }
            *self.waits = Waits::Sink;
            ready!(self.sink.poll_flush(cx)).map_err(Broken::Write)?;
            *self.waits = Waits::Source;
            if decoder.is_done() {
                return Poll::Ready(Ok(()));
            }
            if !from.input.is_empty() {
                continue;
            }
            ready!(self.poll_splice(cx, from, decoder))?;
            if decoder.is_done() {
                continue;
            }
            let read = if from.eof {
                None
            } else {
                ready!(from.poll_read_with(cx, |cx, bytes| match self.pass(cx, bytes, decoder) {
                    Ok(used) => (used, Ok(())),
                    Err(e) => (0, Err(e)),
                }))
                .map_err(|e| Broken::Read(ReadError::Io(e)))?
            };
            match read {
                Some(passed) => passed?,
                None if decoder.close() => {}
                None => return Poll::Ready(Err(Broken::Read(ReadError::Early))),
            }
        }
    }

    /// Lets the kernel move the data, where there is much of it and both sides are plain sockets. Ready at once where
    /// not.
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        from: &Io,
        decoder: &mut Decoder,
    ) -> Poll<Result<(), Broken>> {
        let (Some(left), false) = (decoder.left(), self.chunked) else { return Poll::Ready(Ok(())) };
        let (Some(source), Some(sink)) = (from.stream.as_plain(), self.sink.stream.as_plain()) else {
            return Poll::Ready(Ok(()));
        };
        if self.pipe.is_none() {
            let within_limit = self.received.checked_add(left).is_some_and(|all| all <= self.limit);
            if left < WORTH_A_PIPE || !within_limit {
                return Poll::Ready(Ok(()));
            }
            *self.pipe = Pipe::take();
        }
        let Some(pipe) = self.pipe else { return Poll::Ready(Ok(())) };
        while let Some(left @ 1..) = decoder.left() {
            if pipe.waiting() == 0 {
                *self.waits = Waits::Source;
                let limit = usize::try_from(left).unwrap_or(usize::MAX);
                let filled =
                    ready!(pipe.poll_fill(cx, source, limit)).map_err(|e| Broken::Read(ReadError::Io(e)))?;
                if filled == 0 {
                    return Poll::Ready(Err(Broken::Read(ReadError::Early)));
                }
            }
            *self.waits = Waits::Sink;
            let n = ready!(pipe.poll_drain(cx, sink)).map_err(Broken::Write)? as u64;
            *self.received += n;
            decoder.skip(n);
        }
        *self.pipe = None;
        Poll::Ready(Ok(()))
    }

    /// Decodes bytes and writes the data among them, until all are used, the body ends or the sink is full.
    fn pass(&mut self, cx: &mut Context<'_>, bytes: &[u8], decoder: &mut Decoder) -> Result<usize, Broken> {
        let mut used = 0;
        while used < bytes.len() && !self.sink.has_output() && !decoder.is_done() {
            let (n, piece) = decoder.decode(&bytes[used..]).map_err(|e| Broken::Read(e.into()))?;
            used += n;
            if let Piece::Data(data) = piece {
                *self.received += data.len() as u64;
                if *self.received > self.limit {
                    return Err(Broken::TooLarge);
                }
                self.sink.write_data(cx, data, self.chunked).map_err(Broken::Write)?;
            }
        }
        Ok(used)
    }
}
