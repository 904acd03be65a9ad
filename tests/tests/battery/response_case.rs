//! A response of an upstream on a raw socket, and how it is checked.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use weir_tests::{PATIENCE, RawClient, RawUpstream, Weir, raw};

use crate::case::{After, caught, configuration};

/// What an upstream sends and what must come of it. Afterwards there is always another request, on the same
/// connection or a fresh one as `after` says: it must be answered properly.
pub(crate) struct ResponseCase {
    /// Unique.
    pub(crate) name: &'static str,
    /// The section that rules it.
    pub(crate) rule: &'static str,
    /// What the client sends.
    pub(crate) request: &'static str,
    /// What the upstream answers to it.
    pub(crate) upstream: Vec<u8>,
    /// What it sends when the client has got `hello`.
    pub(crate) then: Option<&'static [u8]>,
    /// What it does afterwards.
    pub(crate) end: End,
    /// Informational responses that the client gets.
    pub(crate) informational: &'static [u16],
    /// Status and body that the client gets.
    pub(crate) answer: (u16, &'static str),
    /// Whether the body came to its end.
    pub(crate) whole: bool,
    /// Fields that the answer must have (`name: value`) or must not have (`!name`).
    pub(crate) fields: &'static [&'static str],
    /// What becomes of the client's connection.
    pub(crate) after: After,
    /// How many connections the upstream has seen when the other request was answered: 1 where the first was used
    /// again.
    pub(crate) connections: usize,
}

/// What an upstream does after its response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Serves the next request.
    Keep,
    /// Closes.
    Close,
    /// Resets the connection.
    Reset,
}

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Not a response: answered with 502, and the upstream's connection not used again.
pub(crate) fn invalid(name: &'static str, rule: &'static str, upstream: &[u8]) -> ResponseCase {
    ResponseCase { answer: (502, ""), connections: 2, ..passed(name, rule, upstream, 200, "") }
}

/// Passed on with this status and body, and all connections go on.
pub(crate) fn passed(
    name: &'static str,
    rule: &'static str,
    upstream: &[u8],
    status: u16,
    body: &'static str,
) -> ResponseCase {
    ResponseCase {
        name,
        rule,
        request: GET,
        upstream: upstream.to_vec(),
        then: None,
        end: End::Keep,
        informational: &[],
        answer: (status, body),
        whole: true,
        fields: &[],
        after: After::Open,
        connections: 1,
    }
}

/// Breaks off after `hello`: the client must be able to tell that there was more.
pub(crate) fn broken(
    name: &'static str,
    rule: &'static str,
    upstream: &[u8],
    then: &'static [u8],
    end: End,
) -> ResponseCase {
    ResponseCase {
        then: Some(then),
        end,
        whole: false,
        after: After::Closed,
        connections: 2,
        ..passed(name, rule, upstream, 200, "hello")
    }
}

impl ResponseCase {
    /// To another request.
    pub(crate) fn to(mut self, request: &'static str) -> Self {
        self.request = request;
        self
    }

    /// With another end.
    pub(crate) fn end(mut self, end: End) -> Self {
        self.end = end;
        self.connections = 2;
        self
    }

    /// With the upstream's connection not used again.
    pub(crate) fn spent(mut self) -> Self {
        self.connections = 2;
        self
    }

    /// With these informational responses before.
    pub(crate) fn informational(mut self, statuses: &'static [u16]) -> Self {
        self.informational = statuses;
        self
    }

    /// With these fields in the answer.
    pub(crate) fn fields(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = fields;
        self
    }

    /// With the client's connection closed.
    pub(crate) fn closed(mut self) -> Self {
        self.after = After::Closed;
        self
    }
}

/// Runs all cases, each on a listener and with an upstream of its own, and shows every one that fails.
pub(crate) fn check(cases: Vec<ResponseCase>) {
    let mut signals = Vec::new();
    let mut upstreams = Vec::new();
    for case in &cases {
        let (seen, wait) = channel();
        signals.push(seen);
        upstreams.push(serve(case, wait));
    }
    let mut weir = Weir::start(&configuration(&upstreams));
    let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .zip(signals)
            .enumerate()
            .map(|(n, (case, seen))| {
                let address = weir.address(&format!("c{n}"));
                scope.spawn(move || caught(|| converse(case, address, &seen)))
            })
            .collect();
        running.into_iter().map(|thread| thread.join().expect("panics are caught")).collect()
    });
    weir.terminate();
    let mut failures = Vec::new();
    for ((case, upstream), outcome) in cases.iter().zip(&upstreams).zip(outcomes) {
        let outcome = outcome.and_then(|()| match upstream.received().len() {
            n if n == case.connections => Ok(()),
            n => Err(format!("{n} connections to the upstream, not {}", case.connections)),
        });
        if let Err(why) = outcome {
            failures.push(format!("{} ({})\n    {why}", case.name, case.rule));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases fail:\n\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n\n")
    );
}

/// Answers the first request as the case says and all others politely.
fn serve(case: &ResponseCase, wait: Receiver<()>) -> RawUpstream {
    let (answer, then, end) = (case.upstream.clone(), case.then, case.end);
    let wait = Mutex::new(wait);
    RawUpstream::start(move |connection, served| {
        if connection == 0 {
            if served.request().is_none() {
                return;
            }
            served.send(&answer);
            if let Some(then) = then {
                let _ = wait.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PATIENCE);
                served.send(then);
            }
            match end {
                End::Keep => {}
                End::Close => return,
                End::Reset => return served.reset(),
            }
        }
        while served.request().is_some() {
            served.send(raw::OK);
        }
    })
}

fn converse(case: &ResponseCase, address: std::net::SocketAddr, seen: &Sender<()>) -> Result<(), String> {
    let mut client = RawClient::connect(address);
    client.send(case.request);
    if case.then.is_some() {
        client.wait_for("hello");
        let _ = seen.send(());
    }
    let method = case.request.split(' ').next().unwrap_or_default();
    let mut informational = Vec::new();
    let answer = loop {
        match client.try_answer(method) {
            None => return Err("weir closed the connection without an answer".into()),
            Some(answer) if answer.status < 200 && answer.status != 101 => informational.push(answer.status),
            Some(answer) => break answer,
        }
    };
    if informational != case.informational {
        return Err(format!("{informational:?} came before the answer, not {:?}", case.informational));
    }
    // The bodies of weir's own answers are the business of other tests.
    let own = matches!(answer.status, 502 | 426) && answer.status == case.answer.0;
    let body = if own { String::new() } else { answer.text() };
    if (answer.status, body.as_str()) != case.answer || answer.whole != case.whole {
        let expected = (case.answer, case.whole);
        return Err(format!("answered {:?}, not {expected:?}", ((answer.status, body), answer.whole)));
    }
    for field in case.fields {
        let right = match field.split_once(": ") {
            Some((name, value)) => answer.all(name) == [value],
            None => answer.all(field.trim_start_matches('!')).is_empty(),
        };
        if !right {
            return Err(format!("not as `{field}` says: {:?}", answer.head));
        }
    }
    if case.after == After::Closed {
        let rest = client.rest();
        if !rest.is_empty() {
            return Err(format!("and then weir sent {:?}", String::from_utf8_lossy(&rest)));
        }
        client = RawClient::connect(address);
    }
    client.send("GET /next HTTP/1.1\r\nHost: next\r\n\r\n");
    match client.try_answer("GET").map(|next| (next.status, next.text())) {
        Some((200, text)) if text == "ok" => Ok(()),
        other => Err(format!("the next request was answered with {other:?}")),
    }
}
