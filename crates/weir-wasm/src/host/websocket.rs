//! WebSocket relays, and groups of them.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;
use weir_plugin::WebSocket;
use weir_plugin::error::Error;
use weir_plugin::services::seconds;
use weir_plugin::websocket::{CloseReason, Group as Members, Relay as Live, RelayLimits, relay_id};

use super::Data;
use super::convert::{direction, error, opcode, watch};
use crate::bindings::imported::types::{Direction, Error as WitError, Opcode, Watch};
use crate::bindings::imported::websocket as wit;
use crate::now::current;

/// A relay that was found by its id. That of a call is [`OWN`] and found by the call.
pub struct Relay(Arc<dyn Live>);

/// Relays that have joined the same name.
pub struct Group(Members);

/// The number of the handle to a call's own relay.
pub(crate) const OWN: u32 = u32::MAX;

type Answer<T> = wasmtime::Result<T>;
type Try<T> = wasmtime::Result<Result<T, WitError>>;

impl Data {
    fn live(&self, of: &Resource<Relay>) -> wasmtime::Result<Arc<dyn Live>> {
        if of.rep() != OWN {
            return Ok(self.table.get(of)?.0.clone());
        }
        let own = current(|now| now.ws().map(|ws| ws.relay.clone()).ok_or(Error::Expired("relay")));
        own.map_err(super::convert::trap)
    }
}

/// What is known of a call's own relay alone.
fn own<T: Default>(of: &Resource<Relay>, f: impl FnOnce(&WebSocket) -> T) -> T {
    let ws = if of.rep() == OWN { current(|now| Ok(now.ws())).ok().flatten() } else { None };
    ws.map_or_else(T::default, |ws| f(&ws))
}

fn limits(limits: &wit::RelayLimits) -> weir_plugin::error::Result<RelayLimits> {
    let time = |time: Option<f64>| time.map(seconds).transpose();
    let limits = RelayLimits {
        max_message: limits.max_message,
        idle_timeout: time(limits.idle_timeout)?,
        max_age: time(limits.max_age)?,
        ping_interval: time(limits.ping_interval)?,
    };
    limits.check()?;
    Ok(limits)
}

impl wit::Host for Data {
    fn find(&mut self, id: String) -> Try<Option<Resource<Relay>>> {
        match relay_id(&id).and_then(|id| self.access.relay(id)) {
            Ok(Some(live)) => Ok(Ok(Some(self.table.push(Relay(live))?))),
            Ok(None) => Ok(Ok(None)),
            Err(wrong) => Ok(Err(error(wrong))),
        }
    }
}

impl wit::HostRelay for Data {
    fn id(&mut self, of: Resource<Relay>) -> Answer<String> {
        Ok(self.live(&of)?.id().to_string())
    }

    fn route(&mut self, of: Resource<Relay>) -> Answer<String> {
        Ok(self.live(&of)?.route().to_string())
    }

    fn request_id(&mut self, of: Resource<Relay>) -> Answer<String> {
        Ok(own(&of, |ws| ws.request_id.to_string()))
    }

    fn client_ip(&mut self, of: Resource<Relay>) -> Answer<Option<String>> {
        Ok(own(&of, |ws| Some(ws.client_ip.to_string()).filter(|ip| !ip.is_empty())))
    }

    fn subprotocol(&mut self, of: Resource<Relay>) -> Answer<Option<String>> {
        Ok(own(&of, |ws| ws.subprotocol.as_deref().map(str::to_owned)))
    }

    fn send(&mut self, of: Resource<Relay>, to: Direction, data: Vec<u8>, code: Opcode) -> Try<()> {
        let (live, to, code) = (self.live(&of)?, direction(to), opcode(code));
        Ok(code.check(&data).and_then(|()| live.send(to, code, Bytes::from(data))).map_err(error))
    }

    fn close(&mut self, of: Resource<Relay>, code: u16, reason: String) -> Try<()> {
        let live = self.live(&of)?;
        Ok(CloseReason::new(code.into(), &reason).and_then(|reason| live.close(reason)).map_err(error))
    }

    fn join(&mut self, of: Resource<Relay>, group: String) -> Try<()> {
        let live = self.live(&of)?;
        Ok(self.access.check(&group).and_then(|()| live.join(&group)).map_err(error))
    }

    fn leave(&mut self, of: Resource<Relay>, group: String) -> Try<bool> {
        let live = self.live(&of)?;
        Ok(self.access.check(&group).map(|()| live.leave(&group)).map_err(error))
    }

    fn watch(&mut self, of: Resource<Relay>, watched: Watch) -> Try<()> {
        if of.rep() == OWN && current(|now| Ok(now.watch(watch(watched)))).unwrap_or(false) {
            return Ok(Ok(()));
        }
        Ok(Err(error(Error::denied("only a relay of the hook's own can be watched, not one that was found"))))
    }

    fn limit(&mut self, of: Resource<Relay>, given: wit::RelayLimits) -> Try<()> {
        let live = self.live(&of)?;
        Ok(limits(&given).map(|limits| live.limit(limits)).map_err(error))
    }

    fn drop(&mut self, of: Resource<Relay>) -> Answer<()> {
        if of.rep() != OWN {
            self.table.delete(of)?;
        }
        Ok(())
    }
}

impl wit::HostGroup for Data {
    fn open(&mut self, name: String) -> Try<Resource<Group>> {
        match self.access.group(&name) {
            Ok(members) => Ok(Ok(self.table.push(Group(members))?)),
            Err(wrong) => Ok(Err(error(wrong))),
        }
    }

    fn send(
        &mut self,
        of: Resource<Group>,
        to: Direction,
        data: Vec<u8>,
        code: Opcode,
        except: Option<String>,
    ) -> Try<u32> {
        let Group(members) = self.table.get(&of)?;
        let sent = except
            .as_deref()
            .map(relay_id)
            .transpose()
            .and_then(|except| members.send(direction(to), opcode(code), Bytes::from(data), except));
        Ok(sent.map(count).map_err(error))
    }

    fn close(&mut self, of: Resource<Group>, code: u16, reason: String) -> Try<u32> {
        let Group(members) = self.table.get(&of)?;
        let closed = CloseReason::new(code.into(), &reason).map(|reason| members.close(&reason));
        Ok(closed.map(count).map_err(error))
    }

    fn count(&mut self, of: Resource<Group>) -> Answer<u32> {
        Ok(count(self.table.get(&of)?.0.count()))
    }

    fn members(&mut self, of: Resource<Group>) -> Answer<Vec<String>> {
        Ok(self.table.get(&of)?.0.members().iter().map(u64::to_string).collect())
    }

    fn drop(&mut self, of: Resource<Group>) -> Answer<()> {
        self.table.delete(of)?;
        Ok(())
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
