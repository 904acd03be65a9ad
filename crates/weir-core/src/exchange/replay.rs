//! Request bodies that can be sent again.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::Body;
use crate::error::Error;

/// A request body for as many attempts as can be made with it.
pub(super) enum Replay {
    /// There is none.
    Empty,
    /// It can be sent once; None once it was.
    Once(Option<Body>),
    /// What is read of it is kept, as long as that is little.
    Kept(Rc<RefCell<Tape>>),
}

/// A body, and what was read of it.
pub(super) struct Tape {
    body: Body,
    kept: Vec<Bytes>,
    trailers: Option<HeaderMap>,
    size: usize,
    limit: usize,
    /// More was read than is kept: it cannot be read again.
    lost: bool,
    /// The body's length, if it is known.
    length: Option<u64>,
}

impl Replay {
    /// Keeps up to `limit` bytes. A body that is known to be longer goes straight through.
    pub(super) fn new(body: Body, limit: usize) -> Self {
        let length = body.size_hint().exact();
        match length {
            Some(0) => Replay::Empty,
            Some(n) if n > limit as u64 => Replay::Once(Some(body)),
            _ if limit == 0 => Replay::Once(Some(body)),
            _ => Replay::taped(body, limit, length),
        }
    }

    /// Keeps all that is read.
    pub(super) fn keep(body: Body) -> Self {
        let length = body.size_hint().exact();
        Replay::taped(body, usize::MAX, length)
    }

    fn taped(body: Body, limit: usize, length: Option<u64>) -> Self {
        let tape = Tape { body, kept: Vec::new(), trailers: None, size: 0, limit, lost: false, length };
        Replay::Kept(Rc::new(RefCell::new(tape)))
    }

    /// Bytes that are kept.
    pub(super) fn kept(&self) -> usize {
        match self {
            Replay::Kept(tape) => tape.borrow().size,
            _ => 0,
        }
    }

    /// Whether [`Replay::next`] gives the whole body.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Replay::Empty => true,
            Replay::Once(body) => body.is_some(),
            Replay::Kept(tape) => !tape.borrow().lost,
        }
    }

    /// The body for the next attempt.
    pub(super) fn next(&mut self) -> Body {
        match self {
            Replay::Empty => Body::Empty,
            Replay::Once(body) => body.take().unwrap_or_default(),
            Replay::Kept(tape) => Body::stream(Reader { tape: tape.clone(), at: 0, given: 0, ended: false }),
        }
    }
}

/// Reads a tape from its start.
struct Reader {
    tape: Rc<RefCell<Tape>>,
    at: usize,
    given: u64,
    ended: bool,
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let mut tape = this.tape.borrow_mut();
        if let (Some(data), false) = (tape.kept.get(this.at), tape.lost) {
            this.at += 1;
            this.given += data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(trailers) = tape.trailers.clone() {
            this.ended = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let frame = ready!(Pin::new(&mut tape.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            if let Some(data) = frame.data_ref() {
                this.at += 1;
                this.given += data.len() as u64;
                tape.keep(data);
            } else {
                this.ended = true;
                tape.trailers = frame.trailers_ref().cloned();
            }
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        match self.tape.borrow().length {
            Some(n) => SizeHint::with_exact(n.saturating_sub(self.given)),
            None => SizeHint::new(),
        }
    }
}

impl Tape {
    fn keep(&mut self, data: &Bytes) {
        self.size += data.len();
        if self.size > self.limit {
            self.lost = true;
            self.kept = Vec::new();
        } else {
            self.kept.push(data.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn read(body: Body) -> Vec<u8> {
        let (mut body, mut out) = (body, Vec::new());
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            out.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
        out
    }

    #[tokio::test]
    async fn small_bodies_are_read_again() {
        let mut replay = Replay::new(Body::Full(Bytes::from_static(b"hello")), 5);
        for _ in 0..2 {
            assert!(replay.is_whole());
            assert_eq!(read(replay.next()).await, b"hello");
        }
    }

    #[tokio::test]
    async fn large_bodies_are_read_once() {
        let mut replay = Replay::new(Body::Full(Bytes::from_static(b"hello")), 4);
        assert!(replay.is_whole());
        assert_eq!(read(replay.next()).await, b"hello");
        assert!(!replay.is_whole());
    }

    #[tokio::test]
    async fn bodies_of_unknown_length_are_kept_up_to_the_limit() {
        struct Unknown(Vec<&'static [u8]>);
        impl HttpBody for Unknown {
            type Data = Bytes;
            type Error = Error;
            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
                Poll::Ready(self.0.pop().map(|data| Ok(Frame::data(Bytes::from_static(data)))))
            }
        }
        for (limit, whole) in [(5, true), (4, false)] {
            let mut replay = Replay::new(Body::stream(Unknown(vec![b"lo", b"hel"])), limit);
            assert_eq!(read(replay.next()).await, b"hello");
            assert_eq!(replay.is_whole(), whole, "{limit}");
            if whole {
                assert_eq!(read(replay.next()).await, b"hello");
            }
        }
    }
}
