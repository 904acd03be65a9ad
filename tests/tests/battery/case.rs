//! A request on a raw socket, and how it is checked.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use weir_tests::{RawClient, RawUpstream, Weir};

/// What a client sends and what must come of it.
pub(crate) struct Case {
    /// Unique.
    pub(crate) name: &'static str,
    /// The section that rules it.
    pub(crate) rule: &'static str,
    /// What the client does.
    pub(crate) client: Vec<Step>,
    /// The statuses it gets, in order.
    pub(crate) answers: &'static [u16],
    /// What becomes of its connection.
    pub(crate) after: After,
    /// What the upstream received, over all connections.
    pub(crate) upstream: Cow<'static, str>,
}

/// One thing a client does.
pub(crate) enum Step {
    /// Sends these bytes.
    Send(Cow<'static, [u8]>),
    /// Waits until the upstream has received this text.
    Upstream(&'static str),
    /// Closes its sending side.
    Finish,
}

/// What becomes of the client's connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// weir closes it, with nothing but the answers sent.
    Closed,
    /// It takes another request, which reaches the upstream as [`NEXT_SEEN`].
    Open,
}

/// The request that shows that a connection is open.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: next\r\n\r\n";
/// What the upstream sees of it.
const NEXT_SEEN: &str = "GET /next HTTP/1.1\r\nhost: next\r\n\r\n";

/// Refused with 400 and the connection closed; the upstream sees nothing.
pub(crate) fn refused(name: &'static str, rule: &'static str, send: &'static [u8]) -> Case {
    answered(name, rule, send, 400)
}

/// As [`refused`] with another status.
pub(crate) fn answered(name: &'static str, rule: &'static str, send: &'static [u8], status: u16) -> Case {
    let answers: &[u16] = match status {
        400 => &[400],
        405 => &[405],
        414 => &[414],
        426 => &[426],
        431 => &[431],
        501 => &[501],
        505 => &[505],
        _ => unreachable!("a status that weir refuses with"),
    };
    let client = vec![Step::Send(send.into())];
    Case { name, rule, client, answers, after: After::Closed, upstream: "".into() }
}

/// Forwarded as these bytes, answered with 200, and the connection goes on.
pub(crate) fn forwarded(
    name: &'static str,
    rule: &'static str,
    send: &'static [u8],
    upstream: &'static str,
) -> Case {
    let client = vec![Step::Send(send.into())];
    Case { name, rule, client, answers: &[200], after: After::Open, upstream: upstream.into() }
}

impl Case {
    /// With other bytes to send.
    pub(crate) fn sending(mut self, bytes: Vec<u8>) -> Self {
        self.client = vec![Step::Send(bytes.into())];
        self
    }

    /// With these answers.
    pub(crate) fn answers(mut self, answers: &'static [u16]) -> Self {
        self.answers = answers;
        self
    }

    /// With the connection open afterwards.
    pub(crate) fn open(mut self) -> Self {
        self.after = After::Open;
        self
    }

    /// With the connection closed afterwards.
    pub(crate) fn closed(mut self) -> Self {
        self.after = After::Closed;
        self
    }
}

/// Runs all cases, each on a listener and with an upstream of its own, and shows every one that fails.
pub(crate) fn check(cases: Vec<Case>) {
    let upstreams: Vec<RawUpstream> = cases.iter().map(|_| RawUpstream::polite()).collect();
    let mut weir = Weir::start(&configuration(&upstreams));
    let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .zip(&upstreams)
            .enumerate()
            .map(|(n, (case, upstream))| {
                let address = weir.address(&format!("c{n}"));
                scope.spawn(move || {
                    let client = RawClient::connect(address);
                    caught(|| converse(case, client, upstream))
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().expect("panics are caught")).collect()
    });
    // weir's end is the end of every connection to the upstreams: nothing can reach them after this.
    let status = weir.terminate();
    let mut failures = Vec::new();
    for ((case, upstream), outcome) in cases.iter().zip(&upstreams).zip(outcomes) {
        let outcome = outcome.and_then(|()| caught(|| compare(case, upstream)));
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
    assert!(status.code().is_some(), "weir was ended by a signal");
}

/// A listener and a route for each upstream, with nothing added to requests.
pub(crate) fn configuration(upstreams: &[RawUpstream]) -> String {
    let mut config = String::from(
        "workers = 1\ndrain = \"0s\"\n\
         [limits]\nmax_header_size = \"4KiB\"\nmax_headers = 20\n\
         [proxy]\nforwarded = []\nvia = false\nrequest_id = false\n\
         [access_log]\npath = \"off\"\n",
    );
    for (n, upstream) in upstreams.iter().enumerate() {
        let address = upstream.address();
        config += &format!(
            "[upstreams.c{n}]\nendpoints = [\"{address}\"]\nretry.attempts = 1\n\
             [[listeners]]\nname = \"c{n}\"\naddress = \"127.0.0.1:0\"\n\
             [[routes]]\nname = \"c{n}\"\nlisteners = \"c{n}\"\nupstream = \"c{n}\"\n"
        );
    }
    config
}

fn converse(case: &Case, mut client: RawClient, upstream: &RawUpstream) -> Result<(), String> {
    let mut method = String::new();
    for step in &case.client {
        match step {
            Step::Send(bytes) => {
                let text = String::from_utf8_lossy(bytes);
                if method.is_empty() {
                    method = text.split(' ').next().unwrap_or_default().to_owned();
                }
                client.send(bytes);
            }
            Step::Upstream(text) => upstream.wait_for(text),
            Step::Finish => {
                client.finish();
            }
        }
    }
    let mut answers = Vec::new();
    while answers.len() < case.answers.len() {
        match client.try_answer(&method) {
            Some(answer) if (100..200).contains(&answer.status) => {}
            Some(answer) => answers.push(answer.status),
            None => break,
        }
    }
    if answers != case.answers {
        return Err(format!("answered {answers:?}, not {:?}", case.answers));
    }
    match case.after {
        After::Closed => match client.rest() {
            rest if rest.is_empty() => Ok(()),
            rest => Err(format!("and then weir sent {:?}", String::from_utf8_lossy(&rest))),
        },
        After::Open => {
            client.send(NEXT);
            match client.try_answer("GET").map(|answer| answer.status) {
                Some(200) => Ok(()),
                other => Err(format!("the next request on the connection was answered with {other:?}")),
            }
        }
    }
}

fn compare(case: &Case, upstream: &RawUpstream) -> Result<(), String> {
    let received = String::from_utf8_lossy(&upstream.ended().concat()).into_owned();
    let mut expected = case.upstream.clone().into_owned();
    if case.after == After::Open {
        expected += NEXT_SEEN;
    }
    match received == expected {
        true => Ok(()),
        false => Err(format!("the upstream received\n        {received:?}\n    not\n        {expected:?}")),
    }
}

/// A panic as an error, so that one case that fails does not hide the others.
pub(crate) fn caught(run: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned())).unwrap_or_default())
    })
}
