//! Message bodies on their way through.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::error::{Error, Kind};
use crate::http1;

/// A body from wherever it comes. Read by polling; a body that is not read exerts back-pressure on its sender.
#[derive(Default)]
pub enum Body {
    /// No body at all.
    #[default]
    Empty,
    /// A body that is all there.
    Full(Bytes),
    /// From an HTTP/1 connection, client or upstream.
    Http1(Box<http1::Incoming>),
    /// From an HTTP/2 stream of a client.
    Http2(hyper::body::Incoming),
    /// Made or changed on the way.
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = Error>>>),
}

impl Body {
    /// A body that something makes or changes on the way.
    pub fn stream(body: impl HttpBody<Data = Bytes, Error = Error> + 'static) -> Self {
        Body::Stream(Box::pin(body))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Body::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Body::Http1(body) => body.poll_frame(cx),
            Body::Http2(body) => match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(frame) => Poll::Ready(Some(frame.map_err(broke_off))),
                // A stream that was reset without an error: its body is not whole.
                None if !body.is_end_stream() => {
                    let error = Error::new(Kind::ClientGone, "the request body ended early");
                    Poll::Ready(Some(Err(error)))
                }
                None => Poll::Ready(None),
            },
            Body::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Http1(body) => body.is_end(),
            Body::Http2(body) => body.is_end_stream(),
            Body::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Http1(body) => body.size_hint(),
            Body::Http2(body) => body.size_hint(),
            Body::Stream(body) => body.size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self {
            Body::Empty => "Empty",
            Body::Full(_) => "Full",
            Body::Http1(_) => "Http1",
            Body::Http2(_) => "Http2",
            Body::Stream(_) => "Stream",
        };
        write!(f, "Body::{kind}")
    }
}

fn broke_off(error: hyper::Error) -> Error {
    Error::because(Kind::ClientGone, "the client's HTTP/2 stream broke off", error)
}
