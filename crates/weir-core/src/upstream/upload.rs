//! Request bodies on their way to HTTP/2 upstreams: how far they are, and how they are given up.
//!
//! hyper sends a body from a task of its own, that asks for more of it only while the stream has a window. So the
//! exchange cannot see what the body waits for, and the body cannot end a stream that waits for a window. This is what
//! both sides know of each other.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::http2::Place;
use super::tasks::Tasks;
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::http1::Waits;
use crate::net::deadline::Coarse;

/// A request body on its way, as the exchange sees it.
pub struct Upload {
    /// None once it has ended or was given up.
    body: RefCell<Option<Body>>,
    state: Cell<UploadState>,
    /// Why it broke off; hyper does not tell.
    failure: Cell<Option<Error>>,
    given_up: Cell<bool>,
    /// Of the task that sends it.
    sender: Cell<Option<Waker>>,
    /// Of who wants to know of its end.
    watcher: Cell<Option<Waker>>,
    /// hyper is done with it.
    done: Cell<bool>,
    /// The place of its stream, once the response has ended before it.
    place: Cell<Option<Place>>,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UploadState {
    /// What it waits for: more of the body from the client, or the upstream to take it.
    pub(crate) waits: Waits,
    /// Since when.
    pub(crate) since: Coarse,
}

impl Upload {
    /// A body to be sent; `None` where there is nothing to send.
    pub fn new(body: Body) -> Option<Rc<Self>> {
        (!body.is_end_stream()).then(|| {
            Rc::new(Upload {
                body: RefCell::new(Some(body)),
                state: Cell::new(UploadState { waits: Waits::Sink, since: Coarse::now() }),
                failure: Cell::default(),
                given_up: Cell::default(),
                sender: Cell::default(),
                watcher: Cell::default(),
                done: Cell::default(),
                place: Cell::default(),
            })
        })
    }

    /// What it waits for; `None`: all of it was read. Of the end, and of nothing else, the task is told.
    pub(crate) fn watch(&self, cx: &Context<'_>) -> Option<UploadState> {
        if self.body.borrow().is_none() {
            return None;
        }
        remember(&self.watcher, cx);
        Some(self.state.get())
    }

    /// Why it broke off, if it did.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.take()
    }

    /// The response has ended, or nobody wants it: what is left of the body is let go of at once, and the stream, which
    /// keeps its place as long, soon.
    pub(super) fn give_up(&self, place: Option<Place>) {
        if self.done.get() {
            return;
        }
        self.place.set(place);
        self.given_up.set(true);
        let body = self.body.borrow_mut().take();
        drop(body);
        if let Some(sender) = self.sender.take() {
            sender.wake();
        }
    }

    /// Whether it was given up.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// The task that sends it: woken when it is given up.
    pub(super) fn is_sent_by(&self, cx: &Context<'_>) {
        remember(&self.sender, cx);
    }

    /// All of it was read, or it broke off.
    fn ends(&self, body: &mut Option<Body>) {
        *body = None;
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }

    fn is_waiting_for(&self, waits: Waits) {
        self.state.set(UploadState { waits, since: Coarse::now() });
    }
}

/// Keeps the waker of a task.
fn remember(place: &Cell<Option<Waker>>, cx: &Context<'_>) {
    let known = place.take().filter(|waker| waker.will_wake(cx.waker()));
    place.set(Some(known.unwrap_or_else(|| cx.waker().clone())));
}

/// The body that hyper sends.
pub(super) struct Sent {
    upload: Rc<Upload>,
    tasks: Tasks,
    polled: bool,
}

impl Sent {
    pub(super) fn new(upload: Rc<Upload>, tasks: Tasks) -> Self {
        Sent { upload, tasks, polled: false }
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !std::mem::replace(&mut self.polled, true) {
            self.tasks.begins(&self.upload);
        }
        let upload = &self.upload;
        let mut body = upload.body.borrow_mut();
        let Some(reader) = body.as_mut() else {
            let over = upload.given_up.get().then(|| Err(cancel(Kind::ClientGone, "it was given up")));
            return Poll::Ready(over);
        };
        let frame = match Pin::new(&mut *reader).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                if upload.state.get().waits != Waits::Source {
                    upload.is_waiting_for(Waits::Source);
                }
                return Poll::Pending;
            }
        };
        upload.is_waiting_for(Waits::Sink);
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                if reader.is_end_stream() {
                    upload.ends(&mut body);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let (kind, detail) = (error.kind(), error.detail());
                upload.failure.set(Some(error));
                upload.ends(&mut body);
                Some(Err(cancel(kind, detail)))
            }
            None => {
                upload.ends(&mut body);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let body = self.upload.body.borrow();
        body.as_ref().map_or(!self.upload.given_up.get(), HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.upload.body.borrow().as_ref().map_or_else(SizeHint::new, HttpBody::size_hint)
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.upload.done.set(true);
        self.tasks.ends(&self.upload);
        let body = self.upload.body.borrow_mut().take();
        drop(body);
        if let Some(watcher) = self.upload.watcher.take() {
            watcher.wake();
        }
        let place = self.upload.place.take();
        drop(place);
    }
}

/// An error on which hyper resets the stream as one that is not wanted any more (RFC 9113, section 7).
fn cancel(kind: Kind, detail: &'static str) -> Error {
    Error::because(kind, detail, h2::Error::from(h2::Reason::CANCEL))
}
