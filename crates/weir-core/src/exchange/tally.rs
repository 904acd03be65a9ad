//! What is known of an exchange when it ends, and who is told: exactly once, also when the client leaves.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::Uri;
use http_body::{Body as HttpBody, Frame, SizeHint};
use weir_plugin::{Exchange, Held};

use super::{Chain, Session, client_gone};
use crate::body::Body;
use crate::error::{Blame, Error, Kind};
use crate::http1::head::RequestHead;
use crate::log::{Record, Timings};
use crate::snapshot::Current;
use crate::upstream::Choice;

/// An exchange from its head to its end. Dropped before [`Tally::end`], the client has left.
pub(crate) struct Tally {
    pub(crate) x: Held,
    pub(crate) snapshot: Current,
    pub(crate) chain: Chain,
    /// Body bytes sent to the client.
    pub(crate) sent: u64,
    /// Counts as load of the endpoint.
    pub(crate) choice: Option<Choice>,
    /// How long to wait for more of the response.
    pub(crate) upstream_idle: Duration,
    /// None where nobody is told.
    log: Option<Log>,
    failure: Option<(Kind, &'static str)>,
    ended: bool,
}

struct Log {
    target: Uri,
    started: SystemTime,
    clock: Instant,
    timings: Timings,
    received: Rc<Cell<u64>>,
    upgraded: bool,
}

impl Tally {
    pub(crate) fn open(session: &Session, snapshot: Current, head: RequestHead) -> Self {
        let log = snapshot.access_log.is_some().then(|| Log {
            target: head.uri.clone(),
            started: SystemTime::now(),
            clock: Instant::now(),
            timings: Timings::default(),
            received: Rc::default(),
            upgraded: false,
        });
        let worker = &session.worker;
        let x = Held::new(Exchange {
            method: head.method,
            uri: head.uri,
            version: head.version,
            headers: head.headers,
            ..Exchange::new(worker.next_id(), session.connection.clone(), worker.no_name())
        });
        Tally {
            x,
            snapshot,
            chain: Chain::default(),
            sent: 0,
            choice: None,
            upstream_idle: Duration::from_secs(60),
            log,
            failure: None,
            ended: false,
        }
    }

    /// Where the bytes of the request body are counted.
    pub(crate) fn meter(&self) -> Rc<Cell<u64>> {
        self.log.as_ref().map_or_else(Rc::default, |log| log.received.clone())
    }

    /// Whether anybody is told of the bytes.
    pub(crate) fn is_logged(&self) -> bool {
        self.log.is_some()
    }

    /// The connection to the upstream is there.
    pub(crate) fn connected(&mut self) {
        if let Some(log) = &mut self.log {
            log.timings.connected = Some(log.clock.elapsed());
        }
    }

    /// The response head is there.
    pub(crate) fn responded(&mut self) {
        if let Some(log) = &mut self.log {
            log.timings.responded = Some(log.clock.elapsed());
        }
    }

    /// It became a relay.
    pub(crate) fn upgraded(&mut self) {
        if let Some(log) = &mut self.log {
            log.upgraded = true;
        }
    }

    /// A relay ended, after these bytes from the client and to it.
    pub(crate) fn relayed(&mut self, received: u64, sent: u64) {
        self.sent = sent;
        self.meter().set(received);
    }

    /// weir answers because of this.
    pub(crate) fn failed(&mut self, error: &Error) {
        if error.kind().blame() == Blame::Internal {
            tracing::warn!(%error, "an exchange failed");
        }
        self.failure = Some((error.kind(), error.detail()));
    }

    /// Whether there is nobody to answer.
    pub(crate) fn is_client_gone(&self) -> bool {
        self.failure.is_some_and(|(kind, _)| kind == Kind::ClientGone)
    }

    /// Whether the bytes that follow on the connection cannot be trusted to be a request.
    pub(crate) fn must_close(&self) -> bool {
        let unclear = [Kind::BadRequest, Kind::RequestTimeout, Kind::NotImplemented, Kind::ClientGone];
        self.failure.is_some_and(|(kind, _)| unclear.contains(&kind))
    }

    /// The exchange has ended, with an error after the response's head or without.
    pub(crate) fn end(&mut self, error: Option<&Error>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.choice = None;
        if let Some(error) = error {
            tracing::debug!(request_id = ?self.x.request_id, %error, "broke off");
            self.failure = Some((error.kind(), error.detail()));
        }
        self.snapshot.outcomes.count(self.x.status);
        if let (Some(log), Some(to)) = (&mut self.log, &self.snapshot.access_log) {
            log.timings.total = log.clock.elapsed();
            let target = log.target.to_string();
            to.record(&Record {
                exchange: &self.x,
                target: if self.x.method.as_str() == "-" { "-" } else { &target },
                started: log.started,
                timings: log.timings,
                bytes_in: log.received.get(),
                bytes_out: self.sent,
                reason: self.failure.map(|(kind, _)| kind),
                detail: self.failure.map(|(_, detail)| detail),
                upgraded: log.upgraded,
            });
        }
        std::mem::take(&mut self.chain).on_log(&mut self.x);
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.ended {
            if !self.log.as_ref().is_some_and(|log| log.upgraded) {
                self.x.status = client_gone();
            }
            self.end(Some(&Error::new(Kind::ClientGone, "the client left")));
        }
    }
}

/// A request body that is counted and bounded.
pub(crate) struct Metered {
    body: Body,
    limit: u64,
    meter: Rc<Cell<u64>>,
}

impl Metered {
    pub(crate) fn new(body: Body, limit: u64, meter: Rc<Cell<u64>>) -> Self {
        Metered { body, limit, meter }
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let n = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.meter.set(self.meter.get() + n);
            if self.meter.get() > self.limit {
                let error = Error::new(Kind::BodyTooLarge, "the request body is over the limit");
                return Poll::Ready(Some(Err(error)));
            }
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
