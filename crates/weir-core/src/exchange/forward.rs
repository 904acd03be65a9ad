//! Attempts on upstreams: choosing an endpoint, sending, trying again where that is safe.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{HOST, HeaderValue, SEC_WEBSOCKET_EXTENSIONS, SET_COOKIE, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Response, Uri};
use weir_plugin::{Exchange, Selection, Target};

use super::replay::Replay;
use super::{Session, Tally, is_idempotent, with_facts};
use crate::body::Body;
use crate::error::{self, AttemptFailure, Blame, Error, Kind};
use crate::http1::Waits;
use crate::http1::client::{self, Answer, Downstream, Failure, Patience, RequestParts};
use crate::net::Deadline;
use crate::net::deadline::Coarse;
use crate::route::CompiledRoute;
use crate::spec::HostRewrite;
use crate::upstream::{self, Choice, Endpoint, Group, Http2Sender, Lease, Upload, UploadState};
use crate::{headers, path};

/// What an upstream is sent, but for the body: what of the exchange is changed for it.
#[derive(Default)]
pub(super) struct Outgoing {
    uri: Option<Uri>,
    headers: Option<HeaderMap>,
}

impl Outgoing {
    /// The route's changes, but for what depends on the endpoint. Copies nothing where there are none.
    pub(super) fn new(route: &CompiledRoute, x: &Exchange) -> error::Result<Self> {
        let spec = &route.spec;
        let uri = match spec.path.is_empty() {
            true => None,
            false => Some(with_path(&x.uri, &rewritten_path(route, x))?),
        };
        let mut headers = None;
        if !spec.request_headers.is_empty() {
            let headers = headers.get_or_insert_with(|| x.headers.clone());
            with_facts(x, |facts| headers::edit(headers, &spec.request_headers, facts));
        }
        Ok(Outgoing { uri, headers })
    }

    /// The host field as this endpoint is to see it.
    pub(super) fn set_host(&mut self, x: &Exchange, route: &CompiledRoute, endpoint: &str) {
        let host = match &route.spec.host {
            HostRewrite::Keep => return,
            HostRewrite::Set(host) => host.clone(),
            HostRewrite::Endpoint if endpoint.starts_with("unix:") => HeaderValue::from_static("localhost"),
            HostRewrite::Endpoint => match HeaderValue::from_str(endpoint) {
                Ok(host) => host,
                Err(_) => return,
            },
        };
        self.headers.get_or_insert_with(|| x.headers.clone()).insert(HOST, host);
    }

    /// The extensions that a WebSocket is asked for, in the place of the client's.
    pub(super) fn set_extensions(&mut self, x: &Exchange, offer: Option<HeaderValue>) {
        let headers = self.headers.get_or_insert_with(|| x.headers.clone());
        headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        if let Some(offer) = offer {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, offer);
        }
    }

    /// As the parts of an HTTP/1.1 request.
    pub(super) fn parts<'a>(&'a self, x: &'a Exchange, upgrade: Option<&'a [u8]>) -> RequestParts<'a> {
        RequestParts {
            method: &x.method,
            uri: self.uri.as_ref().unwrap_or(&x.uri),
            headers: self.headers.as_ref().unwrap_or(&x.headers),
            upgrade,
        }
    }
}

/// The path after the route's rewrite.
pub(super) fn rewritten_path(route: &CompiledRoute, x: &Exchange) -> String {
    with_facts(x, |facts| {
        path::rewrite(x.uri.path(), &route.spec.path, |name| facts.value(name)).into_owned()
    })
}

/// Forwards a request and returns the head of the response with its body.
pub(super) async fn forward(
    session: &Session,
    route: &CompiledRoute,
    tally: &mut Tally,
    body: Body,
    deadline: &mut Deadline,
    downstream: &mut impl Downstream,
) -> error::Result<Response<Body>> {
    let group = group_of(route)?;
    group.count_request();
    let mut attempts = Attempts { session, route, group, replay: None, tried: Vec::new() };
    let outgoing = Outgoing::new(route, &tally.x)?;
    attempts.run(tally, body, outgoing, deadline, downstream).await
}

fn group_of(route: &CompiledRoute) -> error::Result<Arc<Group>> {
    route.group.clone().ok_or_else(|| Error::new(Kind::Internal, "the route has no upstream"))
}

fn with_path(uri: &Uri, path: &str) -> error::Result<Uri> {
    let target = match uri.query() {
        Some(query) => Cow::Owned(format!("{path}?{query}")),
        None => Cow::Borrowed(path),
    };
    let target = PathAndQuery::try_from(target.as_ref())
        .map_err(|e| Error::because(Kind::Internal, "the rewritten path is no path", e))?;
    Ok(Uri::from(target))
}

/// The endpoint of the next attempt, as plugins and the balancer want it. Counts as load until the tally lets go of
/// it.
pub(super) async fn choose(
    group: &Arc<Group>,
    tally: &mut Tally,
    tried: &[usize],
) -> error::Result<(Arc<Group>, Arc<Endpoint>)> {
    tally.choice = None;
    let none = || Error::new(Kind::NoEndpoint, "no endpoint of the group has an address");
    let named = |tally: &Tally, name: &str| {
        let group = tally.snapshot.groups.get(name).cloned();
        group
            .ok_or_else(|| Error::because(Kind::Plugin, "a plugin chose an upstream that is not there", name))
    };
    let mut group = match &tally.x.group {
        Some(name) => named(tally, name)?,
        None => group.clone(),
    };
    let mut target = Target::Default;
    if tally.chain.wants_selection() {
        let selection = Selection {
            group: group.spec.name.clone(),
            candidates: group.candidates(),
            attempt: tally.x.attempts,
            failure: tally.x.failure,
        };
        target = tally.chain.select(&mut tally.x, &selection).await?;
    }
    let choice = match target {
        Target::Default => group.choose(&tally.x, None, tried),
        Target::HashKey(key) => group.choose(&tally.x, Some(&key), tried),
        Target::Endpoint(address) => group.endpoint(&address),
        Target::Group(name) => {
            group = named(tally, &name)?;
            group.choose(&tally.x, None, tried)
        }
    };
    let choice: Choice = choice.ok_or_else(none)?;
    let endpoint = choice.endpoint.clone();
    tally.x.attempts += 1;
    tally.x.upstream = Some(group.spec.name.clone());
    tally.x.endpoint = Some(endpoint.address.clone());
    tally.upstream_idle = group.spec.timeouts.idle;
    tally.choice = Some(choice);
    Ok((group, endpoint))
}

struct Attempts<'a> {
    session: &'a Session,
    route: &'a CompiledRoute,
    group: Arc<Group>,
    /// None until the first attempt.
    replay: Option<Replay>,
    tried: Vec<usize>,
}

impl Attempts<'_> {
    async fn run(
        &mut self,
        tally: &mut Tally,
        body: Body,
        mut outgoing: Outgoing,
        deadline: &mut Deadline,
        downstream: &mut impl Downstream,
    ) -> error::Result<Response<Body>> {
        let mut body = Some(body);
        let mut again: Option<(Arc<Group>, Arc<Endpoint>)> = None;
        loop {
            // A pooled connection that had died is no attempt of its own: the same endpoint on a fresh one.
            let fresh = again.is_some();
            let (group, endpoint) = match again.take() {
                Some(same) => same,
                None => choose(&self.group, tally, &self.tried).await?,
            };
            outgoing.set_host(&tally.x, self.route, &endpoint.address);
            let lease = match upstream::lease(&self.session.worker, &group, &endpoint, fresh, deadline).await
            {
                Ok(lease) => lease,
                Err(e) => {
                    self.may_retry(&group, &endpoint, tally, e)?;
                    continue;
                }
            };
            tally.connected();
            let limit = group.spec.replay_body;
            let replay =
                self.replay.get_or_insert_with(|| Replay::new(body.take().unwrap_or_default(), limit));
            let reused = matches!(lease, Lease::Http1 { reused: true, .. });
            let patience = Patience {
                response: group.spec.timeouts.response,
                client: self.session.listener.spec.http.idle_timeout,
            };
            let attempt = Attempt { x: &tally.x, outgoing: &outgoing, body: replay.next(), patience };
            let sent = send(lease, group.spec.tls.is_some(), attempt, deadline, downstream).await;
            let whole = self.replay.as_ref().is_some_and(Replay::is_whole);
            let idempotent = is_idempotent(&tally.x.method);
            let failed = match sent {
                Ok(response) => {
                    let retry = &group.spec.retry;
                    let listed = retry.statuses.contains(&response.status().as_u16());
                    if listed
                        && (idempotent || retry.non_idempotent)
                        && whole
                        && self.has_retry(&group, tally)
                    {
                        tally.x.failure = Some(AttemptFailure::STATUS);
                        self.tried.push(endpoint.id);
                        continue;
                    }
                    tally.responded();
                    return Ok(accept(response, tally));
                }
                Err(failed) => failed,
            };
            let safe =
                failed.unprocessed || (!failed.answered && (idempotent || group.spec.retry.non_idempotent));
            if !is_worth_a_retry(&failed.error) || !whole || !safe {
                return Err(failed.error);
            }
            if reused && failed.error.kind() == Kind::UpstreamClosed {
                again = Some((group, endpoint));
                continue;
            }
            self.may_retry(&group, &endpoint, tally, failed.error)?;
        }
    }

    /// Whether the configuration and the budget allow another attempt.
    fn has_retry(&self, group: &Group, tally: &Tally) -> bool {
        tally.x.attempts < group.spec.retry.attempts && group.take_retry()
    }

    fn may_retry(
        &mut self,
        group: &Group,
        endpoint: &Endpoint,
        tally: &mut Tally,
        error: Error,
    ) -> error::Result<()> {
        if !is_worth_a_retry(&error) || !self.has_retry(group, tally) {
            return Err(error);
        }
        tracing::debug!(endpoint = %endpoint.address, %error, "trying again");
        debug_assert!(
            AttemptFailure::said(error.detail()).is_some(),
            "{error}: tests of plugins know it, too"
        );
        tally.x.failure = Some(error.detail());
        self.tried.push(endpoint.id);
        Ok(())
    }
}

/// Makes an upstream's response one for the client.
pub(super) fn accept(mut response: Response<Body>, tally: &Tally) -> Response<Body> {
    headers::remove_hop_by_hop(response.headers_mut());
    response.headers_mut().remove(TE);
    if let Some(cookie) = tally.choice.as_ref().and_then(|choice| choice.set_cookie.clone()) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// Whether another attempt may go better: it was the upstream's fault, and there is time left.
pub(super) fn is_worth_a_retry(error: &Error) -> bool {
    error.kind().blame() == Blame::Upstream && error.kind() != Kind::ExchangeTimeout
}

/// Why an attempt failed.
pub(super) struct Failed {
    pub(super) error: Error,
    /// The upstream has begun to answer.
    pub(super) answered: bool,
    /// The upstream has certainly not processed the request.
    pub(super) unprocessed: bool,
}

impl From<Failure> for Failed {
    fn from(f: Failure) -> Self {
        Failed { error: f.error, answered: f.answered, unprocessed: false }
    }
}

/// A request as one endpoint is sent it.
pub(super) struct Attempt<'a> {
    pub(super) x: &'a Exchange,
    pub(super) outgoing: &'a Outgoing,
    pub(super) body: Body,
    pub(super) patience: Patience,
}

/// Sends a request on a connection and waits for the head of the response.
pub(super) async fn send(
    lease: Lease,
    tls: bool,
    attempt: Attempt<'_>,
    deadline: &mut Deadline,
    downstream: &mut impl Downstream,
) -> Result<Response<Body>, Failed> {
    match lease {
        Lease::Http1 { connection, .. } => send_http1(connection, attempt, deadline, downstream).await,
        Lease::Http2(sender) => send_http2(sender, tls, attempt, deadline, downstream).await,
    }
}

async fn send_http1(
    connection: client::Connection,
    attempt: Attempt<'_>,
    deadline: &mut Deadline,
    downstream: &mut impl Downstream,
) -> Result<Response<Body>, Failed> {
    let Attempt { x, outgoing, body, patience } = attempt;
    let answer =
        client::send(connection, outgoing.parts(x, None), body, patience, deadline, downstream).await;
    match answer? {
        Answer::Response(head, body) => {
            let mut response = Response::new(body);
            *response.status_mut() = head.status;
            *response.headers_mut() = head.headers;
            Ok(response)
        }
        Answer::Switched(..) => {
            let error = Error::new(Kind::UpstreamInvalid, "101 that was not asked for");
            Err(Failed { error, answered: true, unprocessed: false })
        }
    }
}

async fn send_http2(
    mut sender: Http2Sender,
    tls: bool,
    attempt: Attempt<'_>,
    deadline: &mut Deadline,
    downstream: &mut impl Downstream,
) -> Result<Response<Body>, Failed> {
    let failed = |error| Failed { error, answered: false, unprocessed: false };
    let Attempt { x, outgoing, body, patience } = attempt;
    let parts = outgoing.parts(x, None);
    let mut headers = parts.headers.clone();
    let uri = absolute(parts.uri, headers.remove(HOST).as_ref(), tls).map_err(failed)?;
    let upload = Upload::new(body);
    let mut send = pin!(sender.send(x.method.clone(), uri, headers, upload.clone()));
    let mut wait = Wait { upload: upload.as_deref(), patience, sent: None };
    poll_fn(|cx| {
        if let Poll::Ready(answer) = send.as_mut().poll(cx) {
            // Of a body that broke off hyper only says that the stream was reset.
            return Poll::Ready(answer.map_err(|e| Failed {
                error: upload.as_ref().and_then(|upload| upload.take_failure()).unwrap_or(e.error),
                answered: false,
                unprocessed: e.unprocessed,
            }));
        }
        wait.poll(cx, deadline, downstream).map(|error| Err(failed(error)))
    })
    .await
}

/// The wait for a response from an HTTP/2 upstream.
struct Wait<'a> {
    upload: Option<&'a Upload>,
    patience: Patience,
    /// When the request had been sent.
    sent: Option<Coarse>,
}

impl Wait<'_> {
    /// Ready with the reason to wait no more.
    ///
    /// Only the end of an upload wakes the task. What it waits for meanwhile is looked at as often as either side's
    /// time could be over.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        deadline: &mut Deadline,
        downstream: &mut impl Downstream,
    ) -> Poll<Error> {
        let Patience { response, client } = self.patience;
        let upload = self.upload.and_then(|upload| upload.watch(cx));
        if upload.is_none() && downstream.poll_gone(cx).is_ready() {
            return Poll::Ready(Error::new(Kind::ClientGone, "the client left before the response"));
        }
        loop {
            let now = Coarse::now();
            let (by_client, due, look) = match self.upload.and_then(|upload| upload.watch(cx)) {
                None => (false, self.sent.get_or_insert(now).after(response), response),
                Some(UploadState { waits: Waits::Sink, since }) => {
                    (false, since.after(response), response.min(client))
                }
                Some(UploadState { waits: Waits::Source, since }) => {
                    (true, since.after(client), response.min(client))
                }
            };
            deadline.set_at(due.min(now.after(look)));
            if deadline.poll(cx).is_pending() {
                return Poll::Pending;
            }
            if deadline.is_over_cap() {
                return Poll::Ready(Error::new(Kind::ExchangeTimeout, "the request timeout is over"));
            }
            if Coarse::now() >= due {
                return Poll::Ready(match by_client {
                    true => Error::new(Kind::RequestTimeout, "the client sent no more of the body"),
                    false => Error::new(Kind::ResponseTimeout, "no response from the upstream"),
                });
            }
        }
    }
}

/// The target in the form that HTTP/2 wants.
fn absolute(uri: &Uri, host: Option<&HeaderValue>, tls: bool) -> error::Result<Uri> {
    let mut parts = uri.clone().into_parts();
    let host = host.map_or(&b""[..], HeaderValue::as_bytes);
    let authority = Authority::try_from(host).map_err(|e| Error::because(Kind::BadRequest, "Host", e))?;
    parts.authority = Some(authority);
    parts.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
    Uri::from_parts(parts).map_err(|e| Error::because(Kind::Internal, "the upstream's target", e))
}
