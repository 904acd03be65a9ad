//! What hyper runs for a connection to an HTTP/2 upstream, and what is told between its tasks and those who wait.
//!
//! hyper starts each of its tasks by our executor and says nothing of what it is for. A request says so itself, by what
//! hyper asks its body just before.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use pin_project_lite::pin_project;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::spawn_local;

use super::http2::Place;
use super::upload::Upload;
use crate::error::Error;
use crate::net::tunnel::Leash;

/// Starts hyper's tasks of a connection. One that sends a body ends, and with it the stream, when that is given up:
/// hyper would go on waiting for a window, which an upstream that has answered may never open. One that sends the bytes
/// of a tunnel is tied to it.
#[derive(Clone, Default)]
pub(super) struct Tasks(Rc<Shared>);

#[derive(Default)]
struct Shared {
    /// The body that hyper has just begun to send, until it is known by which task: hyper polls it before it starts a
    /// task for the rest.
    begun: Cell<Option<Rc<Upload>>>,
    /// Of the CONNECT that hyper has taken up: the task that it starts next waits for the response.
    connecting: Cell<Option<Leash<Place>>>,
    /// Set while the task that waits for the response to a CONNECT is polled: what it starts sends the bytes of the
    /// tunnel.
    opening: Cell<Option<Leash<Place>>>,
    /// Tells of each time that a task was polled.
    polled: Notify,
}

impl Tasks {
    /// hyper sends a body for the first time.
    pub(super) fn begins(&self, upload: &Rc<Upload>) {
        self.0.begun.set(Some(upload.clone()));
    }

    /// hyper is done with a body.
    pub(super) fn ends(&self, upload: &Rc<Upload>) {
        // Ended where it began: there is no task for the rest.
        if let Some(begun) = self.0.begun.take()
            && !Rc::ptr_eq(&begun, upload)
        {
            self.0.begun.set(Some(begun));
        }
    }

    /// Ready when a task was polled after this call, or the connection has ended.
    pub(super) fn polled(&self) -> Notified<'_> {
        self.0.polled.notified()
    }

    /// The connection has ended.
    pub(super) fn end(&self) {
        self.0.polled.notify_waiters();
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        if let Some(leash) = self.0.opening.take() {
            spawn_local(leash.lead(task));
            return;
        }
        let (upload, leash) = (self.0.begun.take(), self.0.connecting.take());
        spawn_local(Task { task, upload, leash, tasks: self.clone() });
    }
}

pin_project! {
    /// A task that may send a body, or wait for the response to a CONNECT.
    struct Task<F> {
        #[pin]
        task: F,
        upload: Option<Rc<Upload>>,
        leash: Option<Leash<Place>>,
        tasks: Tasks,
    }
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let shared = &this.tasks.0;
        if this.upload.as_ref().is_some_and(|upload| upload.is_given_up()) {
            return Poll::Ready(());
        }
        let connects = this.leash.is_some();
        if connects {
            shared.opening.set(this.leash.take());
        }
        let ended = this.task.poll(cx);
        if connects {
            *this.leash = shared.opening.take();
        }
        if let Some(begun) = shared.begun.take() {
            *this.upload = Some(begun);
        }
        if let Some(upload) = this.upload
            && ended.is_pending()
        {
            upload.is_sent_by(cx);
        }
        shared.polled.notify_waiters();
        ended
    }
}

/// The body of a CONNECT, which has none: says which task is the one of its request.
pub(super) struct Connects {
    tasks: Tasks,
    leash: Cell<Option<Leash<Place>>>,
}

impl Connects {
    pub(super) fn new(tasks: Tasks, leash: Leash<Place>) -> Self {
        Connects { tasks, leash: Cell::new(Some(leash)) }
    }
}

impl HttpBody for Connects {
    type Data = Bytes;
    type Error = Error;

    /// hyper polls no body of a CONNECT.
    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(None)
    }

    /// hyper asks when it takes the request up.
    fn is_end_stream(&self) -> bool {
        if let Some(leash) = self.leash.take() {
            self.tasks.0.connecting.set(Some(leash));
        }
        false
    }
}

impl Drop for Connects {
    /// hyper drops it when the task is there, or never will be.
    fn drop(&mut self) {
        drop(self.tasks.0.connecting.take());
    }
}
