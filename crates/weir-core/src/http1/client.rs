//! HTTP/1.1 towards upstreams: one request and its response on a connection.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Method, StatusCode, Uri, Version};

use super::framing::{self, Framing, FramingError};
use super::head::{self, Finder, HeadError, ResponseHead};
use super::incoming::{Incoming, TransferError, Waits};
use super::io::{Io, with_out};
use super::sender::Sender;
use crate::body::Body;
use crate::error::{Error, Kind};
use crate::net::{Deadline, Rewind, Stream};

/// Largest response head.
const MAX_HEAD: usize = 64 << 10;
/// Most fields in one.
const MAX_FIELDS: usize = 256;
/// Most informational responses before the final one.
const MAX_INFORMATIONAL: u32 = 32;

/// Where a connection goes when its response was read to the end.
pub trait Home {
    /// Takes an idle connection that can carry another request.
    fn put(&self, connection: Connection);
}

/// A connection to an upstream with no exchange on it.
pub struct Connection {
    io: Io,
    home: Option<Rc<dyn Home>>,
}

/// A connection to an upstream with an exchange on it.
pub(crate) struct Busy {
    pub(crate) io: Io,
    home: Option<Rc<dyn Home>>,
    /// The rest of the request's body, where the response came before its end.
    upload: Option<Sender>,
    /// Whether upstream and framing allow another exchange.
    keep: bool,
}

/// What is sent, but for the body.
pub(crate) struct RequestParts<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    /// Without `connection`, `upgrade` and `transfer-encoding`.
    pub(crate) headers: &'a HeaderMap,
    /// The protocol to switch to, as in the `Upgrade` field.
    pub(crate) upgrade: Option<&'a [u8]>,
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the response head, since the request made progress.
    pub(crate) response: Duration,
    /// For the client to send more of the body.
    pub(crate) client: Duration,
}

/// The client, as far as an exchange with an upstream concerns it.
pub(crate) trait Downstream {
    /// Ready when the client has gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// An informational response came from the upstream; neither 100 nor 101.
    fn informational(&mut self, cx: &mut Context<'_>, head: &ResponseHead);
}

/// What came back.
pub(crate) enum Answer {
    /// A response.
    Response(ResponseHead, Body),
    /// 101; the connection, and what followed on it.
    Switched(ResponseHead, Stream, Bytes),
}

/// Why no response came.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// The upstream may have seen the request and even begun to answer.
    pub(crate) answered: bool,
}

impl Connection {
    /// A fresh connection. Without a home it is closed after one exchange.
    pub fn new(stream: Stream, home: Option<Rc<dyn Home>>) -> Self {
        Connection { io: Io::new(Rewind::new(Bytes::new(), stream)), home }
    }

    /// Whether the upstream has closed it or sent something unasked. Costs no system call while nothing came.
    pub fn is_stale(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.io.eof || !self.io.input.is_empty() || self.io.poll_fill(&mut cx).is_ready()
    }
}

impl Busy {
    /// Keeps an upload going that the response has overtaken.
    pub(crate) fn drive_upload(&mut self, cx: &mut Context<'_>) {
        if let Some(upload) = &mut self.upload {
            match upload.poll(cx, &mut self.io) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.upload = None,
                Poll::Ready(Err(_)) => {
                    self.upload = None;
                    self.keep = false;
                }
            }
        }
    }

    /// The exchange is over: the connection goes back to where it came from, if it can be used again.
    pub(crate) fn finish(self) {
        let clean = self.keep && self.upload.is_none() && self.io.input.is_empty() && !self.io.eof;
        if let (true, Some(home)) = (clean, self.home) {
            home.clone().put(Connection { io: self.io, home: Some(home) });
        }
    }
}

/// Sends a request and waits for the head of its response. Cancel safe: dropped, the connection is closed.
pub(crate) async fn send(
    connection: Connection,
    request: RequestParts<'_>,
    body: Body,
    patience: Patience,
    deadline: &mut Deadline,
    downstream: &mut impl Downstream,
) -> Result<Answer, Failure> {
    let framing = Sender::framing_of(&body);
    let mut state = Sending {
        request,
        busy: Some(Busy { io: connection.io, home: connection.home, upload: None, keep: true }),
        upload: Some(Sender::new(body, framing)),
        framing,
        finder: Finder::default(),
        started: false,
        broken: None,
        informational: 0,
    };
    let mut progress = None;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = state.poll(cx, downstream) {
            return Poll::Ready(answer);
        }
        if state.upload.is_none() && downstream.poll_gone(cx).is_ready() {
            return state.fail(Error::new(Kind::ClientGone, "the client left before the response"));
        }
        let now = state.upload.as_ref().map(|upload| (upload.sent, upload.waits));
        let now = (now, state.busy.as_ref().map_or(0, |busy| busy.io.waiting()));
        let client = now.0.is_some_and(|(_, waits)| waits == Waits::Source);
        if progress != Some(now) {
            progress = Some(now);
            deadline.set(if client { patience.client } else { patience.response });
        }
        if deadline.poll(cx).is_pending() {
            return Poll::Pending;
        }
        state.fail(match (deadline.is_over_cap(), client) {
            (true, _) => Error::new(Kind::ExchangeTimeout, "the request timeout is over"),
            (_, true) => Error::new(Kind::RequestTimeout, "the client sent no more of the body"),
            _ => Error::new(Kind::ResponseTimeout, "no response from the upstream"),
        })
    })
    .await
}

/// A request that is being sent.
struct Sending<'a> {
    request: RequestParts<'a>,
    /// None once the answer is there.
    busy: Option<Busy>,
    /// None once all was sent.
    upload: Option<Sender>,
    framing: Framing,
    finder: Finder,
    started: bool,
    /// The connection takes no more; a response may still come.
    broken: Option<io::Error>,
    informational: u32,
}

impl Sending<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        downstream: &mut impl Downstream,
    ) -> Poll<Result<Answer, Failure>> {
        if !self.started {
            self.started = true;
            if let Err(e) = self.start(cx) {
                return self.fail(e);
            }
        }
        if let Err(e) = self.drive_upload(cx) {
            return self.fail(e);
        }
        loop {
            match self.poll_head(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(e)) => return self.fail(e),
                Poll::Ready(Ok(head)) => {
                    let informational = head.status.is_informational();
                    if !informational || head.status == StatusCode::SWITCHING_PROTOCOLS {
                        return Poll::Ready(self.answer(head));
                    }
                    self.informational += 1;
                    if self.informational > MAX_INFORMATIONAL {
                        return self
                            .fail(Error::new(Kind::UpstreamInvalid, "too many informational responses"));
                    }
                    if head.status != StatusCode::CONTINUE {
                        downstream.informational(cx, &head);
                    }
                }
            }
        }
    }

    /// Writes the head, and what is at hand of the body with it.
    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let (Some(busy), Some(upload)) = (&mut self.busy, &mut self.upload) else { return Ok(()) };
        let written = with_out(|out| {
            write_head(out, &self.request, self.framing);
            upload.start(out)?;
            Ok::<_, Error>(busy.io.write(cx, out))
        })?;
        if let Err(e) = written {
            self.broken = Some(e);
            self.upload = None;
            busy.keep = false;
        }
        Ok(())
    }

    fn drive_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        let (Some(busy), Some(upload)) = (&mut self.busy, &mut self.upload) else { return Ok(()) };
        match upload.poll(cx, &mut busy.io) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(TransferError::Source(e))) => return Err(e),
            Poll::Ready(Err(TransferError::Sink(e))) => {
                self.broken = Some(e);
                busy.keep = false;
            }
        }
        self.upload = None;
        Ok(())
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Error>> {
        let Some(busy) = &mut self.busy else { return Poll::Pending };
        let io = &mut busy.io;
        loop {
            if !io.input.is_empty() {
                match self.finder.find(&io.input, MAX_HEAD) {
                    Ok(None) => {}
                    Ok(Some(n)) => {
                        self.finder = Finder::default();
                        let head = io.take_input(n);
                        return Poll::Ready(head::parse_response(&head, MAX_FIELDS).map_err(invalid));
                    }
                    Err(e) => return Poll::Ready(Err(invalid(e))),
                }
            }
            let read = match io.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(true)) => continue,
                Poll::Ready(Ok(false)) => None,
                Poll::Ready(Err(e)) => Some(e),
            };
            let detail = "the upstream closed the connection before its response";
            return Poll::Ready(Err(match self.broken.take().or(read) {
                Some(e) => Error::because(Kind::UpstreamClosed, detail, e),
                None => Error::new(Kind::UpstreamClosed, detail),
            }));
        }
    }

    /// The final response, or 101.
    fn answer(&mut self, head: ResponseHead) -> Result<Answer, Failure> {
        let failed = |detail| Failure { error: Error::new(Kind::UpstreamInvalid, detail), answered: true };
        let Some(mut busy) = self.busy.take() else { return Err(failed("a response after the response")) };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            if self.request.upgrade.is_none() {
                return Err(failed("101 that was not asked for"));
            }
            let (stream, rest) = busy.io.into_parts();
            return Ok(Answer::Switched(head, stream, rest));
        }
        let framing =
            match framing::of_response(self.request.method, head.status, head.version, &head.headers) {
                Ok(framing) => framing,
                Err(FramingError::Bad(detail)) => return Err(failed(detail)),
                Err(FramingError::UnknownCoding) => {
                    return Err(failed("a transfer coding that was not asked for"));
                }
            };
        busy.keep &= framing != Framing::Close && keeps_alive(head.version, &head.headers);
        busy.upload = self.upload.take();
        if framing == Framing::None {
            busy.finish();
            return Ok(Answer::Response(head, Body::Empty));
        }
        let body = Body::Http1(Box::new(Incoming::from_upstream(busy, framing)));
        Ok(Answer::Response(head, body))
    }

    fn fail(&mut self, error: Error) -> Poll<Result<Answer, Failure>> {
        let answered = self.informational > 0
            || self.busy.as_ref().is_none_or(|busy| !busy.io.input.is_empty())
            || error.kind() == Kind::UpstreamInvalid;
        self.busy = None;
        Poll::Ready(Err(Failure { error, answered }))
    }
}

fn invalid(error: HeadError) -> Error {
    Error::new(
        Kind::UpstreamInvalid,
        match error {
            HeadError::Bad(what) => what,
            HeadError::LineTooLong | HeadError::TooLarge => "the response head is too large",
            HeadError::TooMany => "the response has too many fields",
            HeadError::Version => "the response is neither HTTP/1.0 nor HTTP/1.1",
        },
    )
}

/// Appends the head of a request.
pub(crate) fn write_head(out: &mut Vec<u8>, request: &RequestParts<'_>, framing: Framing) {
    head::write_request_line(out, request.method, request.uri);
    for (name, value) in request.headers {
        // Without a body only `content-length: 0` stays, as of an empty POST: plugins may have set what they like. `TE`
        // belongs to one HTTP/1.1 hop (RFC 9110, section 10.1.4); only HTTP/2 has it end to end.
        let dropped = match *name {
            TRANSFER_ENCODING | TE | CONNECTION | UPGRADE => true,
            CONTENT_LENGTH => framing != Framing::None || value != "0",
            _ => false,
        };
        if !dropped {
            head::write_field(out, name.as_str(), value.as_bytes());
        }
    }
    write_framing(out, framing);
    if let Some(protocol) = request.upgrade {
        head::write_field(out, CONNECTION.as_str(), b"Upgrade");
        head::write_field(out, UPGRADE.as_str(), protocol);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the field that tells the framing.
pub(crate) fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(n) => {
            out.extend_from_slice(b"content-length: ");
            head::write_number(out, n);
            out.extend_from_slice(b"\r\n");
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::Close => {}
    }
}

/// Whether the other side means to keep the connection (RFC 9112, section 9.3).
pub(crate) fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let says = |option: &str| has_token(headers, &CONNECTION, option);
    if version == Version::HTTP_10 { says("keep-alive") && !says("close") } else { !says("close") }
}

/// Whether a list of tokens has this one, without regard to case.
pub(crate) fn has_token(headers: &HeaderMap, name: &http::HeaderName, token: &str) -> bool {
    let tokens = headers.get_all(name).iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    tokens.map(<[u8]>::trim_ascii).any(|t| t.eq_ignore_ascii_case(token.as_bytes()))
}
