//! Relays in memory, which keep what was sent into them. Clones are the same relay.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::Error;
use crate::bindings::weir::plugin::types::{Direction, Opcode, Watch};
pub use crate::bindings::weir::plugin::websocket::RelayLimits;
use crate::standin::world;

/// A message that was sent into a relay.
pub type Sent = (Direction, Opcode, Vec<u8>);

/// A relay.
#[derive(Debug, Clone)]
pub struct Relay(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    id: String,
    subprotocol: Option<String>,
    sent: Vec<Sent>,
    closed: Option<(u16, String)>,
    groups: BTreeSet<String>,
    limits: Option<RelayLimits>,
    watch: Option<Watch>,
}

impl Relay {
    /// A relay with this id, which [`find`] finds. Only off WebAssembly.
    #[must_use]
    pub fn new(id: &str) -> Relay {
        let relay = Relay(Rc::new(RefCell::new(State { id: id.to_owned(), ..State::default() })));
        world::with(|world| world.relays.insert(id.to_owned(), relay.clone()));
        relay
    }

    /// What both sides agreed on. Only off WebAssembly.
    #[must_use]
    pub fn with_subprotocol(self, name: &str) -> Relay {
        self.0.borrow_mut().subprotocol = Some(name.to_owned());
        self
    }

    /// What was sent into it so far. Only off WebAssembly.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.0.borrow().sent.clone()
    }

    /// The code and reason that it was ended with, if it was. Only off WebAssembly.
    #[must_use]
    pub fn closed(&self) -> Option<(u16, String)> {
        self.0.borrow().closed.clone()
    }

    /// The bounds that were set. Only off WebAssembly.
    #[must_use]
    pub fn limits(&self) -> Option<RelayLimits> {
        self.0.borrow().limits
    }

    /// Unique in this process: digits.
    #[must_use]
    pub fn id(&self) -> String {
        self.0.borrow().id.clone()
    }

    /// The name of its route: `test`.
    #[must_use]
    pub fn route(&self) -> String {
        "test".to_owned()
    }

    /// As in the access log.
    #[must_use]
    pub fn request_id(&self) -> String {
        "00000000000000000000000000000001".to_owned()
    }

    /// The client's address.
    #[must_use]
    pub fn client_ip(&self) -> Option<String> {
        Some("192.0.2.1".to_owned())
    }

    /// What both sides agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<String> {
        self.0.borrow().subprotocol.clone()
    }

    /// Sends a message, a ping or a pong to one side. Errors: `Invalid` for text that is not UTF-8, `Failed` where it has
    /// ended.
    pub fn send(&self, to: Direction, data: &[u8], opcode: Opcode) -> Result<(), Error> {
        if opcode == Opcode::Text && std::str::from_utf8(data).is_err() {
            return Err(Error::Invalid("text is UTF-8".to_owned()));
        }
        let mut state = self.0.borrow_mut();
        if state.closed.is_some() {
            return Err(Error::Failed("the relay has ended".to_owned()));
        }
        state.sent.push((to, opcode, data.to_vec()));
        Ok(())
    }

    /// Ends it on both sides. Errors: `TooLarge`, `Failed`.
    pub fn close(&self, code: u16, reason: &str) -> Result<(), Error> {
        if reason.len() > 123 {
            return Err(Error::TooLarge(123));
        }
        let mut state = self.0.borrow_mut();
        if state.closed.is_some() {
            return Err(Error::Failed("the relay has ended".to_owned()));
        }
        state.closed = Some((code, reason.to_owned()));
        state.groups.clear();
        Ok(())
    }

    /// Puts it into a group.
    pub fn join(&self, group: &str) -> Result<(), Error> {
        self.0.borrow_mut().groups.insert(group.to_owned());
        Ok(())
    }

    /// Takes it out of a group. Whether it was in.
    pub fn leave(&self, group: &str) -> Result<bool, Error> {
        Ok(self.0.borrow_mut().groups.remove(group))
    }

    /// What the plugin wants to see of this relay from now on.
    pub fn watch(&self, watch: Watch) -> Result<(), Error> {
        self.0.borrow_mut().watch = Some(watch);
        Ok(())
    }

    /// What it has said that it wants to see, if it has. Only off WebAssembly.
    #[must_use]
    pub fn watched(&self) -> Option<Watch> {
        self.0.borrow().watch
    }

    /// Sets bounds of this relay.
    pub fn limit(&self, limits: RelayLimits) -> Result<(), Error> {
        self.0.borrow_mut().limits = Some(limits);
        Ok(())
    }
}

/// Relays that have joined the same name.
#[derive(Debug, Clone)]
pub struct Group(String);

impl Group {
    /// The group of this name.
    pub fn open(name: &str) -> Result<Group, Error> {
        Ok(Group(name.to_owned()))
    }

    fn relays(&self) -> Vec<Relay> {
        let relays: Vec<Relay> = world::with(|world| world.relays.values().cloned().collect());
        relays.into_iter().filter(|relay| relay.0.borrow().groups.contains(&self.0)).collect()
    }

    /// Sends a message to one side of all that are in it, but for the relay of this id. To how many.
    pub fn send(
        &self,
        to: Direction,
        data: &[u8],
        opcode: Opcode,
        except: Option<&str>,
    ) -> Result<u32, Error> {
        let mut count = 0;
        for relay in self.relays().iter().filter(|relay| except != Some(relay.id().as_str())) {
            relay.send(to, data, opcode)?;
            count += 1;
        }
        Ok(count)
    }

    /// Ends all that are in it. How many.
    pub fn close(&self, code: u16, reason: &str) -> Result<u32, Error> {
        let mut count = 0;
        for relay in self.relays() {
            relay.close(code, reason)?;
            count += 1;
        }
        Ok(count)
    }

    /// How many are in it.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.relays().len()).unwrap_or(u32::MAX)
    }

    /// Their ids.
    #[must_use]
    pub fn members(&self) -> Vec<String> {
        self.relays().iter().map(Relay::id).collect()
    }
}

/// A relay by its id; none where there is none any more.
pub fn find(id: &str) -> Result<Option<Relay>, Error> {
    let relay = world::with(|world| world.relays.get(id).cloned());
    Ok(relay.filter(|relay| relay.closed().is_none()))
}
