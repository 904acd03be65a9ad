//! Bodies in the hands of plugins: lent to be read as a whole, and flowing through hooks piece by piece.

use std::any::Any;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use weir_plugin::message::body::{self, Coding};
use weir_plugin::{Content, Flow, Piece, Reply, Source, Step};

use super::chain::{Whose, bounded};
use super::replay::Replay;
use crate::action::decompress;
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::instances::Running;
use crate::upstream::Choice;

/// What is read of a body beyond what plugins may read of it: compressed bytes that come to nothing, say.
const SLACK: usize = 64 << 10;

/// A body that plugins may read as a whole. What was read goes on to where it would have gone, as it came.
struct Lent {
    body: Reading,
    coding: Option<Coding>,
    kind: Kind,
    /// The most that is kept of what was read, in bytes as they came.
    most: usize,
    /// Why it broke off.
    failed: Option<Error>,
}

enum Reading {
    /// No plugin has asked for it.
    Unread(Body),
    /// What was read is kept; the body is read without its coding.
    Begun(Replay, Body),
}

/// Lends a body with these headers, of which plugins may read so much.
pub(super) fn lend(body: Body, headers: &HeaderMap, kind: Kind, most: usize) -> Content {
    if body.is_end_stream() {
        return Content::default();
    }
    let (body, coding) = (Reading::Unread(body), body::coding(headers));
    let most = most.saturating_add(SLACK);
    Content::new(Box::new(Lent { body, coding, kind, most, failed: None }))
}

/// Takes a body back: what a plugin made of it, or all of what came.
///
/// # Errors
/// Why the body broke off while plugins read it.
pub(super) fn take_back(content: Content) -> Result<Body, Error> {
    let (source, replaced) = content.into_parts();
    if let Some(replaced) = replaced {
        return Ok(Body::from(replaced));
    }
    match source.map(|source| source.into_any().downcast::<Lent>()) {
        Some(Ok(lent)) => match (lent.failed, lent.body) {
            (Some(error), _) => Err(error),
            (None, Reading::Unread(body)) => Ok(body),
            (None, Reading::Begun(mut replay, _)) => Ok(replay.next()),
        },
        _ => Ok(Body::Empty),
    }
}

impl Source for Lent {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<weir_plugin::error::Result<Bytes>>> {
        if let Reading::Unread(body) = &mut self.body {
            let mut replay = Replay::keep(std::mem::take(body));
            let whole = replay.next();
            let plain = match self.coding {
                Some(coding) => decompress(whole, coding, self.kind),
                None => whole,
            };
            self.body = Reading::Begun(replay, plain);
        }
        let Reading::Begun(replay, body) = &mut self.body else { return Poll::Ready(None) };
        if replay.kept() > self.most {
            return Poll::Ready(Some(Err(weir_plugin::Error::TooLarge(self.most as u64))));
        }
        let piece = ready!(poll_data(body, cx));
        Poll::Ready(piece.map(|piece| piece.map_err(|error| told(self.failed.insert(error)))))
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The body of an answer to a plugin's own request. Nothing of what was read is kept.
pub(super) struct Answer {
    /// Without its content coding.
    pub(super) body: Body,
    /// Counts as load of the endpoint that sends it.
    pub(super) _choice: Choice,
}

impl Source for Answer {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<weir_plugin::error::Result<Bytes>>> {
        let piece = ready!(poll_data(&mut self.body, cx));
        Poll::Ready(piece.map(|piece| piece.map_err(|error| told(&error))))
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// The next data of a body; trailers are passed over.
fn poll_data(body: &mut Body, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
    loop {
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => return Poll::Ready(Some(Ok(data))),
            Some(Ok(Err(_trailers))) => {}
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}

/// What a plugin is told of an error.
fn told(error: &Error) -> weir_plugin::Error {
    weir_plugin::Error::Failed(error.detail().to_owned())
}

/// An answer that a plugin gives while a request's body goes through it.
pub(super) type Answered = Rc<RefCell<Option<Reply>>>;

/// A body that flows through a plugin.
pub(super) struct Flowing {
    from: Body,
    flow: Box<dyn Flow>,
    running: Rc<Running>,
    /// What the plugin's failures are told with.
    whose: Whose,
    /// `None` where it is too late for an answer.
    answered: Option<Answered>,
    stage: Stage,
    trailers: Option<Frame<Bytes>>,
}

enum Stage {
    Reading,
    /// The plugin waits, with this piece, which is the last one or not.
    Waiting(Pin<Box<dyn Future<Output = Result<Piece, String>>>>, Bytes, bool),
    /// The plugin has had the last piece.
    Ending,
    Ended,
}

impl Flowing {
    /// Leads a body through a plugin.
    pub(super) fn through(
        from: Body,
        flow: Box<dyn Flow>,
        running: Rc<Running>,
        whose: Whose,
        answered: Option<Answered>,
    ) -> Body {
        let (stage, trailers) = (Stage::Reading, None);
        Body::stream(Flowing { from, flow, running, whose, answered, stage, trailers })
    }

    /// Hands a piece to the plugin.
    fn offer(&mut self, piece: Bytes, last: bool) -> Poll<Result<Piece, String>> {
        match self.flow.piece(piece.clone(), last) {
            Step::Done(made) => Poll::Ready(Ok(made)),
            Step::Wait(waiting) => {
                let running = self.running.clone();
                let waiting = Box::pin(async move { bounded(&running, Step::Wait(waiting)).await });
                self.stage = Stage::Waiting(waiting, piece, last);
                Poll::Pending
            }
        }
    }

    /// What the plugin made of a piece; none of it to hold it back.
    fn made(&mut self, piece: Bytes, made: Result<Piece, String>) -> Result<Option<Bytes>, Error> {
        let bytes = match made.unwrap_or_else(Piece::Fail) {
            Piece::Pass => piece,
            Piece::Replace(bytes) => bytes,
            Piece::Respond(reply) => {
                let Some(answered) = &self.answered else {
                    let late = "an answer cannot be given any more: the response is on its way";
                    return self.failed(piece, late.to_owned());
                };
                *answered.borrow_mut() = Some(reply);
                return Err(Error::new(Kind::Plugin, "a plugin answered instead of the upstream"));
            }
            Piece::Fail(message) => return self.failed(piece, message),
        };
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    fn failed(&mut self, piece: Bytes, message: String) -> Result<Option<Bytes>, Error> {
        let hook = if self.answered.is_some() { "on_request_body" } else { "on_response_body" };
        self.running.failed(&self.whose, hook, message)?;
        Ok((!piece.is_empty()).then_some(piece))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        loop {
            let (piece, last, made) = match &mut self.stage {
                Stage::Reading => {
                    let (piece, last) = match ready!(Pin::new(&mut self.from).poll_frame(cx)) {
                        Some(frame) => match frame?.into_data() {
                            Ok(data) if data.is_empty() => continue,
                            Ok(data) => (data, false),
                            Err(trailers) => {
                                self.trailers = Some(trailers);
                                (Bytes::new(), true)
                            }
                        },
                        None => (Bytes::new(), true),
                    };
                    match self.offer(piece.clone(), last) {
                        Poll::Ready(made) => (piece, last, made),
                        Poll::Pending => continue,
                    }
                }
                Stage::Waiting(waiting, piece, last) => {
                    let made = ready!(waiting.as_mut().poll(cx));
                    (std::mem::take(piece), *last, made)
                }
                Stage::Ending => {
                    self.stage = Stage::Ended;
                    return Poll::Ready(Ok(self.trailers.take()));
                }
                Stage::Ended => return Poll::Ready(Ok(None)),
            };
            self.stage = if last { Stage::Ending } else { Stage::Reading };
            if let Some(bytes) = self.made(piece, made)? {
                return Poll::Ready(Ok(Some(Frame::data(bytes))));
            }
        }
    }
}

impl HttpBody for Flowing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let next = ready!(this.poll_next(cx));
        if next.is_err() {
            this.stage = Stage::Ended;
        }
        Poll::Ready(next.transpose())
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }
}
