//! Which relays a plugin gets at beside those of its own hooks: groups by name, and relays by id, as far as it was
//! granted.

use std::sync::Arc;

use bytes::Bytes;

use super::{CloseReason, Direction, LONGEST_GROUP, Opcode, Relay};
use crate::error::{Error, Result};
use crate::policy::Grants;
use crate::services::WebSockets;

/// The relays that a plugin may address.
#[derive(Clone, Debug)]
pub struct Access {
    plugin: Arc<str>,
    grants: Grants,
    relays: Arc<dyn WebSockets>,
}

/// Relays that have joined the same name, over all workers.
#[derive(Clone, Debug)]
pub struct Group {
    name: Arc<str>,
    relays: Arc<dyn WebSockets>,
}

impl Access {
    /// What a plugin of this name may do.
    pub fn new(plugin: &str, grants: &Grants, relays: Arc<dyn WebSockets>) -> Self {
        Access { plugin: plugin.into(), grants: grants.clone(), relays }
    }

    /// A group, if it was granted.
    ///
    /// # Errors
    /// [`Error::Denied`] names the configuration key that would grant it; [`Error::Invalid`] for what is no name.
    pub fn group(&self, name: &str) -> Result<Group> {
        self.check(name)?;
        Ok(Group { name: name.into(), relays: self.relays.clone() })
    }

    /// Whether relays may join and leave a group, and be sent to by it.
    ///
    /// # Errors
    /// As [`Access::group`].
    pub fn check(&self, name: &str) -> Result<()> {
        if name.is_empty() || name.len() > LONGEST_GROUP {
            return Err(Error::invalid(format!("the name of a group has 1 to {LONGEST_GROUP} bytes")));
        }
        if self.grants.groups.iter().any(|granted| covers(granted, name)) {
            return Ok(());
        }
        let plugin = &self.plugin;
        Err(Error::denied(format!(
            "the plugin was not granted the group {name:?}: `[plugins.{plugin}.grants] groups = [{name:?}]` would grant it, \
             and a * at the end stands for any"
        )))
    }

    /// A relay by its id, if those of its route were granted. `None` where there is none any more.
    ///
    /// # Errors
    /// [`Error::Denied`] names the configuration key that would grant it.
    pub fn relay(&self, id: u64) -> Result<Option<Arc<dyn Relay>>> {
        let Some(relay) = self.relays.relay(id) else { return Ok(None) };
        let (route, plugin) = (relay.route(), &self.plugin);
        if self.grants.relays.contains(&*route) {
            return Ok(Some(relay));
        }
        Err(Error::denied(format!(
            "the plugin was not granted relays of the route {route:?}: `[plugins.{plugin}.grants] relays = [{route:?}]` \
             would grant them"
        )))
    }
}

/// Whether a granted name is this one: `*` at its end stands for anything.
fn covers(granted: &str, name: &str) -> bool {
    match granted.strip_suffix('*') {
        Some(begin) => name.starts_with(begin),
        None => granted == name,
    }
}

impl Group {
    /// Sends a message to one side of all that are in it, but for the relay of this id. To how many; those for which
    /// too much waits already are left out, as their routes say.
    ///
    /// # Errors
    /// As [`Opcode::check`].
    pub fn send(&self, to: Direction, opcode: Opcode, data: Bytes, except: Option<u64>) -> Result<usize> {
        opcode.check(&data)?;
        let members = self.relays.members(&self.name);
        let others = members.iter().filter(|relay| Some(relay.id()) != except);
        Ok(others.filter(|relay| relay.send(to, opcode, data.clone()).is_ok()).count())
    }

    /// Ends all that are in it. How many.
    pub fn close(&self, close: &CloseReason) -> usize {
        let members = self.relays.members(&self.name);
        members.iter().filter(|relay| relay.close(close.clone()).is_ok()).count()
    }

    /// How many are in it.
    pub fn count(&self) -> usize {
        self.relays.count(&self.name)
    }

    /// Their ids, in no order.
    pub fn members(&self) -> Vec<u64> {
        self.relays.members(&self.name).iter().map(|relay| relay.id()).collect()
    }
}
