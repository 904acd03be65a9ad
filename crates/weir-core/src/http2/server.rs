//! HTTP/2 towards clients: many requests at once on one connection.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::extended::Opening;
use super::streams::{Active, Streams};
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::{self, Outcome, Session, Tally};
use crate::http1::client::Downstream;
use crate::http1::head::{RequestHead, ResponseHead};
use crate::net::{Deadline, Rewind, Stream};
use crate::worker::Stage;

/// What a connection buffers of one stream's response before it waits for the client.
const SEND_BUFFER: usize = 64 << 10;

/// Serves a connection until it ends.
pub(crate) async fn run(stream: Rewind<Stream>, session: Session) {
    let session = Rc::new(session);
    let limits = session.listener.spec.http.clone();
    let mut stage = session.census.follow_stage();
    let streams = Streams::new(limits.idle_timeout);
    let service = service_fn(|request| {
        let (session, stream) = (session.clone(), streams.enter());
        async move { Ok::<_, Infallible>(serve(&session, request, stream).await) }
    });
    let mut builder = Builder::new(streams.clone());
    let http2 = &limits.http2;
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(http2.max_streams)
        .initial_stream_window_size(http2.stream_window)
        .initial_connection_window_size(http2.connection_window)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(http2.max_pending_resets)
        .max_local_error_reset_streams(http2.max_error_resets)
        .max_send_buf_size(SEND_BUFFER)
        .auto_date_header(false)
        .enable_connect_protocol()
        .keep_alive_interval((!http2.ping_interval.is_zero()).then_some(http2.ping_interval))
        .keep_alive_timeout(http2.ping_timeout);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut draining = pin!(async move {
        // The server itself is gone when this fails: as good as draining.
        let _ = stage.wait_for(|stage| *stage >= Stage::Leaving).await;
    });
    let (mut closing, mut idle_since_active) = (false, true);
    let mut deadline = Deadline::default();
    deadline.set(limits.keep_alive_timeout);
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%error, "an HTTP/2 connection broke off");
            }
            return Poll::Ready(());
        }
        let busy = streams.are_active();
        if busy == idle_since_active {
            idle_since_active = !busy;
            if busy { deadline.clear() } else { deadline.set(limits.keep_alive_timeout) }
        }
        if !closing && (draining.as_mut().poll(cx).is_ready() || deadline.poll(cx).is_ready()) {
            // GOAWAY; what is under way goes on. A client that then does not close is cut.
            closing = true;
            connection.as_mut().graceful_shutdown();
            deadline.set(limits.keep_alive_timeout);
            cx.waker().wake_by_ref();
        } else if closing && !busy && deadline.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// One request and the head of its response.
async fn serve(session: &Session, request: Request<Incoming>, stream: Active) -> Response<Body> {
    let (mut parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let mut head =
        RequestHead { method: parts.method, uri: parts.uri, version: parts.version, headers: parts.headers };
    let body = if body.is_end_stream() { Body::Empty } else { Body::Http2(body) };
    let mut deadline = Deadline::default();
    let fits = head.headers.len() <= session.listener.spec.http.max_headers;
    let asked = match fits {
        true => Opening::of(&mut head, &mut parts.extensions),
        false => Err(Error::new(Kind::HeadTooLarge, "more header fields than the limit")),
    };
    let (mut response, mut tally) = match asked {
        Err(error) => exchange::refuse(session, Some(head), error),
        Ok(opening) => match exchange::handle(session, head, body, &mut deadline, &mut Quiet).await {
            Outcome::Respond(response, mut tally) => match opening {
                // The client would take it for the one that opens it.
                Some(_) if response.status().is_success() => {
                    let error = Error::new(Kind::UpstreamInvalid, "2xx that opens no WebSocket");
                    (exchange::answer(&mut tally, &error), tally)
                }
                _ => (response, tally),
            },
            Outcome::Switch(switch) => match opening {
                Some(opening) => {
                    let mut response = opening.switch(session, switch, stream);
                    date(&mut response);
                    return response;
                }
                None => {
                    let error = Error::new(Kind::Internal, "an upgrade that nobody asked for");
                    exchange::refuse(session, None, error)
                }
            },
        },
    };
    complete(&mut response, is_head);
    response.map(|body| {
        if body.is_end_stream() {
            tally.end(None);
            return Body::Empty;
        }
        Body::stream(Told { body, tally, deadline, waiting: false, whole: false, stream })
    })
}

fn date(response: &mut Response<Body>) {
    if !response.headers().contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(std::time::SystemTime::now()))
    {
        response.headers_mut().insert(DATE, date);
    }
}

/// Adds what HTTP/1 adds when it writes a head.
fn complete(response: &mut Response<Body>, is_head: bool) {
    date(response);
    let status = response.status();
    if is_head || status == StatusCode::NOT_MODIFIED {
        *response.body_mut() = Body::Empty;
    } else if status == StatusCode::NO_CONTENT {
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::Empty;
    } else if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    } else {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
}

/// hyper drops a request whose client has reset its stream: there is nothing to watch.
struct Quiet;

impl Downstream for Quiet {
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn informational(&mut self, _: &mut Context<'_>, _: &ResponseHead) {}
}

/// A response body whose end is told to the log, and whose sender may not pause for too long. How long its client may is
/// watched by the task of the stream.
struct Told {
    body: Body,
    tally: Tally,
    deadline: Deadline,
    waiting: bool,
    /// All of it was handed over; the client may not have taken it yet.
    whole: bool,
    stream: Active,
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                if !std::mem::replace(&mut this.waiting, true) {
                    this.deadline.set(this.tally.upstream_idle);
                }
                this.stream.waits();
                ready!(this.deadline.poll(cx));
                Some(Err(match this.deadline.is_over_cap() {
                    true => Error::new(Kind::ExchangeTimeout, "the request timeout is over"),
                    false => Error::new(Kind::ResponseTimeout, "no more of the response from the upstream"),
                }))
            }
        };
        this.waiting = false;
        match &frame {
            Some(Ok(frame)) => {
                this.stream.hands_over(this.deadline.cap());
                this.tally.sent += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.whole = this.body.is_end_stream();
            }
            Some(Err(error)) => this.tally.end(Some(error)),
            None => this.whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        match self.stream.too_late() {
            Some(error) => self.tally.end(Some(&error)),
            None if self.whole => self.tally.end(None),
            // The tally's own end: the client has left.
            None => {}
        }
    }
}
