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
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use mlua::{Lua, ffi};

/// How often the ticker looks whether there is a turn. Waking it costs a busy core up to forty microseconds where the
/// machine is a virtual one.
const TICK: Duration = Duration::from_millis(4);

/// How often it looks after a turn that was too long: that was not the last one.
const ALERT: Duration = Duration::from_micros(500);

/// For how long it is on the alert then.
const ALERTED: Duration = Duration::from_secs(1);

/// So many looks without a turn and it sleeps.
const IDLE: u32 = 25;

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
    static LANE: Arc<Lane> = TICKER.lane();
}

struct Ticker {
    lanes: Mutex<Vec<Weak<Lane>>>,
    asleep: AtomicBool,
    /// None where it did not start.
    thread: OnceLock<Option<Thread>>,
}

static TICKER: Ticker =
    Ticker { lanes: Mutex::new(Vec::new()), asleep: AtomicBool::new(false), thread: OnceLock::new() };

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
        let is_watched = TICKER.thread.get().is_some_and(Option::is_some);
        let young = if is_watched { ptr::null_mut() } else { function };
        Ok(Interrupt { callbacks, function, young, slice, lane })
    }

    /// Begins a turn.
    pub(crate) fn begin(&self) -> Turn<'_> {
        self.set(self.young);
        let lane = &self.lane;
        lane.turn.fetch_add(1, Ordering::Relaxed);
        // Before the look whether the ticker sleeps, which looks at this after it has said so.
        let before = lane.running.swap(ptr::from_ref(self).cast_mut(), Ordering::SeqCst);
        if TICKER.asleep.load(Ordering::SeqCst) && TICKER.asleep.swap(false, Ordering::SeqCst) {
            TICKER.wake();
        }
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

impl Ticker {
    /// A lane for this thread; the first one starts the ticker.
    fn lane(&'static self) -> Arc<Lane> {
        let lane = Arc::<Lane>::default();
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lane));
        self.thread.get_or_init(|| {
            let started = thread::Builder::new().name("weir-ticker".to_owned()).spawn(|| self.run());
            match started {
                Ok(handle) => Some(handle.thread().clone()),
                Err(error) => {
                    tracing::warn!(%error, "no thread to watch the turns of scripts: they run slower without");
                    None
                }
            }
        });
        lane
    }

    fn wake(&self) {
        if let Some(Some(thread)) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self) {
        let mut seen: Vec<Seen> = Vec::new();
        let mut idle = 0;
        let mut pause = TICK;
        let mut alert: Option<Instant> = None;
        loop {
            thread::sleep(pause);
            let now = self.look(&mut seen);
            if now.is_late {
                alert = Some(Instant::now());
            }
            alert = alert.filter(|since| since.elapsed() < ALERTED);
            pause = now.pause.min(if alert.is_some() { ALERT } else { TICK });
            idle = if now.is_idle { idle + 1 } else { 0 };
            while idle >= IDLE {
                self.asleep.store(true, Ordering::SeqCst);
                if self.look(&mut seen).is_idle {
                    thread::park();
                } else {
                    self.asleep.store(false, Ordering::SeqCst);
                }
                if !self.asleep.load(Ordering::SeqCst) {
                    idle = 0;
                }
            }
        }
    }

    /// Looks at all lanes once.
    fn look(&self, seen: &mut Vec<Seen>) -> Look {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.iter().any(|lane| lane.strong_count() == 0) {
            lanes.retain(|lane| lane.strong_count() > 0);
            seen.clear();
        }
        let now = Instant::now();
        seen.resize(lanes.len(), Seen { turn: 0, since: now });
        let mut all = Look { is_idle: true, is_late: false, pause: TICK };
        for (lane, seen) in lanes.iter().filter_map(Weak::upgrade).zip(seen) {
            let one = lane.look(now, seen);
            all = Look {
                is_idle: all.is_idle && one.is_idle,
                is_late: all.is_late || one.is_late,
                pause: all.pause.min(one.pause),
            };
        }
        all
    }
}

/// The turn that a lane was last seen at.
#[derive(Clone, Copy)]
struct Seen {
    turn: u64,
    since: Instant,
}

/// What a look found.
struct Look {
    /// No turn goes on, and there was none since the last look.
    is_idle: bool,
    /// A turn has lasted too long.
    is_late: bool,
    /// When to look again.
    pause: Duration,
}

impl Lane {
    /// Sets the interrupt, if the turn that goes on has lasted too long.
    fn look(&self, now: Instant, seen: &mut Seen) -> Look {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: who runs is not dropped before this lock is free.
        let running = unsafe { self.running.load(Ordering::SeqCst).as_ref() };
        let turn = self.turn.load(Ordering::Relaxed);
        let is_same = turn == seen.turn;
        if !is_same {
            *seen = Seen { turn, since: now };
        }
        let Some(running) = running else { return Look { is_idle: is_same, is_late: false, pause: TICK } };
        let left = running.slice.saturating_sub(now.duration_since(seen.since));
        let is_late = left.is_zero();
        if is_late {
            running.set(running.function);
        }
        Look { is_idle: false, is_late, pause: if is_late { TICK } else { left } }
    }
}
