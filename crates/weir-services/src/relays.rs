//! WebSocket relays without connections, for tests: what is done to one is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use weir_plugin::error::{Error, Result};
use weir_plugin::services::WebSockets;
use weir_plugin::websocket::{CloseReason, Direction, MOST_GROUPS, Opcode, Relay, RelayLimits};

/// Why nothing can be done to a relay any more.
const ENDED: &str = "the websocket has ended";

/// The code that ends a relay whose frames pass unread: come again.
const RESTART: i64 = 1012;

/// Relays of a test. A clone has the same ones.
#[derive(Clone, Debug, Default)]
pub struct NotedRelays(Arc<Mutex<BTreeMap<u64, Noted>>>);

/// What was done to a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A message was sent to one side.
    Sent {
        /// Which side.
        to: Direction,
        /// What it carries.
        opcode: Opcode,
        /// The whole of it.
        data: Bytes,
    },
    /// It was ended.
    Closed(CloseReason),
    /// Bounds were set.
    Limited(RelayLimits),
}

/// A relay that lives.
#[derive(Debug)]
struct Noted {
    route: Arc<str>,
    groups: BTreeSet<String>,
    done: Vec<Done>,
    state: State,
}

/// What can be done to a relay that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Anything.
    Read,
    /// Its frames pass unread: it can be ended, with a code of weir's.
    Passing,
    /// Nothing more: it was told to end.
    Closed,
}

/// What plugins get of a relay.
#[derive(Debug)]
struct Handle {
    id: u64,
    route: Arc<str>,
    relays: NotedRelays,
}

impl NotedRelays {
    /// A relay of this id and route, in the place of one of the same id.
    pub fn open(&self, id: u64, route: &str, groups: impl IntoIterator<Item = String>) -> Arc<dyn Relay> {
        let route: Arc<str> = route.into();
        let groups = groups.into_iter().collect();
        self.all().insert(id, Noted { route: route.clone(), groups, done: Vec::new(), state: State::Read });
        Arc::new(Handle { id, route, relays: self.clone() })
    }

    /// Ends a relay.
    pub fn end(&self, id: u64) {
        self.all().remove(&id);
    }

    /// Has the frames of a relay pass unread, so that nothing can be sent into it, and whoever ends it does so with 1012.
    pub fn pass(&self, id: u64) {
        if let Some(noted) = self.all().get_mut(&id)
            && noted.state == State::Read
        {
            noted.state = State::Passing;
        }
    }

    /// What was done to a relay since this was last asked, in order.
    pub fn take(&self, id: u64) -> Vec<Done> {
        self.all().get_mut(&id).map(|noted| std::mem::take(&mut noted.done)).unwrap_or_default()
    }

    /// The groups that a relay is in.
    pub fn groups(&self, id: u64) -> BTreeSet<String> {
        self.all().get(&id).map(|noted| noted.groups.clone()).unwrap_or_default()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Noted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WebSockets for NotedRelays {
    fn relay(&self, id: u64) -> Option<Arc<dyn Relay>> {
        let route = self.all().get(&id).map(|noted| noted.route.clone())?;
        Some(Arc::new(Handle { id, route, relays: self.clone() }))
    }

    fn members(&self, group: &str) -> Vec<Arc<dyn Relay>> {
        let all = self.all();
        let members = all.iter().filter(|(_, noted)| noted.groups.contains(group));
        members
            .map(|(id, noted)| {
                let (id, route, relays) = (*id, noted.route.clone(), self.clone());
                Arc::new(Handle { id, route, relays }) as Arc<dyn Relay>
            })
            .collect()
    }

    fn count(&self, group: &str) -> usize {
        self.all().values().filter(|noted| noted.groups.contains(group)).count()
    }
}

impl Noted {
    fn do_it(&mut self, what: Done) -> Result<()> {
        let why = match self.state {
            State::Read => {
                self.done.push(what);
                return Ok(());
            }
            State::Passing => "the frames of this websocket pass unread: no plugin watches it",
            State::Closed => ENDED,
        };
        Err(Error::Failed(why.to_owned()))
    }
}

impl Handle {
    /// Does something to a relay that has not ended.
    fn with<T>(&self, f: impl FnOnce(&mut Noted) -> Result<T>) -> Result<T> {
        match self.relays.all().get_mut(&self.id) {
            Some(noted) => f(noted),
            None => Err(Error::Failed(ENDED.to_owned())),
        }
    }
}

impl Relay for Handle {
    fn id(&self) -> u64 {
        self.id
    }

    fn route(&self) -> Arc<str> {
        self.route.clone()
    }

    fn send(&self, to: Direction, opcode: Opcode, data: Bytes) -> Result<()> {
        self.with(|noted| noted.do_it(Done::Sent { to, opcode, data }))
    }

    fn close(&self, close: CloseReason) -> Result<()> {
        self.with(|noted| {
            let close = match noted.state {
                State::Passing => CloseReason::new(RESTART, "")?,
                State::Read => close,
                State::Closed => return Err(Error::Failed(ENDED.to_owned())),
            };
            noted.done.push(Done::Closed(close));
            noted.state = State::Closed;
            Ok(())
        })
    }

    fn join(&self, group: &str) -> Result<()> {
        self.with(|noted| {
            if noted.groups.len() == MOST_GROUPS && !noted.groups.contains(group) {
                return Err(Error::TooLarge(MOST_GROUPS as u64));
            }
            noted.groups.insert(group.to_owned());
            Ok(())
        })
    }

    fn leave(&self, group: &str) -> bool {
        self.with(|noted| Ok(noted.groups.remove(group))).unwrap_or(false)
    }

    fn limit(&self, limits: RelayLimits) {
        // There is nothing to bound where it has ended.
        let _ = self.with(|noted| noted.do_it(Done::Limited(limits)));
    }
}
