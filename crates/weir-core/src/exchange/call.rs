//! Requests of plugins, sent as those of clients are.

use std::rc::Rc;

use http::Uri;
use weir_plugin::error::{Error, Result};
use weir_plugin::message::body;
use weir_plugin::services::{HttpAnswer, HttpCall};
use weir_plugin::{Connection, Content, Exchange, Peer};

use super::content;
use super::forward::{Attempt, Outgoing, is_worth_a_retry, send};
use super::is_idempotent;
use super::websocket::Patient;
use crate::action::decompress;
use crate::body::Body;
use crate::error::{self, Kind};
use crate::headers;
use crate::http1::client::Patience;
use crate::net::Deadline;
use crate::upstream::{self, Choice, Group, Lease};
use crate::worker::Worker;

/// Sends a request to a group of the newest snapshot. Its connection is tried again where that is safe; what the
/// upstream answers is for the plugin to judge.
pub(crate) async fn call(worker: Rc<Worker>, call: HttpCall) -> Result<HttpAnswer> {
    let snapshot = worker.snapshot();
    let Some(group) = snapshot.groups.get(&call.group) else {
        return Err(Error::denied(format!("there is no upstream named {}", call.group)));
    };
    let connection = Connection {
        id: worker.next_id(),
        listener: worker.no_name(),
        peer: Peer::Unix,
        local: Peer::Unix,
        tls: None,
    };
    let x = Exchange {
        method: call.method,
        uri: Uri::from(call.target),
        headers: call.headers,
        ..Exchange::new(worker.next_id(), Rc::new(connection), worker.no_name())
    };
    let mut deadline = Deadline::default();
    deadline.set_cap(call.timeout);
    let (response, choice) =
        answer(&worker, group, &x, &Body::Full(call.body), &mut deadline).await.map_err(told)?;
    let (mut parts, body) = response.into_parts();
    headers::remove_hop_by_hop(&mut parts.headers);
    let body = match body::coding(&parts.headers) {
        Some(coding) => decompress(body, coding, Kind::UpstreamInvalid),
        None => body,
    };
    let body = Content::new(Box::new(content::Answer { body, _choice: choice }));
    Ok(HttpAnswer { status: parts.status, headers: parts.headers, body })
}

/// What a plugin is told of an error.
fn told(error: error::Error) -> Error {
    match error.kind() {
        Kind::ConnectTimeout | Kind::ResponseTimeout | Kind::ExchangeTimeout => Error::Timeout,
        _ => Error::Failed(error.to_string()),
    }
}

async fn answer(
    worker: &Rc<Worker>,
    group: &std::sync::Arc<Group>,
    x: &Exchange,
    body: &Body,
    deadline: &mut Deadline,
) -> error::Result<(http::Response<Body>, Choice)> {
    group.count_request();
    let (mut tried, mut attempts) = (Vec::new(), 0);
    let mut fresh = false;
    loop {
        let none = || error::Error::new(Kind::NoEndpoint, "no endpoint of the group has an address");
        let choice = group.choose(x, None, &tried).ok_or_else(none)?;
        attempts += 1;
        let endpoint = &choice.endpoint;
        let lease = match upstream::lease(worker, group, endpoint, fresh, deadline).await {
            Ok(lease) => lease,
            Err(error) => {
                let left = attempts < group.spec.retry.attempts;
                if !is_worth_a_retry(&error) || !left || !group.take_retry() {
                    return Err(error);
                }
                tried.push(endpoint.id);
                continue;
            }
        };
        let reused = matches!(lease, Lease::Http1 { reused: true, .. });
        let patience =
            Patience { response: group.spec.timeouts.response, client: group.spec.timeouts.response };
        let body = match body {
            Body::Full(bytes) => Body::from(bytes.clone()),
            _ => Body::Empty,
        };
        let attempt = Attempt { x, outgoing: &Outgoing::default(), body, patience };
        match send(lease, group.spec.tls.is_some(), attempt, deadline, &mut Patient).await {
            Ok(response) => return Ok((response, choice)),
            // A pooled connection that had died.
            Err(failed)
                if reused
                    && failed.error.kind() == Kind::UpstreamClosed
                    && !failed.answered
                    && is_idempotent(&x.method) =>
            {
                fresh = true;
            }
            Err(failed) => return Err(failed.error),
        }
    }
}
