//! WebSocket handshakes (RFC 6455, section 4) and the relays that they open.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, SET_COOKIE, UPGRADE,
};
use http::{HeaderMap, Method, Response, StatusCode, Version};
use http_body::Body as _;
use sha1::{Digest, Sha1};
use weir_plugin::Exchange;

use super::compression::{Asking, Compression, Later};
use super::forward::{self, Outgoing};
use super::relaying::{self, Relayed};
use super::way::{self, Way};
use super::{Session, Tally};
use crate::body::Body;
use crate::error::{Error, Kind, Result};
use crate::headers;
use crate::http1::client::{self, Answer, Downstream, Patience, has_token};
use crate::http1::head::ResponseHead;
use crate::net::{Deadline, Stream};
use crate::relay::{self, Carrier, Control, End, Entering, Farewell};
use crate::route::CompiledRoute;
use crate::spec::{self, Connect};
use crate::upstream::Connected;
use crate::worker::Worker;
use crate::ws::extension::Agreement;

/// What is hashed with the key (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Why an upstream that is opened late is not there, where it has answered something else than 101.
const REFUSED: &str = "the upstream took no WebSocket";

/// A WebSocket handshake that a client asked for: the `Sec-WebSocket-Accept` that answers it.
pub(super) struct Upgrade {
    accept: String,
}

/// A handshake that is answered with 101.
pub(super) struct Agreed {
    headers: HeaderMap,
    way: Passage,
    route: Arc<CompiledRoute>,
}

/// How what follows the handshake goes to the upstream.
enum Passage {
    /// As bytes: the upstream, and what was read of it already.
    Bytes((Stream, Bytes)),
    /// As frames that are read.
    Frames(Upstream, Compression),
}

/// The other side of a relay whose frames are read.
pub(super) enum Upstream {
    /// It has agreed: its stream, and what was read of it already.
    There(Stream, Bytes),
    /// It is opened when there is something to be sent to it.
    Late(Box<Late>),
}

/// An upstream that is opened when there is something to be sent to it.
pub(super) struct Late {
    upgrade: Upgrade,
    later: Later,
}

/// A connection that becomes a relay.
pub(crate) struct Switch {
    pub(crate) tally: Tally,
    /// Of the 101 response.
    pub(crate) headers: HeaderMap,
    /// The client, and what it sent behind its request; there once 101 was sent.
    pub(crate) client: Option<(Stream, Bytes)>,
    way: Passage,
    route: Arc<CompiledRoute>,
    control: Control,
}

/// What came of a handshake with an upstream.
pub(super) enum Opened {
    /// It agreed.
    Agreed(Box<Agreed>),
    /// It answered something else.
    Refused(Response<Body>),
}

/// Whether a request is a WebSocket handshake; other upgrades are ignored (RFC 9110, section 7.8). Takes the key
/// only from handshakes that are right. On HTTP/2 no request comes with these fields, but for those made of an
/// extended CONNECT.
pub(super) fn handshake(x: &Exchange, body: &Body) -> Result<Option<Upgrade>> {
    let asked = matches!(x.version, Version::HTTP_11 | Version::HTTP_2)
        && x.headers.contains_key(UPGRADE)
        && has_token(&x.headers, &CONNECTION, "upgrade")
        && has_token(&x.headers, &UPGRADE, "websocket");
    if !asked {
        return Ok(None);
    }
    let bad = |detail| Err(Error::new(Kind::BadRequest, detail));
    if x.method != Method::GET || !body.is_end_stream() {
        return bad("a WebSocket handshake must be a GET without a body");
    }
    let mut keys = x.headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return bad("a WebSocket handshake needs one Sec-WebSocket-Key");
    };
    if !STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
        return bad("Sec-WebSocket-Key is not 16 bytes in base64");
    }
    let mut versions = x.headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    if versions.next().is_none_or(|v| v != "13") || versions.next().is_some() {
        return Err(Error::new(Kind::WebSocketVersion, "a Sec-WebSocket-Version other than 13"));
    }
    Ok(Some(Upgrade { accept: accept_of(key) }))
}

pub(crate) fn accept_of(key: &HeaderValue) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Whether a route serves the handshake.
pub(super) fn wanted(upgrade: Option<Upgrade>, route: &CompiledRoute) -> Result<Option<Upgrade>> {
    match (upgrade, &route.spec.websocket) {
        (None, _) => Ok(None),
        (Some(upgrade), Some(_)) => Ok(Some(upgrade)),
        (Some(_), None) => Err(Error::new(Kind::UpgradeRefused, "the route takes no WebSockets")),
    }
}

/// Opens a WebSocket on an upstream: only a valid 101 makes a relay, any other answer is an ordinary response. Where the
/// route says so, the client is answered first.
pub(super) async fn open(
    session: &Session,
    route: &Arc<CompiledRoute>,
    tally: &mut Tally,
    upgrade: Upgrade,
    deadline: &mut Deadline,
) -> Result<Opened> {
    let settings = settings_of(route)?;
    let asking = (settings.reads_frames || tally.chain.wants_relay()).then(|| {
        let memory = session.worker.relays().takeover_memory();
        Asking::new(settings, &tally.x.headers, memory, tally.snapshot.proxy.takeover_memory)
    });
    let asking = match (settings.frames.connect, asking) {
        (Connect::FirstMessage, Some(asking)) => return accept(route, tally, upgrade, asking),
        (_, asking) => asking,
    };
    let mut outgoing = Outgoing::new(route, &tally.x)?;
    if let Some(asking) = &asking {
        outgoing.set_extensions(&tally.x, asking.offer());
    }
    match dial(&session.worker, route, tally, &upgrade, outgoing, deadline).await? {
        Dialled::Agreed(mut headers, upstream) => {
            // Not said over HTTP/2, where nothing could take an answer for another's.
            headers.insert(SEC_WEBSOCKET_ACCEPT, upgrade.accept()?);
            let way = match asking {
                None => Passage::Bytes(upstream),
                Some(asking) => {
                    let compression = asking.settle(&mut headers)?;
                    Passage::Frames(Upstream::There(upstream.0, upstream.1), compression)
                }
            };
            Ok(Opened::Agreed(Box::new(Agreed { headers, way, route: route.clone() })))
        }
        Dialled::Refused(response) => Ok(Opened::Refused(forward::accept(response, tally))),
    }
}

/// Answers a handshake whose upstream is opened later. Of subprotocols the client gets the first that it asks for, as
/// plugins have left it; the upstream is asked for that one alone.
fn accept(route: &Arc<CompiledRoute>, tally: &mut Tally, upgrade: Upgrade, asking: Asking) -> Result<Opened> {
    let mut headers = HeaderMap::new();
    headers.insert(SEC_WEBSOCKET_ACCEPT, upgrade.accept()?);
    if let Some(protocol) = first_protocol(&tally.x.headers) {
        tally.x.headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let (compression, later) = asking.settle_client(&mut headers);
    let late = Upstream::Late(Box::new(Late { upgrade, later }));
    let way = Passage::Frames(late, compression);
    Ok(Opened::Agreed(Box::new(Agreed { headers, way, route: route.clone() })))
}

/// The first subprotocol that a client asks for.
fn first_protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let all = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let names = all.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let first = names.map(str::trim).find(|name| !name.is_empty())?;
    HeaderValue::from_str(first).ok()
}

fn settings_of(route: &CompiledRoute) -> Result<&spec::WebSocket> {
    let settings = route.spec.websocket.as_ref();
    settings.ok_or_else(|| Error::new(Kind::Internal, "the route takes no WebSockets any more"))
}

/// What an upstream has answered to a handshake.
enum Dialled {
    /// It agreed: the headers, its stream, and what was read of it already.
    Agreed(HeaderMap, (Stream, Bytes)),
    /// It answered something else.
    Refused(Response<Body>),
}

/// Asks an upstream for a WebSocket, and others as far as that is worth it.
async fn dial(
    worker: &Rc<Worker>,
    route: &Arc<CompiledRoute>,
    tally: &mut Tally,
    upgrade: &Upgrade,
    mut outgoing: Outgoing,
    deadline: &mut Deadline,
) -> Result<Dialled> {
    let Some(group) = &route.group else {
        return Err(Error::new(Kind::Internal, "the route has no upstream"));
    };
    group.count_request();
    let mut tried = Vec::new();
    let (way, group, endpoint) = loop {
        let (group, endpoint) = forward::choose(group, tally, &tried).await?;
        outgoing.set_host(&tally.x, route, &endpoint.address);
        match Way::open(worker, &group, &endpoint, deadline).await {
            Ok(way) => break (way, group, endpoint),
            Err(e) => {
                let left = tally.x.attempts < group.spec.retry.attempts;
                if !left || !forward::is_worth_a_retry(&e) || !group.take_retry() {
                    return Err(e);
                }
                tally.x.failure = Some(e.detail());
                tried.push(endpoint.id);
            }
        }
    };
    tally.connected();
    let stream = match way {
        Way::Http1(stream) => stream,
        Way::Http2(sender) => {
            let to = (&group, &endpoint);
            let connected = way::connect(worker, to, sender, &tally.x, &outgoing, deadline).await;
            tally.responded();
            return Ok(match connected? {
                Connected::Tunnel(headers, stream) => Dialled::Agreed(headers, (stream, Bytes::new())),
                Connected::Refused(response) => Dialled::Refused(response),
            });
        }
    };
    let timeouts = &group.spec.timeouts;
    let patience = Patience { response: timeouts.response, client: timeouts.response };
    let request = outgoing.parts(&tally.x, Some(b"websocket"));
    let connection = client::Connection::new(stream, None);
    let answer = client::send(connection, request, Body::Empty, patience, deadline, &mut Patient).await;
    tally.responded();
    match answer.map_err(|failure| failure.error)? {
        Answer::Switched(head, stream, rest) => Ok(Dialled::Agreed(agreed(head, upgrade)?, (stream, rest))),
        Answer::Response(head, body) => {
            let mut response = Response::new(body);
            *response.status_mut() = head.status;
            *response.headers_mut() = head.headers;
            Ok(Dialled::Refused(response))
        }
    }
}

impl Upgrade {
    /// What tells the client that its handshake was understood.
    fn accept(&self) -> Result<HeaderValue> {
        HeaderValue::try_from(&self.accept)
            .map_err(|e| Error::because(Kind::Internal, "an answer that is no field", e))
    }
}

impl Late {
    /// Opens the upstream, with what the client has asked for in its handshake.
    pub(super) async fn open(
        &self,
        tally: &mut Tally,
        route: &Arc<CompiledRoute>,
    ) -> Result<(Stream, Bytes, Option<Agreement>)> {
        let worker = Worker::current().ok_or_else(|| Error::new(Kind::Internal, "no worker"))?;
        let mut outgoing = Outgoing::new(route, &tally.x)?;
        outgoing.set_extensions(&tally.x, self.later.offer.clone());
        let asked = first_protocol(outgoing.parts(&tally.x, None).headers);
        let deadline = &mut Deadline::default();
        match dial(&worker, route, tally, &self.upgrade, outgoing, deadline).await? {
            Dialled::Agreed(headers, (stream, rest)) => {
                let agreement = self.later.settle(&headers)?;
                let protocol = headers.get(SEC_WEBSOCKET_PROTOCOL);
                if protocol.is_some_and(|protocol| Some(protocol) != asked.as_ref()) {
                    return Err(Error::new(
                        Kind::UpstreamInvalid,
                        "101 with a subprotocol that was not asked for",
                    ));
                }
                Ok((stream, rest, agreement))
            }
            Dialled::Refused(response) => {
                let status = response.status();
                Err(Error::because(Kind::UpstreamInvalid, REFUSED, status.to_string()))
            }
        }
    }
}

/// The headers of a 101 that is valid (RFC 6455, section 4.1).
fn agreed(head: ResponseHead, upgrade: &Upgrade) -> Result<HeaderMap> {
    let mut headers = head.headers;
    let invalid = |detail| Err(Error::new(Kind::UpstreamInvalid, detail));
    if !has_token(&headers, &UPGRADE, "websocket") || !has_token(&headers, &CONNECTION, "upgrade") {
        return invalid("101 without Upgrade: websocket and Connection: Upgrade");
    }
    let mut accepts = headers.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    if accepts.next().is_none_or(|a| a.as_bytes() != upgrade.accept.as_bytes()) || accepts.next().is_some() {
        return invalid("101 with a wrong Sec-WebSocket-Accept");
    }
    headers::remove_hop_by_hop(&mut headers);
    headers.remove(http::header::CONTENT_LENGTH);
    Ok(headers)
}

impl Switch {
    pub(super) fn new(session: &Session, mut tally: Tally, agreed: Box<Agreed>) -> Self {
        let Agreed { mut headers, way, route } = *agreed;
        let frames = matches!(way, Passage::Frames(..));
        if let Some(cookie) = tally.choice.as_ref().and_then(|choice| choice.set_cookie.clone()) {
            headers.append(SET_COOKIE, cookie);
        }
        tally.x.status = StatusCode::SWITCHING_PROTOCOLS;
        tally.upgraded();
        let control = session.worker.enter(Entering {
            id: tally.x.id,
            client: tally.x.client,
            carrier: Carrier::Http(route.clone()),
            generation: tally.snapshot.generation,
            frames,
        });
        if frames {
            // Plugins are told what was agreed on.
            tally.x.response_headers = headers.clone();
        }
        Switch { tally, headers, client: None, way, route, control }
    }

    /// Relays until an end, which is told to the log.
    pub(crate) async fn run(mut self) {
        let Some((client, from_client)) = self.client.take() else { return };
        let (route, control) = (self.route, self.control);
        let (carried, end) = match self.way {
            Passage::Frames(upstream, compression) => {
                let relayed = Relayed { client, head: from_client, upstream, compression, route, control };
                // Boxed: most relays are not of this kind.
                Box::pin(relaying::run(&mut self.tally, relayed)).await
            }
            Passage::Bytes((upstream, from_upstream)) => {
                let times =
                    route.spec.websocket.as_ref().map(|settings| (settings.idle_timeout, settings.age()));
                let times = times.unwrap_or_default();
                drop(route);
                let head = (from_client, from_upstream);
                relay::relay(client, upstream, head, times, Farewell::WebSocket, control).await
            }
        };
        self.tally.relayed(carried.to_upstream, carried.to_client);
        let error = match (end.reason(), end) {
            (Some((kind, detail)), End::Failed(e, _)) => Some(Error::because(kind, detail, e)),
            (reason, _) => reason.map(|(kind, detail)| Error::new(kind, detail)),
        };
        self.tally.end(error.as_ref());
    }
}

/// Nobody who could leave meanwhile, or wants to be told.
pub(super) struct Patient;

impl Downstream for Patient {
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn informational(&mut self, _: &mut Context<'_>, _: &ResponseHead) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_as_in_rfc_6455_section_1_3() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept_of(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
