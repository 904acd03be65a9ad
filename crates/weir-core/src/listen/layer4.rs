//! Layer 4: bytes of a client to an upstream, routed by the TLS server name.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode};
use tokio::io::AsyncReadExt;
use weir_plugin::{Connection, Exchange};

use super::CompiledListener;
use super::limits::Census;
use crate::error::{Blame, Error, Kind};
use crate::log::{Record, Timings};
use crate::net::{Deadline, Rewind, Stream};
use crate::relay::{self, Carried, Carrier, Entering, Farewell};
use crate::route::CompiledTcpRoute;
use crate::snapshot::Current;
use crate::tls::sniff::{self, Sniff};
use crate::upstream::{self, Choice};
use crate::worker::Worker;

/// What the access log will be told.
struct Story {
    exchange: Exchange,
    started: SystemTime,
    since: Instant,
    timings: Timings,
    snapshot: Current,
}

/// Connects an accepted connection to the upstream of its route. The relay goes on in a task of its own.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    census: &Census,
    listener: Arc<CompiledListener>,
    stream: Rewind<Stream>,
    connection: Rc<Connection>,
) {
    let mut story = Story::new(&worker, census, connection.clone());
    let mut deadline = Deadline::default();
    let opened = open(&listener, stream, &mut story, &mut deadline).await;
    let Opened { client, head, upstream, choice, route } = match opened {
        Ok(opened) => opened,
        Err(error) => return story.end(&Carried::default(), Some((error.kind(), error.detail()))),
    };
    let idle = (route.spec.idle_timeout, Duration::ZERO);
    let control = worker.enter(Entering {
        id: story.exchange.id,
        client: connection.peer.ip(),
        carrier: Carrier::Tcp(route),
        generation: story.snapshot.generation,
        frames: false,
    });
    let relay = relay::relay(client, upstream, (head, Bytes::new()), idle, Farewell::None, control);
    // On the heap, so that the task is no larger than the relay while it runs.
    let mut story = Box::new(story);
    story.exchange.status = StatusCode::OK;
    worker.spawn_for(&connection, async move {
        let (carried, end) = relay.await;
        story.end(&carried, end.reason());
        drop(choice);
    });
}

/// All that a relay needs.
struct Opened {
    client: Stream,
    /// What the client has sent already.
    head: Bytes,
    upstream: Stream,
    choice: Choice,
    route: Arc<CompiledTcpRoute>,
}

async fn open(
    listener: &CompiledListener,
    stream: Rewind<Stream>,
    story: &mut Story,
    deadline: &mut Deadline,
) -> Result<Opened, Error> {
    let (mut head, mut client) = stream.into_parts();
    let name = &listener.spec.name;
    let routes = story.snapshot.clone();
    let sni = match &story.exchange.connection.tls {
        Some(tls) => tls.sni.as_deref().map(Box::from),
        None if routes.tcp.needs_sni(name) => {
            let peeked = deadline.bound(listener.spec.handshake_timeout, peek(&mut client, head)).await;
            let late = |_| Error::new(Kind::RequestTimeout, "no TLS hello in time");
            let gone =
                |error| Error::because(Kind::ClientGone, "the client closed before its TLS hello", error);
            let (sni, bytes) = peeked.map_err(late)?.map_err(gone)?;
            head = bytes;
            sni
        }
        None => None,
    };
    let no_route = || Error::new(Kind::NoRoute, "no route for this server name");
    let route = routes.tcp.find(name, sni.as_deref()).ok_or_else(no_route)?.clone();
    story.exchange.route = route.spec.name.clone();
    story.exchange.upstream = Some(route.group.spec.name.clone());
    let (choice, upstream) = connect(&route, story, deadline).await?;
    story.timings.connected = Some(story.since.elapsed());
    Ok(Opened { client, head, upstream, choice, route })
}

/// Reads until it is known which server a TLS client asks for, or that it is none. What was read comes back.
async fn peek(client: &mut Stream, head: Bytes) -> io::Result<(Option<Box<str>>, Bytes)> {
    let mut bytes = BytesMut::from(head);
    loop {
        match sniff::client_hello(&bytes) {
            Sniff::Hello { sni, .. } => return Ok((sni, bytes.freeze())),
            Sniff::NotTls => return Ok((None, bytes.freeze())),
            Sniff::NeedMore => {}
        }
        bytes.reserve(1024);
        if client.read_buf(&mut bytes).await? == 0 {
            return match bytes.is_empty() {
                true => Err(io::ErrorKind::UnexpectedEof.into()),
                false => Ok((None, bytes.freeze())),
            };
        }
    }
}

/// Connects to an endpoint of the route's group: nothing was sent yet, so that another may be tried.
async fn connect(
    route: &CompiledTcpRoute,
    story: &mut Story,
    deadline: &mut Deadline,
) -> Result<(Choice, Stream), Error> {
    let group = &route.group;
    group.count_request();
    let mut tried = Vec::new();
    loop {
        let none = || Error::new(Kind::NoEndpoint, "no endpoint has an address");
        let choice = group.choose(&story.exchange, None, &tried).ok_or_else(none)?;
        story.exchange.attempts += 1;
        story.exchange.endpoint = Some(choice.endpoint.address.clone());
        match upstream::connect(group, &choice.endpoint, deadline).await {
            Ok(stream) => return Ok((choice, stream)),
            Err(error) => {
                let again = story.exchange.attempts < group.spec.retry.attempts
                    && error.kind().blame() == Blame::Upstream
                    && group.take_retry();
                if !again {
                    return Err(error);
                }
                tracing::debug!(endpoint = %choice.endpoint.address, %error, "trying another endpoint");
                tried.push(choice.endpoint.id);
            }
        }
    }
}

impl Story {
    fn new(worker: &Worker, census: &Census, connection: Rc<Connection>) -> Self {
        let id = worker.next_id();
        let request_id = HeaderValue::from_str(&format!("{:032x}", fastrand::u128(..)));
        let exchange = Exchange {
            request_id: request_id.unwrap_or(HeaderValue::from_static("-")),
            // A tunnel, as HTTP would call it.
            method: Method::CONNECT,
            ..Exchange::new(id, connection, worker.no_name())
        };
        Story {
            exchange,
            started: SystemTime::now(),
            since: Instant::now(),
            timings: Timings::default(),
            snapshot: census.snapshot(worker),
        }
    }

    /// Tells the access log how it went.
    fn end(&mut self, carried: &Carried, reason: Option<(Kind, &str)>) {
        if let Some((kind, _)) = reason.filter(|_| self.timings.connected.is_none()) {
            self.exchange.status = kind.status();
        }
        let Some(log) = &self.snapshot.access_log else { return };
        self.timings.total = self.since.elapsed();
        log.record(&Record {
            exchange: &self.exchange,
            target: "",
            started: self.started,
            timings: self.timings,
            bytes_in: carried.to_upstream,
            bytes_out: carried.to_client,
            reason: reason.map(|(kind, _)| kind),
            detail: reason.map(|(_, detail)| detail),
            upgraded: true,
        });
    }
}
