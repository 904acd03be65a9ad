//! The connections of one worker to all endpoints.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Lease;
use super::connect::{connect_for_requests, too_late};
use super::endpoint::Endpoint;
use super::group::Group;
use super::http2::Http2Connection;
use crate::error::{Error, Kind};
use crate::http1::client::{Connection, Home};
use crate::net::deadline::Coarse;
use crate::net::{Deadline, Socket, Stream};
use crate::spec::Protocol;
use crate::worker::{Stage, Worker};

/// How often idle connections are looked after.
const SWEEP: Duration = Duration::from_secs(1);

/// Idle connections of one worker to all endpoints.
#[derive(Default)]
pub struct Pools {
    /// By endpoint id.
    slots: RefCell<Vec<Option<Rc<Slot>>>>,
    /// Tells the sweeper that there is something to look after.
    filled: Rc<Notify>,
}

/// The connections of one worker to one endpoint.
struct Slot {
    idle: RefCell<IdleList<Connection>>,
    shared: RefCell<Vec<Rc<Http2Connection>>>,
    /// An attempt to connect that all who need an HTTP/2 connection wait for.
    attempt: RefCell<Option<Rc<Attempt>>>,
    /// What the endpoint spoke last; `None`: not known yet.
    speaks_http2: Cell<Option<bool>>,
    home: Rc<Return>,
    filled: Rc<Notify>,
}

/// Brings connections back to their slot. Connections hold this and not the slot, which holds them.
struct Return(Weak<Slot>);

/// Connections that wait for a request, the last to come the first to go.
struct IdleList<C> {
    /// The longest idle in front.
    connections: VecDeque<(C, Coarse)>,
    max: usize,
    timeout: Duration,
}

/// What [`IdleList`] asks of a connection.
trait Idle {
    /// Whether it is of no more use.
    fn is_stale(&mut self) -> bool;
}

/// An attempt to connect, and how it ended. A failure is the same for all who waited.
#[derive(Default)]
struct Attempt {
    failure: Cell<Option<(Kind, &'static str)>>,
    is_over: Cell<bool>,
    over: Notify,
}

/// A connection to an endpoint: a pooled one, or a fresh one if there is none or `fresh` asks for it. Bounded by
/// the group's connect timeout. Marks the endpoint as refusing if it refuses.
///
/// An HTTP/2 connection is shared, and one that failed a request takes no more: there `fresh` asks for nothing. All
/// who need one at once wait for the same attempt.
///
/// # Errors
/// `Connect`, `ConnectTimeout`, `UpstreamTls`, `NoEndpoint`; `Overloaded` when weir itself lacks file descriptors.
pub async fn lease(
    worker: &Rc<Worker>,
    group: &Arc<Group>,
    endpoint: &Arc<Endpoint>,
    fresh: bool,
    deadline: &mut Deadline,
) -> Result<Lease, Error> {
    let slot = worker.pools.slot(group, endpoint);
    if let Some(lease) = slot.checkout(fresh) {
        return Ok(lease);
    }
    // On the heap: the task of a connection should have no room for what most of its requests do not need.
    Box::pin(open(slot, group, endpoint, deadline)).await
}

/// A fresh connection, or a place on one that is being made.
async fn open(
    slot: Rc<Slot>,
    group: &Arc<Group>,
    endpoint: &Arc<Endpoint>,
    deadline: &mut Deadline,
) -> Result<Lease, Error> {
    if !slot.expects_http2(group) {
        let (stream, is_http2) = connect_for_requests(group, endpoint, deadline).await?;
        if !is_http2 {
            slot.speaks_http2.set(Some(false));
            return Ok(Lease::Http1 { connection: slot.adopt(stream), reused: false });
        }
        let opened = deadline.run(slot.open_http2(group, stream)).await;
        opened.unwrap_or_else(|_| Err(too_late(deadline)))?;
        if let Some(lease) = slot.checkout(true) {
            return Ok(lease);
        }
    }
    let waited = deadline.bound(group.spec.timeouts.connect, slot.wait_for_http2(group, endpoint)).await;
    waited.unwrap_or_else(|_| Err(too_late(deadline)))
}

/// Looks after the idle connections of a worker: closes those whose time is over or that their upstream closed.
/// Sleeps while there are none. Ends at [`Stage::Ending`], and closes them all then. Cancel safe.
pub async fn sweep(worker: Rc<Worker>) {
    let mut stage = worker.follow_stage();
    loop {
        let pause = async {
            if worker.pools.is_empty() {
                worker.pools.filled.notified().await;
            }
            tokio::time::sleep(SWEEP).await;
        };
        tokio::select! {
            () = pause => worker.pools.sweep(Instant::now(), Coarse::now()),
            changed = stage.changed() => {
                if changed.is_err() || *stage.borrow_and_update() == Stage::Ending {
                    worker.pools.clear();
                    return;
                }
            }
        }
    }
}

impl Pools {
    fn slot(&self, group: &Group, endpoint: &Endpoint) -> Rc<Slot> {
        let mut slots = self.slots.borrow_mut();
        if slots.len() <= endpoint.id {
            slots.resize_with(endpoint.id + 1, || None);
        }
        // Just made long enough.
        let slot = slots[endpoint.id].get_or_insert_with(|| Slot::new(self.filled.clone()));
        slot.idle.borrow_mut().set_bounds(group.spec.max_idle, group.spec.idle_timeout);
        slot.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.borrow().iter().flatten().all(|slot| slot.is_empty())
    }

    pub(super) fn sweep(&self, now: Instant, coarse: Coarse) {
        for place in self.slots.borrow_mut().iter_mut() {
            let Some(slot) = place else { continue };
            let timeout = slot.idle.borrow().timeout;
            slot.idle.borrow_mut().sweep(coarse);
            slot.shared.borrow_mut().retain(|connection| {
                let idle = connection.idle_since();
                connection.is_usable() && idle.is_none_or(|since| now.duration_since(since) < timeout)
            });
            // A connection that is out on a request still knows its way home by the slot.
            if slot.is_empty() && Rc::strong_count(slot) == 1 && Rc::strong_count(&slot.home) == 1 {
                *place = None;
            }
        }
    }

    fn clear(&self) {
        let slots = std::mem::take(&mut *self.slots.borrow_mut());
        drop(slots);
    }
}

impl Slot {
    fn new(filled: Rc<Notify>) -> Rc<Self> {
        Rc::new_cyclic(|slot| Slot {
            idle: RefCell::new(IdleList::new()),
            shared: RefCell::default(),
            attempt: RefCell::default(),
            speaks_http2: Cell::new(None),
            home: Rc::new(Return(slot.clone())),
            filled,
        })
    }

    fn is_empty(&self) -> bool {
        self.idle.borrow().connections.is_empty() && self.shared.borrow().is_empty()
    }

    /// A connection that is there: with room for a stream, or idle unless a fresh one is asked for.
    fn checkout(&self, fresh: bool) -> Option<Lease> {
        let sender = self.shared.borrow().iter().find_map(Http2Connection::sender);
        if let Some(sender) = sender {
            return Some(Lease::Http2(sender));
        }
        if fresh {
            return None;
        }
        let taken = self.idle.borrow_mut().take(Coarse::now);
        taken.map(|connection| Lease::Http1 { connection, reused: true })
    }

    /// Whether a fresh connection would speak HTTP/2, or might: then it is made once for all who ask.
    fn expects_http2(&self, group: &Group) -> bool {
        match group.spec.protocol {
            Protocol::Http1 => false,
            Protocol::Http2 => true,
            Protocol::Auto => group.spec.tls.is_some() && self.speaks_http2.get() != Some(false),
        }
    }

    fn adopt(&self, stream: Stream) -> Connection {
        Connection::new(stream, Some(self.home.clone()))
    }

    async fn open_http2(&self, group: &Group, stream: Stream) -> Result<(), Error> {
        let patience = group.spec.timeouts.idle.as_millis();
        if let (Some(Socket::Tcp(socket)), Ok(millis @ 1..)) = (stream.socket(), u32::try_from(patience)) {
            // A host that vanished would hold every request that shares the connection for as long as the kernel
            // sends again, a quarter of an hour. It is a precaution: without it all works as well as before.
            let _ = rustix::net::sockopt::set_tcp_user_timeout(socket, millis);
        }
        let connection = Http2Connection::open(stream).await?;
        self.speaks_http2.set(Some(true));
        self.shared.borrow_mut().push(connection);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for attempts to connect until one leaves a connection with room. Not bounded in time.
    async fn wait_for_http2(
        self: &Rc<Self>,
        group: &Arc<Group>,
        endpoint: &Arc<Endpoint>,
    ) -> Result<Lease, Error> {
        loop {
            if let Some(lease) = self.checkout(true) {
                return Ok(lease);
            }
            if !self.expects_http2(group) {
                // It turned out to speak HTTP/1.1. What the attempt opened serves whoever is first.
                if let Some(lease) = self.checkout(false) {
                    return Ok(lease);
                }
                let (stream, is_http2) =
                    connect_for_requests(group, endpoint, &mut Deadline::default()).await?;
                if !is_http2 {
                    return Ok(Lease::Http1 { connection: self.adopt(stream), reused: false });
                }
                self.open_http2(group, stream).await?;
                continue;
            }
            let attempt = self.attempt(group, endpoint);
            while !attempt.is_over.get() {
                attempt.over.notified().await;
            }
            if let Some((kind, detail)) = attempt.failure.get() {
                return Err(Error::new(kind, detail));
            }
        }
    }

    /// The attempt under way, or a new one. It runs on its own: a client that goes away takes it from nobody.
    fn attempt(self: &Rc<Self>, group: &Arc<Group>, endpoint: &Arc<Endpoint>) -> Rc<Attempt> {
        if let Some(attempt) = &*self.attempt.borrow() {
            return attempt.clone();
        }
        let attempt = Rc::new(Attempt::default());
        *self.attempt.borrow_mut() = Some(attempt.clone());
        let running = Running { slot: self.clone(), attempt: attempt.clone() };
        let (group, endpoint) = (group.clone(), endpoint.clone());
        tokio::task::spawn_local(async move {
            if let Err(error) = running.slot.connect(&group, &endpoint).await {
                tracing::debug!(endpoint = %endpoint.address, %error, "no HTTP/2 connection to the endpoint");
                running.attempt.failure.set(Some((error.kind(), error.detail())));
            }
        });
        attempt
    }

    async fn connect(&self, group: &Arc<Group>, endpoint: &Arc<Endpoint>) -> Result<(), Error> {
        let mut deadline = Deadline::default();
        let (stream, chosen) = connect_for_requests(group, endpoint, &mut deadline).await?;
        let is_plain = stream.as_plain().is_some();
        match group.spec.protocol {
            Protocol::Http2 if !is_plain && !chosen => {
                Err(Error::new(Kind::UpstreamTls, "the endpoint does not offer HTTP/2 (ALPN h2)"))
            }
            Protocol::Auto if !chosen => {
                self.speaks_http2.set(Some(false));
                let connection = self.adopt(stream);
                self.home.put(connection);
                Ok(())
            }
            _ => {
                let opened = deadline.run(self.open_http2(group, stream)).await;
                opened.unwrap_or_else(|_| Err(too_late(&deadline)))
            }
        }
    }
}

/// An attempt that is running. However it ends, those who wait are told.
struct Running {
    slot: Rc<Slot>,
    attempt: Rc<Attempt>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.slot.attempt.borrow_mut().take();
        self.attempt.is_over.set(true);
        self.attempt.over.notify_waiters();
    }
}

impl Home for Return {
    fn put(&self, connection: Connection) {
        // Without a slot the worker is ending.
        let Some(slot) = self.0.upgrade() else { return };
        let surplus = slot.idle.borrow_mut().put(connection, Coarse::now());
        slot.filled.notify_one();
        drop(surplus);
    }
}

impl Idle for Connection {
    fn is_stale(&mut self) -> bool {
        Connection::is_stale(self)
    }
}

impl<C: Idle> IdleList<C> {
    fn new() -> Self {
        IdleList { connections: VecDeque::new(), max: 0, timeout: Duration::ZERO }
    }

    fn set_bounds(&mut self, max: usize, timeout: Duration) {
        (self.max, self.timeout) = (max, timeout);
    }

    /// Adds a connection; gives back the one that is too many, if any.
    fn put(&mut self, connection: C, now: Coarse) -> Option<C> {
        if self.max == 0 {
            return Some(connection);
        }
        let surplus = if self.connections.len() >= self.max { self.connections.pop_front() } else { None };
        self.connections.push_back((connection, now));
        surplus.map(|(connection, _)| connection)
    }

    /// The connection that came last, of those that are still good; stale ones on the way are closed.
    fn take(&mut self, now: impl Fn() -> Coarse) -> Option<C> {
        while let Some((mut connection, since)) = self.connections.pop_back() {
            if now().since(since) >= self.timeout {
                // All that came before are older still.
                self.connections.clear();
                return None;
            }
            if !connection.is_stale() {
                return Some(connection);
            }
        }
        None
    }

    /// Closes what is stale or was idle for too long.
    fn sweep(&mut self, now: Coarse) {
        let timeout = self.timeout;
        self.connections
            .retain_mut(|(connection, since)| now.since(*since) < timeout && !connection.is_stale());
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
pub(super) mod tests;
