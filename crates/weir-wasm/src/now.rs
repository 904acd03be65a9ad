//! The call that runs on this thread: what it is for, what it has used, and whether anybody still waits for it.
//!
//! The data of a store is plain and can be sent; what belongs to a worker (an exchange that is lent, a relay's details) is
//! found through here, by the functions that a guest calls. It is set whenever a guest's future is polled.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;
use weir_plugin::error::{Error, Result};
use weir_plugin::websocket::Watch;
use weir_plugin::{Connection, Exchange, Slot, WebSocket};

/// What a call is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct For {
    /// Where an exchange, or a connection, is lent to it.
    pub(crate) slot: Option<Slot>,
    /// The number of that exchange on its guest, which handles carry; 0 is none's.
    pub(crate) number: u32,
    /// The relay that it is about.
    pub(crate) ws: Option<Rc<WebSocket>>,
    /// Where it says what it wants to see of that relay from now on.
    pub(crate) watch: Option<Rc<Cell<Option<Watch>>>>,
    /// The id of the request that it is about, where that is not lent.
    pub(crate) request_id: Option<Rc<HeaderValue>>,
}

/// A guest's call, as long as it is under way.
#[derive(Debug, Default)]
pub(crate) struct Now {
    what: RefCell<For>,
    /// Whether nobody waits for it any more: its waits end, and it comes to its end.
    cancelled: Cell<bool>,
    pub(crate) meter: Meter,
}

/// Processor time of a call.
///
/// The first turn is not measured: either it ends by itself, or the ticker ends it after its slice. Only a call that
/// outlives it is worth the clock of the thread, which other processes do not move.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    spent: Cell<Duration>,
    /// The thread's clock when the turn began, but for the first.
    begun: Cell<Option<Duration>>,
    /// Its budget.
    limit: Cell<Duration>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Now>>> = const { RefCell::new(None) };
}

/// Runs `f` on the call that runs on this thread.
///
/// # Errors
/// [`Error::Failed`] where there is none, which would be an error of weir.
pub(crate) fn current<T>(f: impl FnOnce(&Now) -> Result<T>) -> Result<T> {
    // Not borrowed meanwhile: what `f` polls may have others run.
    match CURRENT.with_borrow(Clone::clone) {
        Some(now) => f(&now),
        None => Err(Error::Failed("no call of a plugin runs".to_owned())),
    }
}

/// Whether a call runs on this thread.
pub(crate) fn is_running() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// A call runs, while this lives.
pub(crate) struct Running {
    before: Option<Rc<Now>>,
}

impl Running {
    /// Has handles at what the call is for, and has its time counted.
    pub(crate) fn new(now: &Rc<Now>) -> Self {
        now.open(true);
        now.meter.resume();
        Running { before: CURRENT.replace(Some(now.clone())) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(now) = CURRENT.replace(self.before.take()) {
            now.open(false);
            now.meter.pause();
        }
    }
}

impl Now {
    /// A call begins that is for this, with a budget of processor time.
    pub(crate) fn begin(&self, what: For, budget: Duration) {
        *self.what.borrow_mut() = what;
        self.cancelled.set(false);
        self.meter.begin(budget);
        self.open(true);
    }

    /// It has ended.
    pub(crate) fn end(&self) {
        self.open(false);
        self.meter.begin(Duration::ZERO);
        self.what.take();
    }

    /// Nobody waits for it any more.
    pub(crate) fn cancel(&self) {
        self.cancelled.set(true);
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    fn open(&self, open: bool) {
        if let Some(slot) = &self.what.borrow().slot {
            slot.open(open);
        }
    }

    /// Runs `f` on the exchange of this number.
    ///
    /// # Errors
    /// [`Error::Expired`] with the handle's name where it is another's, or not lent now.
    pub(crate) fn exchange<T>(
        &self,
        number: u32,
        handle: &'static str,
        f: impl FnOnce(&mut Exchange) -> Result<T>,
    ) -> Result<T> {
        let what = self.what.borrow();
        match &what.slot {
            Some(slot) if what.number == number => f(&mut *slot.borrow(handle)?),
            _ => Err(Error::Expired(handle)),
        }
    }

    /// Runs `f` on the connection of the exchange of this number, or the one that has none yet.
    ///
    /// # Errors
    /// As [`Now::exchange`].
    pub(crate) fn connection<T>(
        &self,
        number: u32,
        handle: &'static str,
        f: impl FnOnce(&Connection) -> T,
    ) -> Result<T> {
        let what = self.what.borrow();
        match &what.slot {
            Some(slot) if what.number == number => slot.connection(handle, f),
            _ => Err(Error::Expired(handle)),
        }
    }

    /// Where the exchange of this number is lent.
    pub(crate) fn slot(&self, number: u32) -> Option<Slot> {
        let what = self.what.borrow();
        what.slot.clone().filter(|_| what.number == number)
    }

    /// The relay that the call is about.
    pub(crate) fn ws(&self) -> Option<Rc<WebSocket>> {
        self.what.borrow().ws.clone()
    }

    /// From now on this is what the plugin wants to see of its relay. False where the call is about none.
    pub(crate) fn watch(&self, watch: Watch) -> bool {
        let what = self.what.borrow();
        what.watch.as_ref().map(|place| place.set(Some(watch))).is_some()
    }

    /// What log lines are told with: the id of the request, and the connection's where there is no request.
    pub(crate) fn whose(&self) -> (Option<String>, Option<u64>) {
        let what = self.what.borrow();
        if let Some(ws) = &what.ws {
            return (Some(ws.request_id.to_string()), None);
        }
        let shown = |id: &HeaderValue| String::from_utf8_lossy(id.as_bytes()).into_owned();
        match (&what.slot, &what.request_id) {
            (Some(slot), _) => match slot.with("", |x| shown(&x.request_id)) {
                Ok(id) => (Some(id), None),
                Err(_) => (None, slot.connection("", |connection| connection.id).ok()),
            },
            (None, Some(id)) => (Some(shown(id)), None),
            (None, None) => (None, None),
        }
    }
}

impl Meter {
    fn begin(&self, limit: Duration) {
        self.spent.set(Duration::ZERO);
        self.begun.set(None);
        self.limit.set(limit);
    }

    fn resume(&self) {
        if !self.spent.get().is_zero() {
            self.begun.set(Some(processor_time()));
        }
    }

    fn pause(&self) {
        if let Some(begun) = self.begun.take() {
            self.spent.set(self.spent.get() + processor_time().saturating_sub(begun));
        }
    }

    /// The ticker has ended a turn, which had a slice.
    ///
    /// # Errors
    /// Where the call has used up its budget.
    pub(crate) fn turn_is_over(&self, slice: Duration) -> Result<(), String> {
        let now = processor_time();
        let of_turn = match self.begun.get() {
            Some(begun) => now.saturating_sub(begun),
            None => slice,
        };
        self.spent.set(self.spent.get() + of_turn.max(Duration::from_nanos(1)));
        self.begun.set(Some(now));
        let limit = self.limit.get();
        match self.spent.get() > limit {
            true => Err(format!("it used up its processor time of {limit:?}")),
            false => Ok(()),
        }
    }
}

/// Processor time of this thread.
fn processor_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
