//! HTTP/2 to upstreams (RFC 9113), by hyper: one connection a worker and endpoint, as long as its streams suffice.

use std::cell::{Cell, RefCell};
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, Uri, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, Connection as Driver, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use super::tasks::Tasks;
use super::upload::{Sent, Upload};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::net::Stream;

/// Flow-control window of a stream: what an upstream may send before a slow client takes it.
const STREAM_WINDOW: u32 = 256 << 10;
/// Flow-control window of a connection. Not a bound of its own: were it used up by streams of slow clients, it
/// would stop those of all others.
const CONNECTION_WINDOW: u32 = 1 << 30;
/// Bytes of a request body that wait in a stream for the upstream's window.
const SEND_BUFFER: usize = 256 << 10;
/// Size of a response's header list.
const HEADER_LIST: u32 = 64 << 10;
/// How many streams may be open before the upstream has said how many. It is about what RFC 9113 recommends (section
/// 6.5.2), and a number that no upstream says, so that it is known when it has.
pub(super) const UNTOLD: usize = 99;

type Task = Driver<TokioIo<Stream>, Body, Tasks>;

/// A connection that many requests share.
pub(super) struct Http2Connection {
    sender: RefCell<SendRequest<Body>>,
    /// Polled by a task of its own, which takes it away when it has ended; here to be asked for what the upstream has
    /// said of itself.
    pub(super) driver: Rc<RefCell<Option<Task>>>,
    scheme: Scheme,
    pub(super) tasks: Tasks,
    /// Streams that are open or promised to a sender.
    streams: Cell<usize>,
    /// No new streams.
    retired: Cell<bool>,
    /// When its last stream ended.
    idle_since: Cell<Instant>,
}

/// Sends requests on an HTTP/2 connection to an upstream. Holds a place among its streams until it is dropped, or
/// the response body is.
pub struct Http2Sender {
    pub(super) connection: Rc<Http2Connection>,
    place: Option<Place>,
}

/// Why an HTTP/2 request failed.
#[derive(Debug)]
pub struct Http2Error {
    /// What happened.
    pub error: Error,
    /// The upstream has certainly not processed the request (REFUSED_STREAM, or GOAWAY below its id).
    pub unprocessed: bool,
}

/// A place among the streams of a connection.
pub(super) struct Place(Rc<Http2Connection>);

impl Place {
    pub(super) fn take(connection: &Rc<Http2Connection>) -> Self {
        connection.streams.set(connection.streams.get() + 1);
        Place(connection.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = self.0.streams.get().saturating_sub(1);
        self.0.streams.set(left);
        if left == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

impl Http2Connection {
    /// Opens HTTP/2 on a fresh stream. Must be called on a worker.
    ///
    /// # Errors
    /// `UpstreamClosed` when the stream breaks off at once.
    pub(super) async fn open(stream: Stream) -> Result<Rc<Self>, Error> {
        let scheme = if stream.as_plain().is_some() { Scheme::HTTP } else { Scheme::HTTPS };
        let tasks = Tasks::default();
        let mut builder = Builder::new(tasks.clone());
        builder
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(HEADER_LIST)
            .initial_max_send_streams(UNTOLD);
        let opened = builder.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = opened
            .map_err(|e| Error::because(Kind::UpstreamClosed, "the HTTP/2 connection did not open", e))?;
        let connection = Rc::new(Http2Connection {
            sender: RefCell::new(sender),
            driver: Rc::new(RefCell::new(Some(driver))),
            scheme,
            tasks,
            streams: Cell::new(0),
            retired: Cell::new(false),
            idle_since: Cell::new(Instant::now()),
        });
        tokio::task::spawn_local(drive(connection.driver.clone(), connection.tasks.clone()));
        Ok(connection)
    }

    /// Whether it can still take new streams, now or when others have ended.
    pub(super) fn is_usable(&self) -> bool {
        !self.retired.get() && !self.sender.borrow().is_closed()
    }

    /// Since when it has no streams; `None`: it has some.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.streams.get() == 0).then(|| self.idle_since.get())
    }

    /// A sender, if it can take another stream now.
    pub(super) fn sender(self: &Rc<Self>) -> Option<Http2Sender> {
        (self.is_usable() && self.streams.get() < self.limit())
            .then(|| Http2Sender { connection: self.clone(), place: Some(Place::take(self)) })
    }

    /// The upstream's `SETTINGS_MAX_CONCURRENT_STREAMS`. One is always let wait for it, or an upstream that says 0
    /// would be connected to again and again.
    fn limit(&self) -> usize {
        let driver = self.driver.try_borrow();
        let limit = driver.ok().and_then(|d| d.as_ref().map(Driver::current_max_send_streams));
        limit.unwrap_or(0).max(1)
    }
}

/// Polls a connection to its end, and then drops it: so senders learn of the end.
async fn drive(driver: Rc<RefCell<Option<Task>>>, tasks: Tasks) {
    let ended = std::future::poll_fn(|cx| match driver.borrow_mut().as_mut() {
        Some(driver) => Pin::new(driver).poll(cx),
        None => Poll::Ready(Ok(())),
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP/2 connection to an upstream broke off");
    }
    let over = driver.borrow_mut().take();
    drop(over);
    tasks.end();
}

impl Http2Sender {
    /// Sends a request; resolves when the response head is there. Dropping the future resets the stream. The
    /// error says by [`Http2Error::unprocessed`] whether the upstream has certainly not seen the request.
    ///
    /// `:authority` is the URI's, or else the `host` header's; `host` itself is not sent (RFC 9113, section
    /// 8.3.1). `:scheme` says whether TLS is spoken to the upstream. The response comes without waiting for its
    /// body, which has trailers as its last frame. A request body that is still on its way when the response has
    /// ended, or was dropped, is given up (RFC 9113, section 8.1).
    ///
    /// # Errors
    /// See [`Http2Error`].
    pub async fn send(
        &mut self,
        method: http::Method,
        uri: Uri,
        headers: HeaderMap,
        upload: Option<Rc<Upload>>,
    ) -> Result<http::Response<Body>, Http2Error> {
        let place = self.take_place();
        let sent =
            |upload: &Rc<Upload>| Body::stream(Sent::new(upload.clone(), self.connection.tasks.clone()));
        let body = upload.as_ref().map_or(Body::Empty, sent);
        let mut unanswered = Unanswered { upload, place: Some(place) };
        let request = self.connection.request(method, uri, headers, body)?;
        let response = self.connection.dispatch(request).await?;
        let (upload, place) = (unanswered.upload.take(), unanswered.place.take());
        Ok(response.map(|incoming| received(incoming, place, upload)))
    }

    pub(super) fn take_place(&mut self) -> Place {
        self.place.take().unwrap_or_else(|| Place::take(&self.connection))
    }
}

/// A request whose response has not begun. Dropped as that, what is left of it is given up: hyper would go on sending
/// it, and keep the stream open as long.
struct Unanswered {
    upload: Option<Rc<Upload>>,
    place: Option<Place>,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            upload.give_up(self.place.take());
        }
    }
}

impl Http2Connection {
    /// A request as hyper wants it.
    pub(super) fn request(
        &self,
        method: http::Method,
        uri: Uri,
        mut headers: HeaderMap,
        body: Body,
    ) -> Result<Request<Body>, Http2Error> {
        let mut request = Request::new(body);
        *request.uri_mut() = absolute(uri, &self.scheme, &mut headers)?;
        *request.method_mut() = method;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Sends a request and waits for the head of the response.
    pub(super) async fn dispatch(
        &self,
        request: Request<Body>,
    ) -> Result<http::Response<Incoming>, Http2Error> {
        let sent = self.sender.borrow_mut().try_send_request(request);
        sent.await.map_err(|mut failed| {
            // Given back: it never left.
            let unsent = failed.take_message().is_some();
            self.explain(failed.into_error(), unsent)
        })
    }

    /// What an error of hyper's means, and whether the connection is of any more use.
    fn explain(&self, error: hyper::Error, unsent: bool) -> Http2Error {
        let mut failure = None;
        let mut source = error.source();
        while let Some(cause) = source {
            if let Some(h2) = cause.downcast_ref::<h2::Error>() {
                failure = Some(classify(h2));
                break;
            }
            source = cause.source();
        }
        let unknown = Failure::of(Kind::UpstreamClosed, "the upstream closed the HTTP/2 connection").ends();
        let mut failure = failure.unwrap_or_else(|| match error.is_user() {
            true => Failure::of(Kind::Internal, "the request cannot be sent over HTTP/2").unprocessed(),
            false => unknown,
        });
        failure.unprocessed |= unsent;
        if failure.ends_connection || unsent {
            self.retired.set(true);
        }
        Http2Error {
            error: Error::because(failure.kind, failure.detail, error),
            unprocessed: failure.unprocessed,
        }
    }
}

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failure {
    kind: Kind,
    detail: &'static str,
    unprocessed: bool,
    ends_connection: bool,
}

impl Failure {
    fn of(kind: Kind, detail: &'static str) -> Self {
        Failure { kind, detail, unprocessed: false, ends_connection: false }
    }

    fn unprocessed(self) -> Self {
        Failure { unprocessed: true, ..self }
    }

    fn ends(self) -> Self {
        Failure { ends_connection: true, ..self }
    }
}

fn classify(error: &h2::Error) -> Failure {
    if error.is_go_away() && error.is_remote() {
        // Only streams above the last one that the upstream will process are told so (RFC 9113, section 6.8).
        return Failure::of(Kind::UpstreamClosed, "the upstream is closing the connection")
            .unprocessed()
            .ends();
    }
    if error.is_reset() && error.is_remote() {
        return match error.reason() {
            // RFC 9113, section 8.7. It has had enough of this connection, so the next attempt takes another.
            Some(h2::Reason::REFUSED_STREAM) => {
                Failure::of(Kind::UpstreamClosed, "the upstream refused the stream").unprocessed().ends()
            }
            Some(h2::Reason::HTTP_1_1_REQUIRED) => {
                Failure::of(Kind::UpstreamInvalid, "the upstream wants HTTP/1.1 for this request")
            }
            _ => Failure::of(Kind::UpstreamClosed, "the upstream reset the stream"),
        };
    }
    if error.is_library() {
        let failure = Failure::of(Kind::UpstreamInvalid, "the upstream broke a rule of HTTP/2");
        return if error.is_go_away() { failure.ends() } else { failure };
    }
    if error.is_reset() {
        return Failure::of(Kind::ClientGone, "the request body broke off");
    }
    if error.is_io() {
        return Failure::of(Kind::UpstreamClosed, "the upstream closed the HTTP/2 connection").ends();
    }
    if error.reason().is_some() {
        // Of hyper's own: an answer to a CONNECT that has a length.
        return Failure::of(Kind::UpstreamInvalid, "the upstream broke a rule of HTTP/2");
    }
    Failure::of(Kind::Internal, "the request cannot be sent over HTTP/2").unprocessed()
}

/// The URI with the scheme of the connection and an authority, which HTTP/2 sends instead of `host`.
fn absolute(uri: Uri, scheme: &Scheme, headers: &mut HeaderMap) -> Result<Uri, Http2Error> {
    let invalid = |error: http::Error| Http2Error {
        error: Error::because(Kind::BadRequest, "the request has no authority that HTTP/2 could send", error),
        unprocessed: true,
    };
    let host = headers.remove(header::HOST);
    let mut parts = uri.into_parts();
    if parts.authority.is_none() {
        let host = host.as_ref().map_or(&b""[..], |host| host.as_bytes());
        parts.authority = Some(Authority::try_from(host).map_err(|e| invalid(e.into()))?);
    }
    parts.scheme = Some(scheme.clone());
    parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    Uri::from_parts(parts).map_err(|e| invalid(e.into()))
}

/// A response body. The stream keeps its place among those of the connection until this has ended, and the request
/// body too.
struct Received {
    incoming: Incoming,
    place: Option<Place>,
    upload: Option<Rc<Upload>>,
}

pub(super) fn received(incoming: Incoming, place: Option<Place>, upload: Option<Rc<Upload>>) -> Body {
    let received = Received { incoming, place, upload };
    if received.incoming.is_end_stream() { Body::Empty } else { Body::stream(received) }
}

impl Received {
    /// The response is over: what is left of the request is of no use, and would keep the stream open.
    fn end(&mut self) {
        let place = self.place.take();
        if let Some(upload) = self.upload.take() {
            upload.give_up(place);
        }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.end();
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.incoming.is_end_stream() {
            self.end();
        }
        let broke_off = |e| Error::because(Kind::UpstreamClosed, "the response broke off", e);
        Poll::Ready(frame.map(|frame| frame.map_err(broke_off)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

#[cfg(test)]
#[path = "http2_tests.rs"]
mod tests;
