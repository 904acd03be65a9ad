//! A guest: one store, which runs one call at a time.
//!
//! Its store belongs to one future, the owner's, which takes calls from a queue, one after the other. Whoever calls a guest
//! that is idle polls that future itself, once: most calls are over then, and nothing was woken or sent for them. A call
//! that is not over, because it waits or its turn has ended, is left to the guest's task, which polls the same future. So
//! a call is never dropped: one that nobody waits for any more comes to its end, its waits at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::task::spawn_local;
use tokio::time::{Sleep, sleep};
use wasmtime::component::ResourceAny;
use weir_plugin::websocket::Watch;

use crate::calls::{Call, Live, MOST_HANDLES, Outcome, why};
use crate::host::message::MOST_EXCHANGES;
use crate::instance::Common;
use crate::now::{For, Now, Running, is_running};
use crate::ticker::Turn;

/// How much longer than its deadline a call may take to come to its end, once its waits have ended.
const GRACE: Duration = Duration::from_millis(250);

/// The most exchanges that are bound to a guest at once: each is a handle of its store.
const MOST_BOUND: usize = MOST_HANDLES / 2;

/// What a call comes to, or why it failed.
pub(crate) type Returned = Result<Outcome, String>;

/// A guest.
pub(crate) struct Guest {
    common: Rc<Common>,
    mailbox: Rc<Mailbox>,
    /// `None` when it has ended, and while it is polled.
    owner: RefCell<Option<Owner>>,
    is_polled: Cell<bool>,
    /// Exchanges that it has.
    exchanges: Cell<usize>,
    last_number: Cell<u32>,
    last_used: Cell<Instant>,
}

/// Has the store. It ends with why it has.
type Owner = Pin<Box<dyn Future<Output = String>>>;

/// What the owner is told, and tells.
struct Mailbox {
    now: Rc<Now>,
    queue: RefCell<VecDeque<Queued>>,
    stage: Cell<Stage>,
    /// Counts calls, so that each has a time of its own.
    serial: Cell<u64>,
    /// Who waits for the call that runs; none where it was begun by whoever wants to know, or nobody does.
    ticket: RefCell<Option<Rc<Ticket>>>,
    /// What the last call came to that had no ticket.
    returned: RefCell<Option<Returned>>,
    /// Wakes the guest's task.
    task: RefCell<Option<Waker>>,
    /// Why it has ended.
    lost: RefCell<Option<String>>,
    /// Whether new exchanges should get another one.
    full: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It was never polled.
    Fresh,
    /// It waits for a call.
    Idle,
    /// A call is under way, or it starts.
    Busy,
}

/// A call, and what it is for.
pub(crate) struct Job {
    pub(crate) call: Call,
    pub(crate) what: For,
    /// Its exchange.
    pub(crate) bound: Option<Rc<Bound>>,
}

struct Queued {
    job: Job,
    ticket: Option<Rc<Ticket>>,
}

#[derive(Default)]
struct Ticket {
    returned: RefCell<Option<Returned>>,
    waker: RefCell<Option<Waker>>,
    /// Whether nobody waits any more.
    gone: Cell<bool>,
}

/// An exchange, bound to the guest that has its state.
pub(crate) struct Bound {
    pub(crate) guest: Rc<Guest>,
    /// Unique in this process.
    pub(crate) id: u64,
    /// Unique on the guest.
    pub(crate) number: u32,
    /// What the guest keeps of it.
    pub(crate) resource: Cell<Option<ResourceAny>>,
    /// What it wants to see of its relay, where it has said so.
    pub(crate) watch: Rc<Cell<Option<Watch>>>,
}

/// A call that has begun.
pub(crate) enum Called {
    Done(Returned),
    Wait(Wait),
}

/// A call under way. Dropping it lets it come to its end, without waiting.
pub(crate) struct Wait {
    guest: Rc<Guest>,
    ticket: Rc<Ticket>,
}

impl Guest {
    /// A guest that starts with its first call. In the `LocalSet` of a worker.
    pub(crate) fn new(common: &Rc<Common>) -> Rc<Guest> {
        let mailbox = Rc::new(Mailbox {
            now: Rc::default(),
            queue: RefCell::default(),
            stage: Cell::new(Stage::Fresh),
            serial: Cell::new(0),
            ticket: RefCell::default(),
            returned: RefCell::default(),
            task: RefCell::default(),
            lost: RefCell::default(),
            full: Cell::new(false),
        });
        common.guests.set(common.guests.get() + 1);
        let guest = Rc::new(Guest {
            common: common.clone(),
            owner: RefCell::new(Some(Box::pin(own(common.clone(), mailbox.clone())))),
            is_polled: Cell::new(false),
            mailbox,
            exchanges: Cell::new(0),
            last_number: Cell::new(0),
            last_used: Cell::new(Instant::now()),
        });
        spawn_local(task(Rc::downgrade(&guest)));
        guest
    }

    /// Whether it has ended.
    pub(crate) fn is_lost(&self) -> bool {
        self.mailbox.lost.borrow().is_some()
    }

    /// Whether it takes new exchanges.
    pub(crate) fn is_open(&self) -> bool {
        let has_room = self.exchanges.get() < MOST_BOUND && self.last_number.get() < MOST_EXCHANGES - 1;
        !self.is_lost() && !self.mailbox.full.get() && has_room
    }

    /// Whether nothing runs or waits on it.
    pub(crate) fn is_idle(&self) -> bool {
        self.mailbox.stage.get() == Stage::Idle && self.mailbox.queue.borrow().is_empty()
    }

    /// How many calls run or wait on it, and how many exchanges it has.
    pub(crate) fn load(&self) -> (usize, usize) {
        let runs = usize::from(self.mailbox.stage.get() == Stage::Busy);
        (self.mailbox.queue.borrow().len() + runs, self.exchanges.get())
    }

    /// For how long it had no exchange; `None` where it has one.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.exchanges.get() == 0 && self.is_idle()).then(|| self.last_used.get())
    }

    /// A number for an exchange or a connection, which no other on this guest has had.
    pub(crate) fn number(&self) -> u32 {
        let number = self.last_number.get().saturating_add(1);
        self.last_number.set(number);
        number
    }

    /// Begins a call.
    pub(crate) fn call(self: &Rc<Self>, job: Job) -> Called {
        if let Some(why) = &*self.mailbox.lost.borrow() {
            return Called::Done(Err(ended(why)));
        }
        let is_idle = self.is_idle();
        // What a guest's call has polled may begin one of another guest, which has its turn afterwards.
        let is_nested = is_running();
        if is_idle && !is_nested {
            self.mailbox.push(job, None);
            self.poll_once();
            if let Some(returned) = self.mailbox.returned.take() {
                return Called::Done(returned);
            }
            let ticket = Rc::<Ticket>::default();
            *self.mailbox.ticket.borrow_mut() = Some(ticket.clone());
            return Called::Wait(Wait { guest: self.clone(), ticket });
        }
        let most = self.common.inner.policy.limits.waiting;
        if self.mailbox.waiting() >= most {
            return Called::Done(Err(format!("{most} calls wait for its instance already")));
        }
        let ticket = Rc::<Ticket>::default();
        self.mailbox.push(job, Some(ticket.clone()));
        if is_nested {
            self.mailbox.wake();
        } else if self.mailbox.stage.get() == Stage::Fresh {
            self.poll_once();
            if let Some(returned) = ticket.returned.take() {
                return Called::Done(returned);
            }
        }
        Called::Wait(Wait { guest: self.clone(), ticket })
    }

    /// Has the guest do something that nobody waits for.
    fn tell(&self, call: Call) {
        if self.is_lost() {
            return;
        }
        let is_idle = self.is_idle();
        self.mailbox.push(Job { call, what: For::default(), bound: None }, Some(Rc::default()));
        match is_idle && !is_running() {
            true => self.poll_once(),
            false => self.mailbox.wake(),
        }
    }

    /// Polls the owner for whoever calls; what is not over then is the task's.
    fn poll_once(&self) {
        self.poll(&mut Context::from_waker(Waker::noop()));
        if self.mailbox.stage.get() == Stage::Busy {
            self.mailbox.wake();
        }
    }

    /// Polls the owner. Whether it has ended.
    fn poll(&self, cx: &mut Context<'_>) -> bool {
        if self.is_polled.get() {
            // This is called by what a call has just dropped.
            return false;
        }
        let Some(mut owner) = self.owner.take() else { return true };
        let mut polling = Polling::new(self);
        let polled = {
            let _turn = Turn::new(self.common.inner.policy.limits.slice);
            let _running = Running::new(&self.mailbox.now);
            owner.as_mut().poll(cx)
        };
        match polled {
            Poll::Ready(why) => {
                drop(owner);
                polling.ended = Some(Ok(why));
                true
            }
            Poll::Pending => {
                *self.owner.borrow_mut() = Some(owner);
                polling.ended = None;
                false
            }
        }
    }

    /// Ends it in the midst of a call.
    fn kill(&self, why: String) {
        drop(self.owner.take());
        self.lose(why);
    }

    /// It has ended: whoever waits for it is told.
    fn lose(&self, why: String) {
        let mailbox = &self.mailbox;
        mailbox.now.end();
        mailbox.stage.set(Stage::Busy);
        let plugin = &self.common.inner.name;
        tracing::error!(%plugin, "an instance has ended: {why}");
        *mailbox.lost.borrow_mut() = Some(why.clone());
        match mailbox.ticket.take() {
            Some(ticket) => ticket.give(Err(why.clone())),
            None => *mailbox.returned.borrow_mut() = Some(Err(why.clone())),
        }
        let has_started = mailbox.serial.get() > 1;
        if !has_started {
            self.common.failed.set(Some(Instant::now()));
        }
        let others = if has_started { ended(&why) } else { why };
        // Dropped when all are told: with it go exchanges.
        let queue = mailbox.queue.take();
        for ticket in queue.iter().filter_map(|queued| queued.ticket.as_ref()) {
            ticket.give(Err(others.clone()));
        }
    }
}

/// While this lives, the owner is polled.
struct Polling<'a> {
    guest: &'a Guest,
    /// Why it has ended, if it has; `Err` until that is known, which a panic leaves so.
    ended: Option<Result<String, ()>>,
}

impl<'a> Polling<'a> {
    fn new(guest: &'a Guest) -> Self {
        guest.is_polled.set(true);
        Polling { guest, ended: Some(Err(())) }
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        self.guest.is_polled.set(false);
        match self.ended.take() {
            Some(Ok(why)) => self.guest.lose(why),
            Some(Err(())) => self.guest.lose("a function of the host broke off".to_owned()),
            None => {}
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.common.guests.set(self.common.guests.get().saturating_sub(1));
        self.mailbox.wake();
    }
}

/// What exchanges are told whose guest has ended without their doing.
fn ended(why: &str) -> String {
    format!("the instance that had this exchange has ended: {why}")
}

/// Has the store: starts the guest, and runs one call after the other until one ends it.
async fn own(common: Rc<Common>, mailbox: Rc<Mailbox>) -> String {
    mailbox.begin(None);
    let (timers, begun) = (Some(&common.timers), Instant::now());
    let started = Live::start(&common.inner, &mailbox.now, timers).await;
    common.starts.took(begun.elapsed());
    let (mut live, _) = match started {
        Ok(started) => {
            common.failed.set(None);
            started
        }
        Err(why) => {
            common.failed.set(Some(Instant::now()));
            return why;
        }
    };
    loop {
        let Queued { job, ticket } = poll_fn(|_| mailbox.next()).await;
        let Job { call, what, bound } = job;
        let number = what.number;
        mailbox.begin(ticket);
        mailbox.now.begin(what, common.inner.policy.limits.cpu);
        let returned = match live.run(call, bound.as_deref(), number).await {
            Ok(outcome) => outcome,
            Err(error) => return why(&error, &live.store),
        };
        if live.is_full() && !mailbox.full.replace(true) {
            let plugin = &common.inner.name;
            tracing::warn!(%plugin, "its memory is used up: it starts afresh");
        }
        mailbox.end(Ok(returned));
        // It may be what ends an exchange.
        drop(bound);
        if !mailbox.queue.borrow().is_empty() {
            // Others on the worker have their turn in between.
            tokio::task::yield_now().await;
        }
    }
}

/// Polls the owner where whoever began a call did not see its end, and ends the guest where that takes too long.
fn task(guest: Weak<Guest>) -> impl Future<Output = ()> {
    let mut late: Option<(u64, Pin<Box<Sleep>>)> = None;
    poll_fn(move |cx| {
        let Some(guest) = guest.upgrade() else { return Poll::Ready(()) };
        *guest.mailbox.task.borrow_mut() = Some(cx.waker().clone());
        match guest.mailbox.stage.get() {
            Stage::Fresh | Stage::Idle if guest.mailbox.queue.borrow().is_empty() => return Poll::Pending,
            _ => {}
        }
        if guest.poll(cx) {
            return Poll::Ready(());
        }
        if guest.mailbox.stage.get() != Stage::Busy {
            late = None;
            return Poll::Pending;
        }
        let serial = guest.mailbox.serial.get();
        let deadline = guest.common.inner.policy.limits.deadline;
        let timer = match &mut late {
            Some((of, timer)) if *of == serial => timer,
            other => &mut other.insert((serial, Box::pin(sleep(deadline.saturating_add(GRACE))))).1,
        };
        if timer.as_mut().poll(cx).is_ready() {
            guest.kill(format!("it took longer than its deadline of {deadline:?}"));
            return Poll::Ready(());
        }
        Poll::Pending
    })
}

impl Mailbox {
    fn push(&self, job: Job, ticket: Option<Rc<Ticket>>) {
        self.queue.borrow_mut().push_back(Queued { job, ticket });
    }

    /// How many calls wait, but for those that end exchanges.
    fn waiting(&self) -> usize {
        self.queue.borrow().iter().filter(|queued| !matches!(queued.job.call, Call::End(_))).count()
    }

    /// The next call that somebody waits for.
    fn next(&self) -> Poll<Queued> {
        loop {
            let Some(queued) = self.queue.borrow_mut().pop_front() else {
                self.stage.set(Stage::Idle);
                return Poll::Pending;
            };
            match &queued.ticket {
                Some(ticket) if ticket.gone.get() => {}
                _ => return Poll::Ready(queued),
            }
        }
    }

    fn begin(&self, ticket: Option<Rc<Ticket>>) {
        self.stage.set(Stage::Busy);
        self.serial.set(self.serial.get() + 1);
        *self.ticket.borrow_mut() = ticket;
    }

    fn end(&self, returned: Returned) {
        self.now.end();
        match self.ticket.take() {
            Some(ticket) => ticket.give(returned),
            None => *self.returned.borrow_mut() = Some(returned),
        }
    }

    fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }
}

impl Ticket {
    fn give(&self, returned: Returned) {
        *self.returned.borrow_mut() = Some(returned);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Future for Wait {
    type Output = Returned;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Returned> {
        match self.ticket.returned.take() {
            Some(returned) => {
                self.ticket.gone.set(true);
                Poll::Ready(returned)
            }
            None => {
                *self.ticket.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.ticket.gone.replace(true) {
            return;
        }
        let mailbox = &self.guest.mailbox;
        let is_running =
            mailbox.ticket.borrow().as_ref().is_some_and(|running| Rc::ptr_eq(running, &self.ticket));
        if is_running {
            mailbox.now.cancel();
            mailbox.wake();
        }
    }
}

impl Bound {
    /// Binds an exchange to a guest.
    pub(crate) fn new(guest: Rc<Guest>, id: u64) -> Rc<Bound> {
        guest.exchanges.set(guest.exchanges.get() + 1);
        let number = guest.number();
        Rc::new(Bound { guest, id, number, resource: Cell::default(), watch: Rc::default() })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let guest = &self.guest;
        guest.exchanges.set(guest.exchanges.get().saturating_sub(1));
        guest.last_used.set(Instant::now());
        if let Some(resource) = self.resource.take() {
            guest.tell(Call::End(resource));
        }
    }
}
