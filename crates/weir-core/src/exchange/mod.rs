//! One request and its response: what a protocol module hands over, and what it gets back.
//!
//! In reading order: [`serve`] (which protocol), [`handle`] (the life of a request), `admit` (is it one that may be
//! served, and whose is it), `forward` (attempts on upstreams), `replay` (bodies that can be sent again),
//! `websocket` (handshakes and relays), `way` (how these get to an upstream), `compression` and `relaying` (relays whose
//! frames are read), `shadow` (requests that are tried on another snapshot), `chain` and `content` (plugins, and bodies
//! in their hands), `call` (requests of plugins), `tally` (what the log is told).

mod admit;
pub(crate) mod call;
mod chain;
mod compression;
mod content;
mod forward;
mod relaying;
mod replay;
mod shadow;
mod tally;
#[cfg(test)]
mod tests;
mod way;
mod websocket;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use http::header::{ALLOW, HeaderValue, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Response, StatusCode};
use weir_plugin::{Connection, Exchange};

use crate::action;
use crate::body::Body;
use crate::error::{Error, Kind, Result};
use crate::headers::{self, Facts};
use crate::http1::client::Downstream;
use crate::http1::head::RequestHead;
use crate::http1::io::Io;
use crate::listen::CompiledListener;
use crate::listen::limits::Census;
use crate::net::{Deadline, Rewind, Stream};
use crate::route::CompiledRoute;
use crate::snapshot::Current;
use crate::spec::Action;
use crate::worker::{Stage, Worker};
use crate::{http1, http2};

pub(crate) use chain::{Chain, Whose, bounded};
pub(crate) use tally::Tally;
pub(crate) use websocket::Switch;
#[cfg(test)]
pub(crate) use websocket::accept_of;

/// How an HTTP/2 client opens without TLS (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A client's connection, for all requests on it.
pub(crate) struct Session {
    pub(crate) worker: Rc<Worker>,
    pub(crate) census: Arc<Census>,
    pub(crate) listener: Arc<CompiledListener>,
    pub(crate) connection: Rc<Connection>,
    pub(crate) sender: headers::Sender,
}

impl Session {
    /// What the next request is served by.
    pub(crate) fn snapshot(&self) -> Current {
        self.census.snapshot(&self.worker)
    }
}

/// What becomes of a request.
#[allow(clippy::large_enum_variant, reason = "made and taken apart once a request, never stored")]
pub(crate) enum Outcome {
    /// This is sent.
    Respond(Response<Body>, Tally),
    /// The connection becomes a relay.
    Switch(Box<Switch>),
}

/// Serves HTTP on an accepted connection until it ends: HTTP/2 where ALPN says so or the client opens with its
/// preface, else HTTP/1.1. WebSockets live on in it, in little memory.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    census: Arc<Census>,
    listener: Arc<CompiledListener>,
    stream: Rewind<Stream>,
    connection: Rc<Connection>,
) {
    let sender = headers::Sender::new(connection.peer.ip(), connection.tls.is_some());
    let session = Session { worker, census, listener, connection, sender };
    // Boxed, so that what a relay leaves behind of this future is small.
    if let Some(switch) = Box::pin(serve_http(session, stream)).await {
        Box::pin(switch.run()).await;
    }
}

async fn serve_http(session: Session, stream: Rewind<Stream>) -> Option<Switch> {
    let mut io = Io::new(stream);
    let http2 = match &session.connection.tls {
        Some(tls) => tls.alpn.as_deref() == Some("h2"),
        None => opens_with_preface(&mut io, &session).await?,
    };
    if http2 {
        let (stream, read) = io.into_parts();
        http2::server::run(Rewind::new(read, stream), session).await;
        return None;
    }
    http1::server::run(io, &session).await
}

/// Reads until it is clear whether the client opens with HTTP/2's preface. None: it left, or was too slow.
async fn opens_with_preface(io: &mut Io, session: &Session) -> Option<bool> {
    let undecided = |input: &[u8]| input.len() < PREFACE.len() && PREFACE.starts_with(input);
    let mut deadline = Deadline::default();
    let mut stage = session.census.follow_stage();
    let mut draining = pin!(stage.wait_for(|stage| *stage >= Stage::Draining));
    let read = poll_fn(|cx| {
        while undecided(&io.input) {
            match io.poll_fill(cx) {
                Poll::Ready(Ok(true)) => {}
                // A connection that was opened for later has nothing under way.
                Poll::Pending if io.input.is_empty() => return draining.as_mut().poll(cx).map(|_| None),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(_) => return Poll::Ready(None),
            }
        }
        Poll::Ready(Some(io.input.starts_with(PREFACE)))
    });
    deadline.bound(session.listener.spec.http.header_timeout, read).await.ok()?
}

/// The life of a request, up to its response's head.
pub(crate) async fn handle(
    session: &Session,
    head: RequestHead,
    body: Body,
    deadline: &mut Deadline,
    downstream: &mut impl Downstream,
) -> Outcome {
    let snapshot = session.snapshot();
    let mut tally = Tally::open(session, snapshot, head);
    match exchange(session, &mut tally, body, deadline, downstream).await {
        Ok(Done::Respond(response)) => Outcome::Respond(response, tally),
        Ok(Done::Switch(agreed)) => Outcome::Switch(Box::new(Switch::new(session, tally, agreed))),
        Err(error) => Outcome::Respond(answer(&mut tally, &error), tally),
    }
}

/// Answers what is not even looked at, or (without a head) no request at all.
pub(crate) fn refuse(session: &Session, head: Option<RequestHead>, error: Error) -> (Response<Body>, Tally) {
    let mut tally = Tally::open(session, session.snapshot(), head.unwrap_or_else(admit::no_head));
    let response = answer(&mut tally, &error);
    (response, tally)
}

/// The response that tells the client of an error.
pub(crate) fn answer(tally: &mut Tally, error: &Error) -> Response<Body> {
    tracing::debug!(request_id = ?tally.x.request_id, %error, "answered by weir");
    let id = tally.x.request_id.to_str().unwrap_or_default();
    let accept = tally.x.headers.get(http::header::ACCEPT);
    let mut response = action::error::respond(error.kind(), accept, id, &tally.snapshot.proxy.error_pages);
    let headers = response.headers_mut();
    match error.kind() {
        Kind::MethodNotAllowed => {
            let known = tally.x.response_headers.remove(ALLOW);
            headers.insert(ALLOW, known.unwrap_or(action::files::ALLOW));
        }
        Kind::WebSocketVersion => {
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        _ => {}
    }
    tally.failed(error);
    tally.x.status = response.status();
    response
}

enum Done {
    Respond(Response<Body>),
    Switch(Box<websocket::Agreed>),
}

async fn exchange(
    session: &Session,
    tally: &mut Tally,
    mut body: Body,
    deadline: &mut Deadline,
    downstream: &mut impl Downstream,
) -> Result<Done> {
    let snapshot = tally.snapshot.clone();
    let upgrade = admit::admit(session, &snapshot, &mut tally.x, &body)?;
    if let Some(response) = admit::challenge(session, &snapshot, &mut tally.x) {
        return Ok(Done::Respond(response));
    }
    let route = admit::route(session, &snapshot, &mut tally.x)?;
    let websocket = websocket::wanted(upgrade, route)?;
    body = admit::limit_body(route, tally, body)?;
    if websocket.is_none() {
        let timeout = route.spec.request_timeout.unwrap_or(session.listener.spec.http.request_timeout);
        deadline.set_cap(timeout);
    }
    tally.chain = Chain::new(&session.worker, route).await?;
    let answered = content::Answered::default();
    let sample = shadow::sample(session, tally, route, &body);
    if tally.chain.is_empty() {
        if let Some(sample) = sample {
            sample.run(&session.worker, false);
        }
    } else {
        let most = tally.chain.most_of_a_body();
        tally.x.request_body = content::lend(body, &tally.x.headers, Kind::BadRequest, most);
        let decided = tally.chain.on_request(&mut tally.x, &snapshot).await;
        if let Some(sample) = sample {
            sample.run(&session.worker, decided.is_err());
        }
        let read = content::take_back(std::mem::take(&mut tally.x.request_body));
        if let Ok(Some(reply)) = decided {
            return Ok(Done::Respond(finish(route, tally, reply).await?));
        }
        // Of a body that broke off while a plugin read it, it is not the plugin that has failed.
        body = read?;
        decided?;
        body = tally.chain.flow_request(&mut tally.x, body, &answered);
    }
    let response = match &route.spec.action {
        Action::Upstream(_) => match websocket {
            Some(settings) => match websocket::open(session, route, tally, settings, deadline).await? {
                websocket::Opened::Agreed(agreed) => return Ok(Done::Switch(agreed)),
                websocket::Opened::Refused(response) => response,
            },
            None => {
                let forwarded = forward::forward(session, route, tally, body, deadline, downstream).await;
                match answered.take() {
                    Some(reply) => from_reply(reply)?,
                    None => forwarded?,
                }
            }
        },
        _ => own_response(route, &tally.x).await?,
    };
    Ok(Done::Respond(finish(route, tally, response).await?))
}

/// The response of an action without an upstream.
async fn own_response(route: &CompiledRoute, x: &Exchange) -> Result<Response<Body>> {
    match &route.spec.action {
        Action::Redirect { status, to } => with_facts(x, |facts| action::redirect(*status, to, facts)),
        Action::Respond { status, headers, body } => Ok(action::respond(*status, headers, body)),
        Action::Files(files) => {
            let path = forward::rewritten_path(route, x);
            let query = x.uri.query().unwrap_or_default();
            action::files::serve(files, &x.method, &x.headers, &path, query).await
        }
        Action::Metrics(metrics) => action::metrics::serve(metrics, &x.method, &x.headers).await,
        Action::Upstream(_) => Err(Error::new(Kind::Internal, "an upstream as an action without one")),
    }
}

/// What happens to every response: plugins, the route's changes, compression.
async fn finish(
    route: &CompiledRoute,
    tally: &mut Tally,
    mut response: Response<Body>,
) -> Result<Response<Body>> {
    tally.x.status = response.status();
    if tally.chain.wants_response() {
        if !headers::is_bodiless(&tally.x.method, response.status()) {
            let most = tally.chain.most_of_a_body();
            let body = std::mem::take(response.body_mut());
            tally.x.response_body = content::lend(body, response.headers(), Kind::UpstreamInvalid, most);
        }
        std::mem::swap(&mut tally.x.response_headers, response.headers_mut());
        let decided = tally.chain.on_response(&mut tally.x).await;
        let read = content::take_back(std::mem::take(&mut tally.x.response_body));
        if let Ok(Some(reply)) = decided {
            response = reply;
            tally.x.status = response.status();
        } else {
            *response.body_mut() = read?;
            decided?;
            if tally.x.status.is_informational() {
                return Err(Error::new(Kind::Plugin, "a plugin made the status an informational one"));
            }
            *response.status_mut() = tally.x.status;
            std::mem::swap(&mut tally.x.response_headers, response.headers_mut());
        }
    }
    response = tally.chain.flow_response(&tally.x, response);
    let edits = &route.spec.response_headers;
    if !edits.is_empty() {
        with_facts(&tally.x, |facts| headers::edit(response.headers_mut(), edits, facts));
    }
    if let Some(compression) = &route.spec.compression {
        response = action::compress::compress(&tally.x.method, &tally.x.headers, response, compression);
    }
    if tally.chain.wants_log() {
        tally.x.response_headers = response.headers().clone();
    }
    Ok(response)
}

/// Runs `f` with what placeholders stand for.
fn with_facts<T>(x: &Exchange, f: impl FnOnce(&Facts<'_>) -> T) -> T {
    f(&Facts {
        client: x.client,
        host: x.headers.get(http::header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default(),
        scheme: if x.connection.tls.is_some() { "https" } else { "http" },
        path: x.uri.path(),
        query: x.uri.query().unwrap_or_default(),
        request_id: x.request_id.to_str().unwrap_or_default(),
        route: &x.route,
        captures: &x.captures,
    })
}

/// A plugin's whole answer.
fn from_reply(reply: weir_plugin::Reply) -> Result<Response<Body>> {
    if reply.status.is_informational() {
        return Err(Error::new(Kind::Plugin, "a plugin answered with an informational status"));
    }
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    headers::remove_hop_by_hop(response.headers_mut());
    response.headers_mut().remove(http::header::CONTENT_LENGTH);
    Ok(response)
}

/// Whether a request of this method may be sent twice (RFC 9110, section 9.2.2).
fn is_idempotent(method: &http::Method) -> bool {
    use http::Method;
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

/// The status under which a client that left is logged (as nginx does).
pub(crate) fn client_gone() -> StatusCode {
    Kind::ClientGone.status()
}
