//! When a script's turn has lasted long enough.
//!
//! An interrupt that is always set costs a script some twenty nanoseconds for each step of a loop. So it is set only
//! when a turn outlives its slice, which one thread for the process looks for: Luau lets other threads set it, and
//! nothing else. The thread sleeps while no script runs.
//!
//! # Why this is sound
//! What the ticker writes to is in a Lua state, which the worker may close when the turn has ended. The ticker writes
//! only while it holds the lane's lock and has seen, under it, whose turn it is; a worker that ends a state takes that
//! lock after its turn. So either the ticker sees that the turn has ended, or the worker waits for it.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mlua::{Lua, ffi};
use weir_plugin::ticker::{self, Look, Seen, Ticker};

/// A thread that runs scripts, as the ticker sees it.
#[derive(Debug, Default)]
struct Lane {
    /// Whose turn it is; null while there is none.
    running: AtomicPtr<Interrupt>,
    /// Counts begins and ends of turns.
    turn: AtomicU64,
    /// Held while the ticker looks at who runs.
    looking: Mutex<()>,
}

thread_local! {
    static LANE: Arc<Lane> = {
        TICKER.start("weir-ticker", || ());
        TICKER.lane()
    };
}

static TICKER: Ticker<Lane> = Ticker::new();

/// The interrupt of a state: unset but in turns that last too long. For the thread that made it only.
#[derive(Debug)]
pub(crate) struct Interrupt {
    callbacks: *mut ffi::lua_Callbacks,
    /// What Luau calls when it is set.
    function: *mut (),
    /// What is set while a turn is young: nothing, but where there is no ticker.
    young: *mut (),
    /// How long a turn may last, from when the ticker first sees it.
    slice: Duration,
    lane: Arc<Lane>,
}

/// A turn; dropping it ends it.
pub(crate) struct Turn<'a> {
    interrupt: &'a Interrupt,
    /// Whose turn it was before, on this thread: it goes on after this one.
    before: *mut Interrupt,
}

impl Interrupt {
    /// Takes the interrupt that was set for a state. The state must not be closed before this is dropped.
    pub(crate) fn take(lua: &Lua, slice: Duration) -> mlua::Result<Interrupt> {
        let (mut callbacks, mut function) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: a state has callbacks for as long as it lives; nothing in here throws.
        unsafe {
            lua.exec_raw::<()>((), |l| {
                callbacks = ffi::lua_callbacks(l);
                if let Some(set) = (*callbacks).interrupt.take() {
                    function = set as *mut ();
                }
            })?;
        }
        let lane = LANE.with(Arc::clone);
        // Without a ticker scripts run slower.
        let young = if TICKER.is_running() { ptr::null_mut() } else { function };
        Ok(Interrupt { callbacks, function, young, slice, lane })
    }

    /// Begins a turn.
    pub(crate) fn begin(&self) -> Turn<'_> {
        self.set(self.young);
        let lane = &self.lane;
        lane.turn.fetch_add(1, Ordering::Relaxed);
        // Before the look whether the ticker sleeps, which looks at this after it has said so.
        let before = lane.running.swap(ptr::from_ref(self).cast_mut(), Ordering::SeqCst);
        TICKER.rouse();
        Turn { interrupt: self, before }
    }

    /// Sets what Luau calls.
    fn set(&self, to: *mut ()) {
        // SAFETY: the state lives while this does.
        unsafe { place(self.callbacks) }.store(to, Ordering::Relaxed);
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // The ticker may be about to set it.
        drop(self.lane.looking.lock());
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let lane = &self.interrupt.lane;
        lane.turn.fetch_add(1, Ordering::Relaxed);
        lane.running.store(self.before, Ordering::SeqCst);
        self.interrupt.set(self.interrupt.young);
    }
}

/// Where the callbacks have the interrupt.
///
/// # Safety
/// They live while what is returned is used.
unsafe fn place<'a>(callbacks: *mut ffi::lua_Callbacks) -> &'a AtomicPtr<()> {
    const {
        assert!(
            size_of::<Option<unsafe extern "C-unwind" fn(*mut ffi::lua_State, c_int)>>()
                == size_of::<*mut ()>()
        )
    };
    // SAFETY: a function's pointer, null for none, is as large as any pointer and aligned as one.
    unsafe { AtomicPtr::from_ptr((&raw mut (*callbacks).interrupt).cast()) }
}

impl ticker::Lane for Lane {
    /// Sets the interrupt, if the turn that goes on has lasted too long.
    fn look(&self, now: Instant, seen: &mut Seen) -> Look {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: who runs is not dropped before this lock is free.
        let running = unsafe { self.running.load(Ordering::SeqCst).as_ref() };
        let turn = self.turn.load(Ordering::Relaxed);
        let look = seen.note(now, turn, running.map(|running| running.slice));
        if let Some(running) = running.filter(|_| look.is_late) {
            running.set(running.function);
        }
        look
    }
}
