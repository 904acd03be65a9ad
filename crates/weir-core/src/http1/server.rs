//! HTTP/1.1 towards clients: requests and responses of one connection, in turn.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, Response, StatusCode, Version, response};
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::client::{self, Downstream, has_token, keeps_alive};
use super::date;
use super::framing::{self, Decoder, Framing, FramingError};
use super::head::{self, Finder, HeadError, RequestHead, ResponseHead};
use super::incoming::{Incoming, Link, TransferError, Waits};
use super::io::{Io, Unread, with_out};
use super::sender::Sender;
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::exchange::{self, Outcome, Session, Switch, Tally};
use crate::listen::limits::Census;
use crate::net::Deadline;
use crate::worker::Stage;

/// Most fields of a head, whatever the configuration says: a map takes some 24,000 and panics over it.
const MOST_FIELDS: usize = 4096;
/// What of an unread request body is read to keep the connection.
const MAX_SKIP: u64 = 256 << 10;
/// How long a closed connection is read from, so that the client gets to see the response.
const LINGER: Duration = Duration::from_secs(2);

/// Serves a connection until it ends or is to become a relay.
pub(crate) async fn run(io: Io, session: &Session) -> Option<Switch> {
    let link: Link = Rc::new(RefCell::new(io));
    let mut server = Server { link, session, deadline: Deadline::default(), served: 0 };
    let mut switch = server.serve().await?;
    // Nothing else holds the connection any more: the request that was switched has no body.
    switch.client = Some(Rc::try_unwrap(server.link).ok()?.into_inner().into_parts());
    Some(switch)
}

struct Server<'a> {
    link: Link,
    session: &'a Session,
    deadline: Deadline,
    served: u64,
}

/// How the connection goes on after a response.
enum Next {
    Request,
    Close,
    Switch(Box<Switch>),
}

impl Server<'_> {
    async fn serve(&mut self) -> Option<Switch> {
        let mut stage = self.session.census.follow_stage();
        let mut draining = pin!(async move {
            // The server itself is gone when this fails: as good as draining.
            let _ = stage.wait_for(|stage| *stage >= Stage::Draining).await;
        });
        // Once is enough for the task to be woken when the stage is another.
        let _ = poll_fn(|cx| Poll::Ready(draining.as_mut().poll(cx))).await;
        loop {
            let next = match self.read_head(draining.as_mut()).await {
                Ok(Some(head)) => self.exchange(head).await,
                Ok(None) => return None,
                Err(error) => self.refuse(error).await,
            };
            match next {
                Ok(Next::Request) => {}
                Ok(Next::Switch(switch)) => return Some(*switch),
                Ok(Next::Close) => {
                    self.linger().await;
                    return None;
                }
                Err(_) => return None,
            }
        }
    }

    /// The next request head; None when the connection ends where it may.
    async fn read_head(
        &mut self,
        mut draining: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<RequestHead>, Error> {
        let (link, deadline) = (&self.link, &mut self.deadline);
        let limits = &self.session.listener.spec.http;
        let first = if self.served == 0 { limits.header_timeout } else { limits.keep_alive_timeout };
        let mut reader = HeadReader {
            finder: Finder::default(),
            limit: limits.max_header_bytes,
            fields: limits.max_headers.min(MOST_FIELDS),
            blank: 0,
            begun: None,
            census: &self.session.census,
        };
        poll_fn(move |cx| {
            if let Poll::Ready(head) = reader.poll(cx, &mut link.borrow_mut()) {
                return Poll::Ready(head);
            }
            // The waker was used up by the change to this stage. (Past it there is nothing to be told any more.)
            if reader.census.stage() == Stage::Leaving && draining.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            let begun = !link.borrow().input.is_empty();
            if reader.begun != Some(begun) {
                reader.begun = Some(begun);
                deadline.set_cap(Duration::ZERO);
                deadline.set(if begun { limits.header_timeout } else { first });
            }
            deadline.poll(cx).map(|_| match begun {
                true => Err(Error::new(Kind::RequestTimeout, "the request head took too long")),
                false => Ok(None),
            })
        })
        .await
    }

    /// One request and its response. An error means that the connection is of no more use.
    async fn exchange(&mut self, head: RequestHead) -> Result<Next, Error> {
        self.served += 1;
        self.deadline.set_cap(Duration::ZERO);
        self.link.borrow_mut().responding = false;
        let version = head.version;
        let framing = match framing::of_request(version, &head.headers) {
            Ok(framing) => framing,
            Err(e) => return self.refuse(framing_error(e)).await,
        };
        let requests = self.session.listener.spec.http.keep_alive_requests;
        let mut keep = keeps_alive(version, &head.headers) && (requests == 0 || self.served < requests);
        let is_head = head.method == Method::HEAD;
        let body = self.request_body(&head, framing);
        let mut downstream = Client { link: &self.link, informational: version == Version::HTTP_11 };
        let handled = exchange::handle(self.session, head, body, &mut self.deadline, &mut downstream);
        let (response, mut tally) = match handled.await {
            Outcome::Respond(response, tally) => (response, tally),
            Outcome::Switch(switch) => return self.switch(switch).await,
        };
        if tally.is_client_gone() {
            tally.end(None);
            return Ok(Next::Close);
        }
        keep &= self.session.census.stage() == Stage::Serving && !tally.must_close();
        keep &= !matches!(self.link.borrow().unread, Unread::Unknown);
        let sent = self.respond(response, is_head, version, &mut keep, &mut tally).await;
        tally.end(sent.as_ref().err());
        sent?;
        Ok(if keep && self.skip_body().await { Next::Request } else { Next::Close })
    }

    /// Answers a request that cannot be served and closes.
    async fn refuse(&mut self, error: Error) -> Result<Next, Error> {
        self.deadline.set_cap(Duration::ZERO);
        let (response, mut tally) = exchange::refuse(self.session, None, error);
        let sent = self.respond(response, false, Version::HTTP_11, &mut false, &mut tally).await;
        tally.end(sent.as_ref().err());
        sent.map(|()| Next::Close)
    }

    fn request_body(&self, head: &RequestHead, framing: Framing) -> Body {
        if framing == Framing::None {
            return Body::Empty;
        }
        let expects = head.version == Version::HTTP_11 && has_token(&head.headers, &EXPECT, "100-continue");
        Body::Http1(Box::new(Incoming::from_client(self.link.clone(), framing, expects)))
    }

    /// Sends a response. `keep` becomes false where it can only end with the connection.
    async fn respond(
        &mut self,
        response: Response<Body>,
        is_head: bool,
        version: Version,
        keep: &mut bool,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let (parts, body) = response.into_parts();
        let framing = response_framing(&body, &parts, is_head, version);
        *keep &= framing != Framing::Close;
        let mut sender = Sender::new(body, framing);
        let idle = self.session.listener.spec.http.idle_timeout;
        let (link, deadline) = (&self.link, &mut self.deadline);
        let mut started = false;
        let mut progress = None;
        let sent = poll_fn(|cx| {
            if !std::mem::replace(&mut started, true) {
                link.borrow_mut().responding = true;
                let begun = with_out(|out| {
                    write_head(out, &parts, framing, *keep, version);
                    sender.start(out).map_err(TransferError::Source)?;
                    link.borrow_mut().write(cx, out).map_err(TransferError::Sink)
                });
                if let Err(e) = begun {
                    return Poll::Ready(Err(sending_error(e)));
                }
            }
            if let Poll::Ready(done) = sender.poll(cx, link) {
                return Poll::Ready(done.map_err(sending_error));
            }
            let wait = if sender.waits == Waits::Sink { idle } else { tally.upstream_idle };
            let now = (sender.sent, sender.waits, link.borrow().waiting());
            if progress != Some(now) {
                progress = Some(now);
                deadline.set(wait);
            }
            let quiet = sender.waits == Waits::Source && matches!(link.borrow().unread, Unread::Nothing);
            if quiet && link.borrow_mut().poll_gone(cx).is_ready() {
                return Poll::Ready(Err(Error::new(Kind::ClientGone, "the client left during the response")));
            }
            if deadline.poll(cx).is_pending() {
                return Poll::Pending;
            }
            Poll::Ready(Err(match (deadline.is_over_cap(), sender.waits) {
                (true, _) => Error::new(Kind::ExchangeTimeout, "the request timeout is over"),
                (_, Waits::Sink) => Error::new(Kind::ClientGone, "the client took no more of the response"),
                _ => Error::new(Kind::ResponseTimeout, "no more of the response from the upstream"),
            }))
        })
        .await;
        tally.sent = sender.sent;
        sent
    }

    /// Sends 101; the connection is handed over after it.
    async fn switch(&mut self, mut switch: Box<Switch>) -> Result<Next, Error> {
        let (link, deadline) = (&self.link, &mut self.deadline);
        let mut started = false;
        let flush = poll_fn(|cx| {
            let mut io = link.borrow_mut();
            if !std::mem::replace(&mut started, true) {
                with_out(|out| {
                    // Not kept: the relay lives long.
                    write_switch(out, &std::mem::take(&mut switch.headers));
                    io.write(cx, out)
                })?;
            }
            io.poll_flush(cx)
        });
        let error = match deadline.bound(self.session.listener.spec.http.idle_timeout, flush).await {
            Ok(Ok(())) => return Ok(Next::Switch(switch)),
            Ok(Err(e)) => Error::because(Kind::ClientGone, "sending 101", e),
            Err(_) => Error::new(Kind::ClientGone, "the client did not take 101"),
        };
        switch.tally.end(Some(&error));
        Err(error)
    }

    /// Reads and drops what is left of the request's body, if that is little. False: it is not.
    async fn skip_body(&mut self) -> bool {
        let mut decoder = match std::mem::take(&mut self.link.borrow_mut().unread) {
            Unread::Nothing => return true,
            Unread::Unknown => return false,
            Unread::Rest(decoder) => decoder,
        };
        if decoder.left().is_some_and(|left| left > MAX_SKIP) {
            return false;
        }
        let (link, mut skipped) = (&self.link, 0);
        let skip = poll_fn(|cx| poll_skip(&mut link.borrow_mut(), &mut decoder, &mut skipped, cx));
        self.deadline.bound(LINGER, skip).await.unwrap_or(false)
    }

    /// Closes for writing, and reads for a while: a reset would take the response from the client.
    async fn linger(&mut self) {
        let (link, mut read, mut shut) = (&self.link, 0, false);
        let linger = poll_fn(|cx| {
            let mut io = link.borrow_mut();
            if !shut {
                match Pin::new(&mut io.stream).poll_shutdown(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(_) => shut = true,
                }
            }
            loop {
                read += io.input.len() as u64;
                let n = io.input.len();
                io.consume(n);
                match io.poll_fill(cx) {
                    Poll::Ready(Ok(true)) if read < MAX_SKIP => {}
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(_) => return Poll::Ready(()),
                }
            }
        });
        self.deadline.set_cap(Duration::ZERO);
        let _ = self.deadline.bound(LINGER, linger).await;
    }
}

/// Decodes and drops; ready with whether the end was reached in the bounds.
fn poll_skip(io: &mut Io, decoder: &mut Decoder, skipped: &mut u64, cx: &mut Context<'_>) -> Poll<bool> {
    loop {
        if decoder.is_done() {
            return Poll::Ready(true);
        }
        if *skipped > MAX_SKIP {
            return Poll::Ready(false);
        }
        if io.input.is_empty() {
            match io.poll_fill(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => return Poll::Pending,
            }
        }
        let Ok((used, _)) = decoder.decode(&io.input) else { return Poll::Ready(false) };
        *skipped += used as u64;
        io.consume(used);
    }
}

/// Reads a request head.
struct HeadReader<'a> {
    finder: Finder,
    limit: usize,
    fields: usize,
    /// Empty lines dropped before it.
    blank: u8,
    /// Whether its first byte was there when last looked at.
    begun: Option<bool>,
    census: &'a Census,
}

impl HeadReader<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io) -> Poll<Result<Option<RequestHead>, Error>> {
        loop {
            // RFC 9112, section 2.2: an empty line before a request is skipped.
            if self.blank < 2 && io.input.starts_with(b"\r\n") {
                self.blank += 1;
                io.consume(2);
                self.finder = Finder::default();
            }
            match self.finder.find(&io.input, self.limit) {
                Ok(None) => {}
                Ok(Some(n)) => {
                    let head = io.take_input(n);
                    return Poll::Ready(
                        head::parse_request(&head, self.fields).map(Some).map_err(head_error),
                    );
                }
                Err(e) => return Poll::Ready(Err(head_error(e))),
            }
            if io.eof {
                return Poll::Ready(Ok(None));
            }
            match io.poll_fill(cx) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(_) => return Poll::Ready(Ok(None)),
                Poll::Pending if io.input.is_empty() && self.census.stage() >= Stage::Draining => {
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// The client as the exchange with an upstream sees it.
struct Client<'a> {
    link: &'a Link,
    /// Whether it understands informational responses.
    informational: bool,
}

impl Downstream for Client<'_> {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.link.borrow_mut().poll_gone(cx)
    }

    fn informational(&mut self, cx: &mut Context<'_>, head: &ResponseHead) {
        let mut io = self.link.borrow_mut();
        if !self.informational || io.has_output() {
            return;
        }
        // A client that cannot be written to shows when the final response is.
        let _ = with_out(|out| {
            head::write_status_line(out, head.status);
            for (name, value) in &head.headers {
                if *name != CONNECTION && *name != TRANSFER_ENCODING && *name != CONTENT_LENGTH {
                    head::write_field(out, name.as_str(), value.as_bytes());
                }
            }
            out.extend_from_slice(b"\r\n");
            io.write(cx, out)
        });
        let _ = io.poll_flush(cx);
    }
}

/// How a response body is framed.
fn response_framing(body: &Body, parts: &response::Parts, is_head: bool, version: Version) -> Framing {
    if is_head || framing::has_no_body(parts.status) {
        return Framing::None;
    }
    match body.size_hint().exact() {
        Some(n) => Framing::Length(n),
        None if version == Version::HTTP_11 => Framing::Chunked,
        None => Framing::Close,
    }
}

/// Appends a response head.
pub(crate) fn write_head(
    out: &mut Vec<u8>,
    parts: &response::Parts,
    framing: Framing,
    keep: bool,
    version: Version,
) {
    head::write_status_line(out, parts.status);
    // What HEAD or 304 say of a body that is not sent is theirs to say (RFC 9110, section 8.6).
    let keep_length = framing == Framing::None && parts.status != StatusCode::NO_CONTENT;
    for (name, value) in &parts.headers {
        if *name == TRANSFER_ENCODING || *name == CONNECTION || (*name == CONTENT_LENGTH && !keep_length) {
            continue;
        }
        head::write_field(out, name.as_str(), value.as_bytes());
    }
    if !parts.headers.contains_key(DATE) {
        date::write(out);
    }
    client::write_framing(out, framing);
    match (keep, version) {
        (false, _) => head::write_field(out, "connection", b"close"),
        (true, Version::HTTP_10) => head::write_field(out, "connection", b"keep-alive"),
        _ => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a 101 response to a WebSocket handshake.
fn write_switch(out: &mut Vec<u8>, headers: &HeaderMap) {
    head::write_status_line(out, StatusCode::SWITCHING_PROTOCOLS);
    head::write_field(out, CONNECTION.as_str(), b"Upgrade");
    head::write_field(out, UPGRADE.as_str(), b"websocket");
    head::write_fields(out, headers);
    out.extend_from_slice(b"\r\n");
}

fn head_error(error: HeadError) -> Error {
    match error {
        HeadError::Bad(what) => Error::new(Kind::BadRequest, what),
        HeadError::LineTooLong => Error::new(Kind::UriTooLong, "the request line is over the limit"),
        HeadError::TooLarge => Error::new(Kind::HeadTooLarge, "the request head is over the limit"),
        HeadError::TooMany => Error::new(Kind::HeadTooLarge, "more header fields than the limit"),
        HeadError::Version => Error::new(Kind::VersionNotSupported, "neither HTTP/1.0 nor HTTP/1.1"),
    }
}

fn framing_error(error: FramingError) -> Error {
    match error {
        FramingError::Bad(what) => Error::new(Kind::BadRequest, what),
        FramingError::UnknownCoding => {
            Error::new(Kind::NotImplemented, "a transfer coding other than chunked")
        }
    }
}

fn sending_error(error: TransferError) -> Error {
    match error {
        TransferError::Source(e) => e,
        TransferError::Sink(e) => Error::because(Kind::ClientGone, "sending the response", e),
    }
}
