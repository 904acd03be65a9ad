//! What others ask of a relay whose frames are read: hooks, timers and other relays that send into it or close it, and
//! operators who look at it. They leave it here and wake the relay, which takes it when it comes to it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::mpsc;
use weir_plugin::Error;
use weir_plugin::error::Result;
use weir_plugin::websocket::{CloseReason, ClosedBy, Direction, MOST_GROUPS, Opcode, Relay, RelayLimits};

use super::registry::{Entry, Registry};
use super::tap::Tapped;
use crate::spec::{Frames, QueueFull};

/// What a message costs in a queue beside its bytes.
const OVERHEAD: usize = 64;

/// What was asked of a relay and not yet taken.
#[derive(Debug)]
pub(crate) struct Live {
    /// Whether there is something to be taken: looked at with every frame, without a lock.
    asked: AtomicBool,
    inbox: Mutex<Inbox>,
    /// The most bytes that wait for a side.
    queue: AtomicUsize,
    /// Whether what does not fit is dropped; else the relay ends.
    drops: AtomicBool,
    /// What did not fit.
    dropped: AtomicU64,
    /// Whether an operator looks at it.
    tapped: AtomicBool,
    tap: Mutex<Option<Tap>>,
}

#[derive(Debug, Default)]
struct Inbox {
    /// By direction.
    queues: [VecDeque<(Opcode, Bytes)>; 2],
    bytes: [usize; 2],
    close: Option<(CloseReason, ClosedBy)>,
    limits: Option<RelayLimits>,
    groups: Vec<Arc<str>>,
    state: State,
}

/// Whether something can be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Its frames pass unread.
    Passing,
    Ended,
}

/// An operator who looks.
#[derive(Debug)]
struct Tap {
    to: mpsc::Sender<Tapped>,
    lost: u64,
}

/// The place of a direction in a pair.
pub(crate) fn index(direction: Direction) -> usize {
    match direction {
        Direction::ToUpstream => 0,
        Direction::ToClient => 1,
    }
}

impl Live {
    pub(super) fn new(frames: &Frames) -> Self {
        let live = Live {
            asked: AtomicBool::new(false),
            inbox: Mutex::default(),
            queue: AtomicUsize::new(0),
            drops: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            tapped: AtomicBool::new(false),
            tap: Mutex::default(),
        };
        live.configure(frames);
        live
    }

    /// Takes the bounds of a route.
    pub(crate) fn configure(&self, frames: &Frames) {
        self.queue.store(frames.queue, Ordering::Relaxed);
        self.drops.store(frames.queue_full == QueueFull::Drop, Ordering::Relaxed);
    }

    /// Whether something was asked since the last time.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.asked.swap(false, Ordering::Acquire)
    }

    /// Whether something was asked that nobody was told of yet.
    pub(crate) fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Whether an operator looks at it.
    pub(crate) fn is_tapped(&self) -> bool {
        self.tapped.load(Ordering::Relaxed)
    }

    /// The next that is to be sent this way.
    pub(crate) fn next(&self, direction: Direction) -> Option<(Opcode, Bytes)> {
        let mut inbox = self.inbox();
        let Inbox { queues, bytes, .. } = &mut *inbox;
        let (opcode, data) = queues.get_mut(index(direction))?.pop_front()?;
        if let Some(bytes) = bytes.get_mut(index(direction)) {
            *bytes = bytes.saturating_sub(data.len() + OVERHEAD);
        }
        Some((opcode, data))
    }

    /// Why it is to end, if it is.
    pub(crate) fn close(&self) -> Option<(CloseReason, ClosedBy)> {
        self.inbox().close.clone()
    }

    /// Bounds in the place of those of its route, where some were set.
    pub(crate) fn limits(&self) -> Option<RelayLimits> {
        self.inbox().limits.clone()
    }

    /// From now on its frames pass unread. The groups that it was in.
    pub(super) fn pass(&self) -> Vec<Arc<str>> {
        let mut inbox = self.inbox();
        inbox.state = State::Passing;
        inbox.queues = Default::default();
        std::mem::take(&mut inbox.groups)
    }

    /// It has ended. The groups that it was in.
    pub(super) fn end(&self) -> Vec<Arc<str>> {
        let mut inbox = self.inbox();
        inbox.state = State::Ended;
        inbox.queues = Default::default();
        *lock(&self.tap) = None;
        std::mem::take(&mut inbox.groups)
    }

    pub(super) fn groups(&self) -> Vec<Arc<str>> {
        self.inbox().groups.clone()
    }

    /// What did not fit into its queues so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Has an operator look. False where one does already.
    pub(super) fn look(&self, to: mpsc::Sender<Tapped>) -> bool {
        let mut tap = lock(&self.tap);
        if tap.as_ref().is_some_and(|tap| !tap.to.is_closed()) {
            return false;
        }
        *tap = Some(Tap { to, lost: 0 });
        self.tapped.store(true, Ordering::Release);
        true
    }

    /// Shows something to the operator who looks.
    pub(crate) fn show(&self, mut tapped: Tapped) {
        let mut tap = lock(&self.tap);
        let Some(Tap { to, lost }) = &mut *tap else { return };
        tapped.lost = *lost;
        match to.try_send(tapped) {
            Ok(()) => *lost = 0,
            Err(mpsc::error::TrySendError::Full(_)) => *lost += 1,
            Err(mpsc::error::TrySendError::Closed(_)) => {
                *tap = None;
                self.tapped.store(false, Ordering::Release);
            }
        }
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    fn ask<T>(&self, f: impl FnOnce(&mut Inbox) -> Result<T>) -> Result<T> {
        let mut inbox = self.inbox();
        match inbox.state {
            State::Open => {}
            State::Passing => return Err(Error::Failed("the frames of this relay pass unread".to_owned())),
            State::Ended => return Err(Error::Failed("the relay has ended".to_owned())),
        }
        let done = f(&mut inbox);
        drop(inbox);
        self.asked.store(true, Ordering::Release);
        done
    }

    fn send(&self, to: Direction, opcode: Opcode, data: Bytes) -> Result<()> {
        let most = self.queue.load(Ordering::Relaxed);
        self.ask(|inbox| {
            if inbox.close.is_some() {
                return Err(Error::Failed("the relay is being closed".to_owned()));
            }
            let Inbox { queues, bytes, close, .. } = inbox;
            let (Some(queue), Some(bytes)) = (queues.get_mut(index(to)), bytes.get_mut(index(to))) else {
                return Ok(());
            };
            let more = *bytes + data.len() + OVERHEAD;
            if more > most && !queue.is_empty() || data.len() > most {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                if !self.drops.load(Ordering::Relaxed) {
                    queues.iter_mut().for_each(VecDeque::clear);
                    let slow = CloseReason::new(1008, "too slow to take what was sent")?;
                    *close = Some((slow, ClosedBy::Weir));
                }
                return Err(Error::TooLarge(most as u64));
            }
            *bytes = more;
            queue.push_back((opcode, data));
            Ok(())
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one of these locks can panic halfway through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A relay whose frames are read, for whoever has something to ask of it. May outlive it.
#[derive(Debug)]
pub(crate) struct Handle {
    entry: Arc<Entry>,
    registry: Weak<Registry>,
}

impl Handle {
    pub(super) fn new(entry: Arc<Entry>, registry: &Arc<Registry>) -> Self {
        Handle { entry, registry: Arc::downgrade(registry) }
    }

    fn live(&self) -> Result<&Live> {
        let unread = || Error::Failed("the frames of this relay pass unread".to_owned());
        self.entry.live.as_deref().ok_or_else(unread)
    }
}

impl Relay for Handle {
    fn id(&self) -> u64 {
        self.entry.id
    }

    fn route(&self) -> Arc<str> {
        self.entry.route_name()
    }

    fn send(&self, to: Direction, opcode: Opcode, data: Bytes) -> Result<()> {
        let sent = self.live()?.send(to, opcode, data);
        self.entry.wake();
        sent
    }

    fn close(&self, close: CloseReason) -> Result<()> {
        self.entry.close(close, ClosedBy::Plugin)
    }

    fn join(&self, group: &str) -> Result<()> {
        let (live, registry) = (self.live()?, self.registry.upgrade());
        let Some(registry) = registry else { return Ok(()) };
        let name: Arc<str> = group.into();
        // While the inbox is locked: a relay that ends leaves all groups afterwards.
        live.ask(|inbox| {
            if inbox.groups.iter().any(|joined| **joined == *name) {
                return Ok(());
            }
            if inbox.groups.len() >= MOST_GROUPS {
                return Err(Error::TooLarge(MOST_GROUPS as u64));
            }
            registry.groups.insert(&name, &self.entry);
            inbox.groups.push(name);
            Ok(())
        })
    }

    fn leave(&self, group: &str) -> bool {
        let Ok(live) = self.live() else { return false };
        let left = live.ask(|inbox| {
            let before = inbox.groups.len();
            inbox.groups.retain(|joined| **joined != *group);
            let left = inbox.groups.len() < before;
            if left && let Some(registry) = self.registry.upgrade() {
                registry.groups.remove(group, self.entry.id);
            }
            Ok(left)
        });
        left.unwrap_or(false)
    }

    fn limit(&self, limits: RelayLimits) {
        let Ok(live) = self.live() else { return };
        let set = live.ask(|inbox| {
            let known = inbox.limits.take().unwrap_or_default();
            inbox.limits = Some(RelayLimits {
                max_message: limits.max_message.or(known.max_message),
                idle_timeout: limits.idle_timeout.or(known.idle_timeout),
                max_age: limits.max_age.or(known.max_age),
                ping_interval: limits.ping_interval.or(known.ping_interval),
            });
            Ok(())
        });
        if set.is_ok() {
            self.entry.wake();
        }
    }
}

impl Entry {
    /// Ends it: with this close frame where its frames are read, else as a reload does.
    ///
    /// # Errors
    /// Where it has ended.
    pub(super) fn close(&self, close: CloseReason, by: ClosedBy) -> Result<()> {
        let Some(live) = &self.live else {
            self.tell(super::Order::Close);
            return Ok(());
        };
        let asked = live.ask(|inbox| {
            inbox.close.get_or_insert((close, by));
            Ok(())
        });
        if asked.is_err() && !live.has_ended() {
            self.tell(super::Order::Close);
            return Ok(());
        }
        self.wake();
        asked
    }
}

impl Live {
    pub(super) fn is_passing(&self) -> bool {
        self.inbox().state == State::Passing
    }

    fn has_ended(&self) -> bool {
        self.inbox().state == State::Ended
    }
}
