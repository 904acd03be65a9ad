//! Running a hook: it has turns, a budget of processor time, and can be cancelled.
//!
//! A script's thread of its own runs each call. The interrupt, which Luau asks at every loop, call and return (also
//! inside pattern matching and the comparators of sorts), ends a turn by yielding. Past the budget the thread is
//! dropped, which nothing in the script can catch. Where a thread cannot yield, because a library function stands
//! between, the script gets an error instead.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use mlua::function::AsyncCallFuture;
use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, VmState};
use weir_plugin::{Held, Limits, Slot, Step};

use crate::fault::message;
use crate::state::State;

/// Processor time of the call that runs now.
///
/// The first turn is measured by the wall clock, which costs little. Only a call that outlives it is worth the clock
/// of the thread, which other processes do not move.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) limits: Limits,
    /// When the turn began.
    began: Cell<Instant>,
    /// The thread's clock when the turn began, but for the first; then when its end was asked for.
    processor: Cell<Option<Duration>>,
    /// Until when of the thread's clock a turn goes on that could not end.
    quiet: Cell<Option<Duration>>,
    /// How often it was asked for in vain, past what a script may have where it cannot be interrupted.
    in_vain: Cell<u32>,
}

impl Meter {
    /// With these limits.
    pub(crate) fn new(limits: Limits) -> Rc<Self> {
        Rc::new(Meter {
            limits,
            began: Cell::new(Instant::now()),
            processor: Cell::default(),
            quiet: Cell::default(),
            in_vain: Cell::new(0),
        })
    }

    /// A turn begins of a call that has had so much time before.
    fn begin(&self, spent: Duration) {
        self.began.set(Instant::now());
        self.processor.set((!spent.is_zero()).then(processor_time));
        self.quiet.set(None);
        self.in_vain.set(0);
    }

    /// Processor time of the turn that ends.
    fn end(&self) -> Duration {
        let wall = self.began.get().elapsed();
        match self.processor.get() {
            Some(then) => wall.min(processor_time().saturating_sub(then)),
            None => wall.min(self.limits.slice),
        }
        .max(Duration::from_nanos(1))
    }

    /// An error where a script has gone on for too long without a place to end its turn. Getters of handles have none
    /// for a few steps, and the machine may stand still just there: only what goes on and on is meant.
    fn stalled(&self, now: Duration) -> mlua::Result<()> {
        let stall = self.limits.stall;
        let over = self.processor.get().is_some_and(|then| now.saturating_sub(then) > stall);
        let in_vain = if over { self.in_vain.get().saturating_add(1) } else { 0 };
        self.in_vain.set(in_vain);
        match in_vain > PATIENCE {
            false => Ok(()),
            true => Err(mlua::Error::runtime(format!(
                "it ran for {stall:?} where others cannot have their turn (in a comparator or a callback of a library \
                 function, say)"
            ))),
        }
    }

    /// A coroutine has ended its turn, but whoever runs it cannot: it goes on for another one.
    ///
    /// # Errors
    /// When that has been so for too long.
    pub(crate) fn go_on(&self) -> mlua::Result<()> {
        let now = processor_time();
        self.quiet.set(now.checked_add(self.limits.slice));
        self.stalled(now)
    }

    /// Makes a state ask this meter. Errors of the interrupt are what the script gets where it cannot yield.
    pub(crate) fn watch(self: &Rc<Self>, lua: &Lua) {
        let meter = self.clone();
        lua.set_interrupt(move |_| {
            if meter.began.get().elapsed() < meter.limits.slice {
                return Ok(VmState::Continue);
            }
            let now = processor_time();
            if meter.processor.get().is_none() {
                meter.processor.set(Some(now));
            }
            if meter.quiet.get().is_some_and(|until| now < until) {
                return Ok(VmState::Continue);
            }
            // Where it can yield, it does so when it is asked. After an error it may have come to such a place; by
            // chance, so that no script can arrange that every error falls where it is caught.
            if let Err(error) = meter.stalled(now)
                && fastrand::bool()
            {
                return Err(error);
            }
            Ok(VmState::Yield)
        });
    }
}

/// How often a script is found in vain where it cannot end its turn before it gets an error.
const PATIENCE: u32 = 100;

/// Processor time of this thread.
pub(crate) fn processor_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Wakes whoever polls a call now. What a script waits for is not asked again each time that its call is polled: where
/// a turn ends just after it was asked, the next poll only comes to the place where the script gives way. So it has to
/// wake whoever polled last, and be heard also before that.
#[derive(Debug, Default)]
pub(crate) struct Forward {
    to: Mutex<Option<Waker>>,
    woken: AtomicBool,
}

impl Forward {
    fn to(&self, waker: &Waker) {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        if !to.as_ref().is_some_and(|to| to.will_wake(waker)) {
            *to = Some(waker.clone());
        }
    }

    /// Whether somebody has woken it since this was asked.
    fn was_woken(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }

    /// Keeps it for the next call if nobody else holds it.
    fn reuse(self: Arc<Self>, state: &State) {
        // The call itself holds it, too.
        if Arc::strong_count(&self) <= 2 {
            self.was_woken();
            state.waker.replace(Some(self));
        }
    }
}

impl Wake for Forward {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(to) = to {
            to.wake();
        }
    }
}

/// A call under way.
struct Call<R: FromLuaMulti> {
    thread: AsyncCallFuture<R>,
    state: Rc<State>,
    slot: Slot,
    waker: Arc<Forward>,
    spent: Duration,
    /// Its budget.
    limit: Duration,
}

impl<R: FromLuaMulti> Call<R> {
    fn new(
        state: &Rc<State>,
        slot: &Slot,
        limit: Duration,
        function: &Function,
        arguments: impl IntoLuaMulti,
    ) -> Self {
        let thread = function.call_async(arguments);
        let waker = state.waker.take().unwrap_or_default();
        Call { thread, state: state.clone(), slot: slot.clone(), waker, spent: Duration::ZERO, limit }
    }
}

impl<R: FromLuaMulti> Future for Call<R> {
    type Output = mlua::Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = self.state.clone();
        let before = state.current.replace(Some(self.slot.clone()));
        state.meter.begin(self.spent);
        self.slot.open(true);
        let forward = self.waker.clone();
        forward.to(cx.waker());
        let waker = Waker::from(forward.clone());
        let polled = Pin::new(&mut self.thread).poll(&mut Context::from_waker(&waker));
        self.slot.open(false);
        self.spent += state.meter.end();
        state.current.replace(before);
        let limit = self.limit;
        match polled {
            Poll::Pending if self.spent > limit => {
                Poll::Ready(Err(mlua::Error::runtime(format!("it used up its processor time of {limit:?}"))))
            }
            Poll::Pending => {
                if forward.was_woken() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Poll::Ready(result) => {
                drop(waker);
                forward.reuse(&state);
                state.look_at_memory(result.as_ref().err());
                Poll::Ready(result)
            }
        }
    }
}

/// Calls a hook with the exchange lent to `slot`, and turns what it returns into what the host wants.
pub(crate) fn call<'a, R, T>(
    state: &'a Rc<State>,
    slot: &'a Slot,
    exchange: &'a mut Held,
    function: &Function,
    arguments: impl IntoLuaMulti,
    convert: impl FnOnce(Result<R, String>) -> T + 'a,
) -> Step<'a, T>
where
    R: FromLuaMulti + 'a,
    T: 'a,
{
    let mut call = Call::new(state, slot, state.meter.limits.cpu, function, arguments);
    let convert = move |result: mlua::Result<R>| convert(result.map_err(|error| message(&error)));
    let loan = slot.lend(exchange);
    // Most calls do not wait: nobody needs to be woken for them.
    match Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Step::Done(convert(result)),
        Poll::Pending => Step::Wait(Box::pin(async move {
            let _loan = loan;
            convert(call.await)
        })),
    }
}

/// Calls a function that has no exchange.
pub(crate) async fn call_alone<R: FromLuaMulti>(
    state: &Rc<State>,
    function: &Function,
    arguments: impl IntoLuaMulti,
) -> Result<R, mlua::Error> {
    Call::new(state, &Slot::default(), state.meter.limits.cpu * LOAD, function, arguments).await
}

/// What runs once, when a plugin is loaded, may take so many times the budget of a hook.
const LOAD: u32 = 50;
