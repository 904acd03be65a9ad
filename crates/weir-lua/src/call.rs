//! Running a hook: it has turns, a budget of processor time, and can be cancelled.
//!
//! A script's thread of its own runs each call. The interrupt, which Luau asks at every loop, call and return (also
//! inside pattern matching and the comparators of sorts) once the ticker has set it, ends a turn by yielding. Past the budget the thread is
//! dropped, which nothing in the script can catch. Where a thread cannot yield, because a library function stands
//! between, the script gets an error instead.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderValue;
use mlua::function::AsyncCallFuture;
use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, VmState};
use weir_plugin::{Held, Limits, Slot, Step, WebSocket};

use crate::fault::message;
use crate::handles::FrameSlot;
use crate::state::State;
use crate::ticker::{Interrupt, Turn};

/// Processor time of the call that runs now.
///
/// The first turn is not measured: either it ends by itself, or the ticker ends it after its slice. Only a call that
/// outlives it is worth the clock of the thread, which other processes do not move.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) limits: Limits,
    /// Set once the state is watched.
    interrupt: OnceCell<Interrupt>,
    /// The thread's clock when the turn began, but for the first; then when its end was asked for.
    processor: Cell<Option<Duration>>,
    /// Until when of the thread's clock a turn goes on that could not end.
    quiet: Cell<Option<Duration>>,
    /// How often it was asked for in vain, past what a script may have where it cannot be interrupted.
    in_vain: Cell<u32>,
    /// Whether the turn was ended by the interrupt.
    ended: Cell<bool>,
}

impl Meter {
    /// With these limits.
    pub(crate) fn new(limits: Limits) -> Rc<Self> {
        Rc::new(Meter {
            limits,
            interrupt: OnceCell::new(),
            processor: Cell::default(),
            quiet: Cell::default(),
            in_vain: Cell::new(0),
            ended: Cell::new(false),
        })
    }

    /// A turn begins of a call that has had so much time before.
    fn begin(&self, spent: Duration) -> Option<Turn<'_>> {
        self.processor.set((!spent.is_zero()).then(processor_time));
        self.quiet.set(None);
        self.in_vain.set(0);
        self.ended.set(false);
        self.interrupt.get().map(Interrupt::begin)
    }

    /// Processor time of the turn that ends.
    fn end(&self, spent: Duration) -> Duration {
        match self.processor.get() {
            Some(then) if !spent.is_zero() => processor_time().saturating_sub(then),
            Some(_) => self.limits.slice,
            None => Duration::ZERO,
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
    pub(crate) fn watch(self: &Rc<Self>, lua: &Lua) -> mlua::Result<()> {
        let meter = Rc::downgrade(self);
        lua.set_interrupt(move |_| {
            let Some(meter) = meter.upgrade() else { return Ok(VmState::Continue) };
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
            meter.ended.set(true);
            Ok(VmState::Yield)
        });
        let interrupt = Interrupt::take(lua, self.limits.slice)?;
        drop(self.interrupt.set(interrupt));
        Ok(())
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

/// What a call is for.
#[derive(Clone, Debug, Default)]
pub(crate) enum For {
    /// A hook of an exchange, which is lent to it.
    Exchange(Slot),
    /// A body of the request of this id.
    Body(HeaderValue),
    /// A frame or a message of a WebSocket.
    Frame(Rc<FrameSlot>),
    /// A WebSocket.
    Relay(Rc<WebSocket>),
    /// No request.
    #[default]
    Nothing,
}

impl For {
    fn open(&self, open: bool) {
        if let For::Exchange(slot) = self {
            slot.open(open);
        }
    }
}

/// A call under way.
struct Call<R: FromLuaMulti> {
    thread: AsyncCallFuture<R>,
    state: Rc<State>,
    what: For,
    spent: Duration,
    /// Its budget.
    limit: Duration,
    /// Whether what it waits for may not know of this poll.
    ///
    /// Where a turn ends between the begin of a wait and the script's saying that it waits, the next poll only comes to
    /// where it says so: it does not ask again. One more poll asks; without it, what came between the two would be
    /// lost.
    again: bool,
}

impl<R: FromLuaMulti> Call<R> {
    fn new(
        state: &Rc<State>,
        what: For,
        limit: Duration,
        function: &Function,
        arguments: impl IntoLuaMulti,
    ) -> Self {
        let thread = function.call_async(arguments);
        Call { thread, state: state.clone(), what, spent: Duration::ZERO, limit, again: false }
    }
}

impl<R: FromLuaMulti> Future for Call<R> {
    type Output = mlua::Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = self.state.clone();
        let before = state.current.replace(self.what.clone());
        let turn = state.meter.begin(self.spent);
        self.what.open(true);
        let polled = Pin::new(&mut self.thread).poll(cx);
        self.what.open(false);
        drop(turn);
        let spent = self.spent;
        self.spent += state.meter.end(spent);
        state.current.replace(before);
        let limit = self.limit;
        match polled {
            Poll::Pending if self.spent > limit => {
                Poll::Ready(Err(mlua::Error::runtime(format!("it used up its processor time of {limit:?}"))))
            }
            Poll::Pending => {
                let ended = state.meter.ended.get();
                if std::mem::replace(&mut self.again, ended) && !ended {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Poll::Ready(result) => {
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
    let loan = slot.lend(exchange);
    begin(
        Call::new(state, For::Exchange(slot.clone()), state.meter.limits.cpu, function, arguments),
        loan,
        convert,
    )
}

/// Has a call its first turn. What is `held` is let go of when the call has ended.
fn begin<'a, R, T, H>(
    mut call: Call<R>,
    held: H,
    convert: impl FnOnce(Result<R, String>) -> T + 'a,
) -> Step<'a, T>
where
    R: FromLuaMulti + 'a,
    T: 'a,
    H: 'a,
{
    let convert = move |result: mlua::Result<R>| convert(result.map_err(|error| message(&error)));
    // Most calls do not wait: nobody needs to be woken for them.
    match Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Step::Done(convert(result)),
        Poll::Pending => Step::Wait(Box::pin(async move {
            let _held = held;
            convert(call.await)
        })),
    }
}

/// Calls a hook that goes on beside the exchange.
pub(crate) fn call_beside<R, T>(
    state: &Rc<State>,
    what: For,
    function: &Function,
    arguments: impl IntoLuaMulti,
    convert: impl FnOnce(Result<R, String>) -> T + 'static,
) -> Step<'static, T>
where
    R: FromLuaMulti + 'static,
    T: 'static,
{
    begin(Call::new(state, what, state.meter.limits.cpu, function, arguments), (), convert)
}

/// Calls a function that has no exchange.
pub(crate) async fn call_alone<R: FromLuaMulti>(
    state: &Rc<State>,
    function: &Function,
    arguments: impl IntoLuaMulti,
) -> Result<R, mlua::Error> {
    Call::new(state, For::Nothing, state.meter.limits.cpu * LOAD, function, arguments).await
}

/// What runs once, when a plugin is loaded, may take so many times the budget of a hook.
const LOAD: u32 = 50;
