//! One exchange through a plugin of any engine, as the data plane would run it (`weir_core::exchange`), but with an
//! upstream that a test scripts and a clock that it moves.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, TE};
use http::{HeaderValue, StatusCode, Uri};
use http_body_util::BodyExt;
use weir_core::action::error::respond;
use weir_core::error::{AttemptFailure, Kind};
use weir_core::headers::remove_hop_by_hop;
use weir_core::relay::not_opened;
use weir_core::{path, spec::PathPolicy};
use weir_plugin::message::body;
use weir_plugin::message::headers::Side;
use weir_plugin::scenario::{Admission, AnsweredBy, Arrival, Asked, Attempt, Attempted, Outcome, Scenario};
use weir_plugin::services::Clock;
use weir_plugin::{
    Candidate, ConnectVerdict, Connection, Content, Exchange, Held, Instance, OnFailure, Peer, Phase, Piece,
    Plugin, Reply, Selection, Step, Target, Tls, Verdict, Visit,
};
use weir_services::ManualClock;

/// How a test waits for a hook: its sleeps take no time but the clock's.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    /// What plugins see.
    pub clock: ManualClock,
    /// Calls to other servers that the test has not answered yet: while there are some, no sleep ends.
    pub calls: Arc<AtomicUsize>,
}

impl Patience {
    /// Waits for a hook for as long as it may take by the clock.
    ///
    /// # Errors
    /// When it took longer.
    pub async fn bounded<T>(&self, deadline: Duration, step: Step<'_, T>) -> Result<T, String> {
        let mut waiting = match step {
            Step::Done(value) => return Ok(value),
            Step::Wait(waiting) => waiting,
        };
        let until = self.clock.monotonic().saturating_add(deadline);
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(value) = waiting.as_mut().poll(cx) {
                    return Poll::Ready(Ok(value));
                }
                let left = until.saturating_sub(self.clock.monotonic());
                match self.clock.next_wake() {
                    // Who waited is woken, and is polled by a task of its own.
                    Some(Duration::ZERO) if !left.is_zero() => {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Some(time) if self.calls.load(Ordering::Relaxed) == 0 => {
                        self.clock.advance(time.min(left));
                        if time >= left {
                            let late = format!("it took longer than its deadline of {deadline:?}");
                            return Poll::Ready(Err(late));
                        }
                    }
                    // It has had its turn, or waits for the test; or a component still runs, and may come to wait.
                    _ => {
                        self.clock.watch(cx.waker());
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }
}

/// Runs an exchange.
///
/// # Errors
/// When weir would not have taken the request, or the scenario has a failure that there is not.
pub async fn run(
    plugin: &dyn Plugin,
    instance: Rc<dyn Instance>,
    scenario: Scenario,
    patience: &Patience,
) -> Result<Outcome, String> {
    let mut run = Run::new(plugin, instance, &scenario, patience)?;
    let reply = run.answered(&scenario).await?;
    run.log().await;
    Ok(run.outcome(reply))
}

/// What an attempt comes to: a response, or a failure that there is.
fn end(attempt: &Attempt) -> Result<Result<&Reply, &'static AttemptFailure>, String> {
    match attempt {
        Attempt::Response(reply) => Ok(Ok(reply)),
        Attempt::Failure(text) => {
            AttemptFailure::said(text).filter(|failure| failure.kind.is_some()).map(Err).ok_or_else(|| {
                let all = AttemptFailure::ALL.into_iter().filter(|failure| failure.kind.is_some());
                let all: Vec<_> = all.map(|failure| format!("\n  \"{}\"", failure.text)).collect();
                format!("no attempt fails with \"{text}\": there are{}", all.concat())
            })
        }
    }
}

/// Asks a plugin about a connection.
pub async fn connect(
    plugin: &dyn Plugin,
    instance: &dyn Instance,
    arrival: &Arrival,
    patience: &Patience,
) -> Admission {
    let Arrival { listener, client, tls } = arrival;
    let step = match plugin.hooks().connect {
        true => instance.on_connect(Rc::new(connection(listener.clone(), *client, tls.clone()))),
        false => Step::Done(ConnectVerdict::Accept),
    };
    let verdict = patience.bounded(plugin.policy().limits.deadline, step).await;
    let (accepted, failure) = match verdict.unwrap_or_else(ConnectVerdict::Fail) {
        ConnectVerdict::Accept => (true, None),
        ConnectVerdict::Refuse => (false, None),
        ConnectVerdict::Fail(message) => {
            (plugin.policy().on_failure == OnFailure::Open, Some(format!("on_connect: {message}")))
        }
    };
    Admission { accepted, failure, log: Vec::new() }
}

fn connection(listener: Arc<str>, client: Option<IpAddr>, tls: Option<Arc<Tls>>) -> Connection {
    let address = |ip: [u8; 4], port| Peer::Ip(SocketAddr::from((ip, port)));
    Connection {
        id: 1,
        listener,
        peer: client.map_or(Peer::Unix, |ip| Peer::Ip(SocketAddr::new(ip, 40_000))),
        local: match client {
            None => Peer::Unix,
            Some(_) => address([192, 0, 2, 8], if tls.is_some() { 443 } else { 80 }),
        },
        tls,
    }
}

/// The exchange at its begin.
fn exchange(scenario: &Scenario) -> Exchange {
    let connection = connection("test".into(), scenario.client, scenario.tls.clone());
    let mut x = Exchange::new(1, Rc::new(connection), scenario.route.clone());
    x.request_id = HeaderValue::from_str(&scenario.request_id).unwrap_or(x.request_id);
    x.captures = scenario.captures.clone();
    x.method = scenario.method.clone();
    x.uri = scenario.uri.clone();
    x.headers = scenario.headers.clone();
    remove_hop_by_hop(&mut x.headers);
    x.request_body = content(&scenario.body);
    x
}

fn content(body: &Bytes) -> Content {
    Content::new(Box::new(body.clone()))
}

/// What a plugin made of a body.
fn taken(content: &mut Content, body: Bytes) -> Bytes {
    std::mem::take(content).into_parts().1.unwrap_or(body)
}

/// Brings a path into the form that all have.
fn normalise(uri: &mut Uri) -> Result<(), String> {
    let path = path::normalise(uri.path(), &PathPolicy::default()).map_err(|reject| reject.detail())?;
    let target = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    *uri = target.parse().map_err(|_| "the normalised path".to_owned())?;
    Ok(())
}

/// Endpoints by the name of their group.
type Groups = BTreeMap<Arc<str>, Vec<Candidate>>;

/// An exchange under way.
pub(super) struct Run<'a> {
    pub(super) plugin: &'a dyn Plugin,
    pub(super) visit: Box<dyn Visit>,
    pub(super) x: Held,
    pub(super) patience: &'a Patience,
    request_body: Bytes,
    attempts: Vec<Attempted>,
    /// Groups and endpoints of attempts that failed.
    tried: Vec<(Arc<str>, Arc<str>)>,
    pub(super) answered_by: AnsweredBy,
    pub(super) failure: Option<String>,
}

impl<'a> Run<'a> {
    /// An exchange at its begin.
    ///
    /// # Errors
    /// When weir would not have taken the request.
    pub(super) fn new(
        plugin: &'a dyn Plugin,
        instance: Rc<dyn Instance>,
        scenario: &Scenario,
        patience: &'a Patience,
    ) -> Result<Self, String> {
        let mut x = exchange(scenario);
        normalise(&mut x.uri).map_err(|error| format!("weir answers this path with 400: {error}"))?;
        Ok(Run {
            plugin,
            visit: instance.visit(),
            x: Held::new(x),
            patience,
            request_body: scenario.body.clone(),
            attempts: Vec::new(),
            tried: Vec::new(),
            answered_by: AnsweredBy::Failure,
            failure: None,
        })
    }

    /// What the client gets.
    ///
    /// # Errors
    /// When the scenario has a failure that there is not.
    pub(super) async fn answered(&mut self, scenario: &Scenario) -> Result<Reply, String> {
        let ends = scenario.attempts.iter().map(end).collect::<Result<Vec<_>, _>>()?;
        Ok(match self.response(scenario, &ends).await {
            Ok(reply) => reply,
            Err(kind) => self.answer(kind).await,
        })
    }

    /// What the client of a handshake gets whose upstream is opened later.
    pub(super) async fn accepted(&mut self, agreed: Reply) -> Reply {
        let own = match self.on_request().await {
            Ok(own) => own,
            Err(kind) => Some(self.answer(kind).await),
        };
        if own.is_none() {
            self.answered_by = AnsweredBy::Upstream;
        }
        let reply = own.unwrap_or(agreed);
        self.x.status = reply.status;
        reply
    }

    /// Opens the upstream of a handshake that was answered before. How the client is told where it could not be.
    ///
    /// # Errors
    /// When the scenario has a failure that there is not.
    pub(super) async fn opened(
        &mut self,
        scenario: &Scenario,
    ) -> Result<Option<(u16, &'static str)>, String> {
        let ends = scenario.attempts.iter().map(end).collect::<Result<Vec<_>, _>>()?;
        let forwarded = self.forward(scenario, &ends).await;
        self.x.phase = Phase::Ended;
        Ok(match forwarded {
            Ok(reply) if reply.status == StatusCode::SWITCHING_PROTOCOLS => None,
            Ok(_) => Some(not_opened(Kind::UpstreamInvalid)),
            Err(kind) => Some(not_opened(kind)),
        })
    }

    /// What came of it.
    pub(super) fn outcome(self, response: Reply) -> Outcome {
        let (x, last) = (&self.x, self.attempts.last());
        Outcome {
            request: Asked {
                method: x.method.clone(),
                uri: x.uri.clone(),
                headers: x.headers.clone(),
                body: self.request_body,
                group: last.map(|attempt| attempt.group.clone()),
                endpoint: last.and_then(|attempt| attempt.endpoint.clone()),
                hash_key: last.and_then(|attempt| attempt.hash_key.clone()),
            },
            response,
            answered_by: self.answered_by,
            attempts: self.attempts,
            failure: self.failure,
            log: Vec::new(),
        }
    }

    pub(super) fn deadline(&self) -> Duration {
        self.plugin.policy().limits.deadline
    }

    /// The response, or why there is none.
    async fn response(
        &mut self,
        scenario: &Scenario,
        ends: &[Result<&Reply, &'static AttemptFailure>],
    ) -> Result<Reply, Kind> {
        let mut own = self.on_request().await?;
        if own.is_none() {
            own = self.flow_request().await?;
        }
        let mut reply = match own {
            Some(reply) => reply,
            None => {
                let mut response = self.forward(scenario, ends).await?;
                self.answered_by = AnsweredBy::Upstream;
                remove_hop_by_hop(&mut response.headers);
                response.headers.remove(TE);
                response
            }
        };
        self.x.status = reply.status;
        // What is a WebSocket from now on has no response that hooks could change.
        if reply.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(reply);
        }
        if self.plugin.hooks().response {
            self.x.response_body = content(&reply.body);
            std::mem::swap(&mut self.x.response_headers, &mut reply.headers);
            if let Some(own) = self.on_response().await? {
                reply = own;
                self.x.status = reply.status;
            } else {
                reply.status = self.x.status;
                std::mem::swap(&mut self.x.response_headers, &mut reply.headers);
                reply.body = taken(&mut self.x.response_body, reply.body);
            }
        }
        if self.plugin.hooks().response_body && !reply.body.is_empty() {
            body::changed(&mut reply.headers);
            let flowed = self.flow(Side::Response, "on_response_body", reply.body).await?;
            reply.body = flowed.unwrap_or_default();
        }
        if self.plugin.hooks().log {
            self.x.response_headers = reply.headers.clone();
        }
        Ok(reply)
    }

    async fn on_request(&mut self) -> Result<Option<Reply>, Kind> {
        if !self.plugin.hooks().request {
            return Ok(None);
        }
        let before = self.x.uri.clone();
        let deadline = self.deadline();
        let step = self.visit.on_request(&mut self.x);
        let mut verdict = self.patience.bounded(deadline, step).await.unwrap_or_else(Verdict::Fail);
        if let Err(error) = normalise(&mut self.x.uri) {
            self.x.uri = before;
            verdict = Verdict::Fail(format!("the path that it has set cannot be: {error}"));
        }
        let reply = self.verdict("on_request", verdict);
        self.request_body = taken(&mut self.x.request_body, std::mem::take(&mut self.request_body));
        reply
    }

    async fn flow_request(&mut self) -> Result<Option<Reply>, Kind> {
        if self.plugin.hooks().request_body && !self.request_body.is_empty() {
            body::changed(&mut self.x.headers);
            let body = std::mem::take(&mut self.request_body);
            match self.flow(Side::Request, "on_request_body", body).await? {
                Ok(body) => self.request_body = body,
                Err(reply) => return self.verdict("on_request_body", Verdict::Respond(reply)),
            }
        }
        Ok(None)
    }

    /// Leads a body through the plugin in one piece: what comes out, or an answer.
    async fn flow(&mut self, side: Side, hook: &str, body: Bytes) -> Result<Result<Bytes, Reply>, Kind> {
        let Some(mut flow) = self.visit.flow(side, &self.x) else { return Ok(Ok(body)) };
        let mut out = Vec::new();
        for (piece, last) in [(body, false), (Bytes::new(), true)] {
            let made = self.patience.bounded(self.deadline(), flow.piece(piece.clone(), last)).await;
            match made.unwrap_or_else(Piece::Fail) {
                Piece::Pass => out.extend_from_slice(&piece),
                Piece::Replace(bytes) => out.extend_from_slice(&bytes),
                Piece::Respond(reply) if side == Side::Request => return Ok(Err(reply)),
                Piece::Respond(_) => {
                    let late = "an answer cannot be given any more: the response is on its way";
                    self.failed(hook, late.to_owned())?;
                    out.extend_from_slice(&piece);
                }
                Piece::Fail(message) => {
                    self.failed(hook, message)?;
                    out.extend_from_slice(&piece);
                }
            }
        }
        Ok(Ok(out.into()))
    }

    async fn on_response(&mut self) -> Result<Option<Reply>, Kind> {
        self.x.phase = Phase::Response;
        let deadline = self.deadline();
        let step = self.visit.on_response(&mut self.x);
        let verdict = self.patience.bounded(deadline, step).await.unwrap_or_else(Verdict::Fail);
        self.verdict("on_response", verdict)
    }

    /// Makes the attempts, each but the last one again.
    async fn forward(
        &mut self,
        scenario: &Scenario,
        ends: &[Result<&Reply, &'static AttemptFailure>],
    ) -> Result<Reply, Kind> {
        let mut groups = scenario.groups.clone();
        for (number, end) in ends.iter().enumerate() {
            let is_last = number + 1 == ends.len();
            let (group, endpoint) = self.choose(scenario, &groups).await?;
            let (failure, skips) = match end {
                Ok(reply) if is_last => return Ok((*reply).clone()),
                Ok(_) => (AttemptFailure::STATUS, false),
                Err(failure) => (failure.text, failure.skips),
            };
            self.x.failure = Some(failure);
            if let Some(attempt) = self.attempts.last_mut() {
                attempt.failure = Some(failure);
            }
            let skipped = groups.get_mut(&group).filter(|_| skips).into_iter().flatten();
            skipped.filter(|candidate| candidate.address == endpoint).for_each(|c| c.available = false);
            self.tried.push((group, endpoint));
        }
        match ends.last() {
            Some(Err(AttemptFailure { kind: Some(kind), text, .. })) => {
                self.failure.get_or_insert((*text).to_owned());
                Err(*kind)
            }
            _ => Err(Kind::NoEndpoint),
        }
    }

    /// Chooses the group and the endpoint of the next attempt.
    async fn choose(&mut self, scenario: &Scenario, groups: &Groups) -> Result<(Arc<str>, Arc<str>), Kind> {
        let mut group = self.x.group.clone().unwrap_or_else(|| scenario.group.clone());
        let mut candidates = self.candidates(groups, &group)?;
        let mut target = Target::Default;
        if self.plugin.hooks().select_upstream {
            let selection = Selection {
                group: group.clone(),
                candidates: candidates.to_vec(),
                attempt: self.x.attempts,
                failure: self.x.failure,
            };
            self.x.phase = Phase::Upstream;
            let deadline = self.deadline();
            let step = self.visit.select_upstream(&mut self.x, &selection);
            match self.patience.bounded(deadline, step).await.flatten() {
                Ok(chosen) => target = chosen,
                Err(message) => self.failed("select_upstream", message)?,
            }
        }
        let mut hash_key = None;
        let endpoint = match target {
            Target::Default => self.balanced(&group, candidates),
            Target::HashKey(key) => {
                hash_key = Some(key);
                self.balanced(&group, candidates)
            }
            Target::Endpoint(address) => {
                let known = candidates.iter().any(|candidate| candidate.address == address);
                if !known {
                    let message = format!("the group {group} has no endpoint {address}");
                    self.failure.get_or_insert(message);
                }
                known.then_some(address)
            }
            Target::Group(name) => {
                group = name;
                candidates = self.candidates(groups, &group)?;
                self.balanced(&group, candidates)
            }
        };
        let Some(endpoint) = endpoint else {
            self.failure.get_or_insert(format!("no endpoint of the group {group} has an address"));
            return Err(Kind::NoEndpoint);
        };
        self.x.attempts += 1;
        self.x.upstream = Some(group.clone());
        self.x.endpoint = Some(endpoint.clone());
        let told = Some(endpoint.clone()).filter(|_| hash_key.is_none());
        self.attempts.push(Attempted { group: group.clone(), endpoint: told, hash_key, failure: None });
        Ok((group, endpoint))
    }

    /// What stands for the balance of a group: the first endpoint that was not tried and is available, as far as there
    /// is one.
    fn balanced(&self, group: &Arc<str>, candidates: &[Candidate]) -> Option<Arc<str>> {
        let tried = |address| self.tried.iter().any(|tried| (&tried.0, &tried.1) == (group, address));
        let first = candidates.iter().min_by_key(|c| (tried(&c.address), !c.available));
        first.map(|candidate| candidate.address.clone())
    }

    fn candidates<'g>(&mut self, groups: &'g Groups, group: &Arc<str>) -> Result<&'g [Candidate], Kind> {
        groups.get(group).map(Vec::as_slice).ok_or_else(|| {
            self.failure.get_or_insert(format!("a plugin chose an upstream that is not there: {group}"));
            Kind::Plugin
        })
    }

    /// Ends it.
    pub(super) async fn log(&mut self) {
        if self.plugin.hooks().log {
            self.x.phase = Phase::Ended;
            let deadline = self.deadline();
            let step = self.visit.on_log(&mut self.x);
            if let Err(message) = self.patience.bounded(deadline, step).await.flatten() {
                self.failure.get_or_insert(format!("on_log: {message}"));
            }
        }
    }

    /// What a verdict comes to: an answer, or nothing.
    fn verdict(&mut self, hook: &str, verdict: Verdict) -> Result<Option<Reply>, Kind> {
        match verdict {
            Verdict::Proceed => Ok(None),
            Verdict::Respond(mut reply) => {
                self.answered_by = AnsweredBy::Plugin;
                remove_hop_by_hop(&mut reply.headers);
                reply.headers.remove(CONTENT_LENGTH);
                Ok(Some(reply))
            }
            Verdict::Fail(message) => self.failed(hook, message).map(|()| None),
        }
    }

    /// What happens when the plugin has failed.
    fn failed(&mut self, hook: &str, message: String) -> Result<(), Kind> {
        self.failure.get_or_insert(format!("{hook}: {message}"));
        match self.plugin.policy().on_failure {
            OnFailure::Open => Ok(()),
            OnFailure::Closed => Err(Kind::Plugin),
        }
    }

    /// The response that tells the client of a failure.
    async fn answer(&mut self, kind: Kind) -> Reply {
        self.answered_by = AnsweredBy::Failure;
        let id = self.x.request_id.to_str().unwrap_or_default();
        let (head, body) = respond(kind, self.x.headers.get(ACCEPT), id, &[]).into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        self.x.status = head.status;
        Reply { status: head.status, headers: head.headers, body }
    }
}
