//! A plugin on a worker: its guests, of which there are more while they are busy.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_plugin::policy::Isolation;
use weir_plugin::{ConnectVerdict, Connection, Instance, PluginError, Slot, Step, Timers, Visit};

use crate::calls::Call;
use crate::engine::Place;
use crate::guest::{Bound, Called, Guest, Job, Returned};
use crate::now::For;
use crate::plugin::Inner;
use crate::returned;
use crate::starts::Starts;
use crate::visit::WasmVisit;

/// A guest beside the first that had no exchange for so long is let go of.
const IDLE: Duration = Duration::from_secs(30);
/// There are no more guests for so long after one did not start.
const BACK_OFF: Duration = Duration::from_secs(1);

/// What the guests of a plugin on a worker have in common.
pub(crate) struct Common {
    pub(crate) inner: Arc<Inner>,
    pub(crate) timers: Rc<Timers>,
    /// How many there are.
    pub(crate) guests: Cell<usize>,
    /// When one did not start.
    pub(crate) failed: Cell<Option<Instant>>,
    /// What their starts have taken.
    pub(crate) starts: Starts,
}

/// A plugin on a worker.
pub(crate) struct WasmInstance {
    pub(crate) common: Rc<Common>,
    /// Those that take exchanges.
    guests: RefCell<Vec<Rc<Guest>>>,
    /// The one for what belongs to no exchange, so that no exchange waits for that.
    background: RefCell<Option<Rc<Guest>>>,
}

impl WasmInstance {
    /// With one guest, which has started.
    ///
    /// # Errors
    /// Why it does not start.
    pub(crate) async fn start(inner: Arc<Inner>) -> Result<Rc<dyn Instance>, PluginError> {
        let timers = Rc::new(Timers::new(inner.services.clock.clone()));
        let (guests, failed) = (Cell::new(0), Cell::new(None));
        let common = Common { inner, timers, guests, failed, starts: Starts::default() };
        let this = WasmInstance {
            common: Rc::new(common),
            guests: RefCell::default(),
            background: RefCell::default(),
        };
        let guest = this.grow();
        let started = match guest.call(Job { call: Call::Start, what: For::default(), bound: None }) {
            Called::Done(returned) => returned,
            Called::Wait(wait) => wait.await,
        };
        match started {
            Ok(_) => Ok(Rc::new(this)),
            Err(message) => Err(PluginError { plugin: this.common.inner.name.to_string(), message }),
        }
    }

    fn grow(&self) -> Rc<Guest> {
        let guest = Guest::new(&self.common);
        self.guests.borrow_mut().push(guest.clone());
        guest
    }

    /// Binds an exchange to a guest: one that is idle, else a fresh one while there may be more, else the one with the
    /// least to do.
    ///
    /// # Errors
    /// Where it is to have one of its own and there may be no more.
    pub(crate) fn bind(&self, id: u64) -> Result<Rc<Bound>, String> {
        let inner = &self.common.inner;
        if inner.policy.isolation == Isolation::Exchange {
            let most = inner.policy.limits.instances;
            if self.common.guests.get() > most {
                return Err(format!(
                    "{most} exchanges have an instance each: `limits.instances` allows no more"
                ));
            }
            if self.has_failed() {
                return Err("its last instance did not start: it is tried again in a moment".to_owned());
            }
            return Ok(Bound::new(Guest::new(&self.common), id));
        }
        Ok(Bound::new(self.choose()?, id))
    }

    /// An open guest.
    ///
    /// # Errors
    /// Where there is none, and for a while none may start.
    fn choose(&self) -> Result<Rc<Guest>, String> {
        self.tidy();
        let guests = self.guests.borrow();
        let least = guests.iter().min_by_key(|guest| guest.load());
        let may_grow = || {
            let limits = &self.common.inner.policy.limits;
            let has_room = guests.len() < limits.instances && Place::is_there();
            has_room && !self.has_failed() && self.common.starts.wait().is_none()
        };
        match least {
            Some(guest) if guest.is_idle() || !may_grow() => return Ok(guest.clone()),
            Some(_) => {}
            None => self.may_start()?,
        }
        drop(guests);
        Ok(self.grow())
    }

    /// Whether a guest may start in the place of those that have ended.
    fn may_start(&self) -> Result<(), String> {
        match self.common.starts.wait() {
            Some(wait) => Err(format!("its instances end again and again: the next starts in {wait:.0?}")),
            None => Ok(()),
        }
    }

    fn has_failed(&self) -> bool {
        self.common.failed.get().is_some_and(|at| at.elapsed() < BACK_OFF)
    }

    /// Lets go of those that take no exchanges any more, and of those that have had none for long.
    fn tidy(&self) {
        let mut guests = self.guests.borrow_mut();
        if guests.iter().any(|guest| !guest.is_open()) {
            guests.retain(|guest| guest.is_open());
        }
        if guests.len() > 1
            && let Some(last) = guests.last()
            && last.idle_since().is_some_and(|since| since.elapsed() > IDLE)
        {
            guests.pop();
        }
    }

    /// The guest for what belongs to no exchange.
    fn background(&self) -> Result<Rc<Guest>, String> {
        let known = self.background.borrow().as_ref().filter(|guest| guest.is_open()).cloned();
        if let Some(guest) = known {
            return Ok(guest);
        }
        self.may_start()?;
        Ok(self.background.borrow_mut().insert(Guest::new(&self.common)).clone())
    }

    fn beside(&self, call: Call) -> Step<'static, Result<(), String>> {
        let job = Job { call, what: For::default(), bound: None };
        match self.background() {
            Ok(guest) => step(guest.call(job), returned::done),
            Err(message) => Step::Done(Err(message)),
        }
    }
}

/// What a call comes to, as hooks that lend nothing return it.
pub(crate) fn step<T: 'static>(
    called: Called,
    convert: impl FnOnce(Returned) -> T + 'static,
) -> Step<'static, T> {
    match called {
        Called::Done(returned) => Step::Done(convert(returned)),
        Called::Wait(wait) => Step::Wait(Box::pin(async move { convert(wait.await) })),
    }
}

impl Instance for WasmInstance {
    fn visit(self: Rc<Self>) -> Box<dyn Visit> {
        Box::new(WasmVisit::new(self))
    }

    fn on_connect(&self, connection: Rc<Connection>) -> Step<'static, ConnectVerdict> {
        if !self.common.inner.hooks.connect {
            return Step::Done(ConnectVerdict::Accept);
        }
        let guest = match self.choose() {
            Ok(guest) => guest,
            Err(message) => return Step::Done(ConnectVerdict::Fail(message)),
        };
        let slot = Slot::default();
        let loan = slot.lend_connection(connection);
        let what = For { slot: Some(slot), number: guest.number(), ..For::default() };
        let called = guest.call(Job { call: Call::Connect, what, bound: None });
        step(called, move |returned| {
            // Taken back when the call has ended, or is given up.
            drop(loan);
            returned::connect(returned)
        })
    }

    fn timers(&self) -> Option<Rc<Timers>> {
        Some(self.common.timers.clone())
    }

    fn on_timer(&self, name: String) -> Step<'static, Result<(), String>> {
        match self.common.inner.hooks.timer {
            true => self.beside(Call::Timer(name)),
            false => Step::Done(Ok(())),
        }
    }

    fn on_tick(&self) -> Step<'static, Result<(), String>> {
        match self.common.inner.hooks.tick {
            Some(_) => self.beside(Call::Tick),
            None => Step::Done(Ok(())),
        }
    }

    fn is_spent(&self) -> bool {
        // Where the last one has ended and no other starts, whoever starts instances has it wait, longer each time.
        self.common.failed.get().is_some() && self.guests.borrow().iter().all(|guest| guest.is_lost())
    }
}
