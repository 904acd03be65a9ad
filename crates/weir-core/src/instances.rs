//! Plugins that run on one worker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{self, Rc};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_local};
use weir_plugin::{Hooks, Instance, Plugin, PluginError, Policy, Step};

use crate::net::InTurns;

/// A plugin that did not start is tried again after so long, twice as long each time.
const FIRST_BACK_OFF: Duration = Duration::from_millis(500);
/// The longest time between two tries.
const LAST_BACK_OFF: Duration = Duration::from_secs(30);
/// An instance that lived so long was no failure to start.
const SOUND: Duration = Duration::from_secs(10);

/// A plugin on this worker, with an instance that takes exchanges.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) hooks: Hooks,
    pub(crate) instance: Rc<dyn Instance>,
    since: Instant,
    /// Runs its timers.
    _background: Option<Background>,
}

/// A task that ends with what it is for.
struct Background(AbortHandle);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// All plugins that run on this worker, by the address of the plugin.
#[derive(Default)]
pub(crate) struct Instances(RefCell<HashMap<*const (), Rc<Seat>>>);

/// Where a plugin's instance is, once it has started.
struct Seat {
    /// Kept by snapshots alone; its address is of no other as long as this is here.
    plugin: Weak<dyn Plugin>,
    running: RefCell<Option<Rc<Running>>>,
    /// Held while one is started.
    starting: Mutex<()>,
    failed: RefCell<Option<(PluginError, Instant)>>,
    back_off: Cell<Duration>,
}

impl Instances {
    /// This worker's instance of a plugin, started on first use and when the last one is spent.
    ///
    /// # Errors
    /// When the plugin does not start. It is not tried again before some time has passed.
    pub(crate) async fn get(&self, plugin: &Arc<dyn Plugin>) -> Result<Rc<Running>, PluginError> {
        let seat = self.seat(plugin);
        if let Some(running) = seat.running() {
            return Ok(running);
        }
        seat.start(plugin).await
    }

    fn seat(&self, plugin: &Arc<dyn Plugin>) -> Rc<Seat> {
        let key = Arc::as_ptr(plugin).cast::<()>();
        if let Some(seat) = self.0.borrow().get(&key) {
            return seat.clone();
        }
        let seat = Rc::new(Seat {
            plugin: Arc::downgrade(plugin),
            running: RefCell::default(),
            starting: Mutex::default(),
            failed: RefCell::default(),
            back_off: Cell::new(FIRST_BACK_OFF),
        });
        self.tidy();
        let mut all = self.0.borrow_mut();
        all.insert(key, seat.clone());
        seat
    }

    /// Lets go of plugins that no snapshot has any more.
    pub(crate) fn tidy(&self) {
        self.0.borrow_mut().retain(|_, seat| seat.plugin.strong_count() > 0);
    }
}

/// Calls `on_timer` whenever a timer of an instance is over.
fn run_timers(running: &rc::Weak<Running>, hooks: Hooks, instance: &dyn Instance) -> Option<Background> {
    let timers = instance.timers().filter(|_| hooks.timer)?;
    let running = running.clone();
    let task = spawn_local(async move {
        loop {
            let name = timers.next().await;
            let Some(running) = running.upgrade() else { return };
            running.beside("on_timer", running.instance.on_timer(name)).await;
        }
    });
    Some(Background(task.abort_handle()))
}

impl Seat {
    fn running(&self) -> Option<Rc<Running>> {
        self.running.borrow().as_ref().filter(|running| !running.instance.is_spent()).cloned()
    }

    async fn start(&self, plugin: &Arc<dyn Plugin>) -> Result<Rc<Running>, PluginError> {
        let _starting = self.starting.lock().await;
        if let Some(running) = self.running() {
            return Ok(running);
        }
        if let Some((error, until)) = &*self.failed.borrow()
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let spent = self.running.take();
        if spent.as_ref().is_some_and(|spent| spent.since.elapsed() > SOUND) {
            self.back_off.set(FIRST_BACK_OFF);
        }
        let policy = plugin.policy();
        let deadline = policy.limits.deadline;
        let late = |_| PluginError {
            plugin: plugin.name().to_owned(),
            message: format!("its start took longer than its deadline of {deadline:?}"),
        };
        let started = match plugin.instantiate() {
            Step::Done(started) => started,
            Step::Wait(starting) => {
                let started = tokio::time::timeout(deadline, InTurns::new(starting)).await;
                started.unwrap_or_else(|elapsed| Err(late(elapsed)))
            }
        };
        match started {
            Ok(instance) => {
                let running = Rc::new_cyclic(|own| Running {
                    name: plugin.name().to_owned(),
                    policy: policy.clone(),
                    hooks: plugin.hooks(),
                    _background: run_timers(own, plugin.hooks(), &*instance),
                    instance,
                    since: Instant::now(),
                });
                *self.running.borrow_mut() = Some(running.clone());
                Ok(running)
            }
            Err(error) => {
                let wait = self.back_off.get();
                self.back_off.set((wait * 2).min(LAST_BACK_OFF));
                tracing::error!(plugin = plugin.name(), %error, again_in = ?wait, "a plugin does not start");
                *self.failed.borrow_mut() = Some((error.clone(), Instant::now() + wait));
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::native::Native;

    #[tokio::test]
    async fn what_no_snapshot_has_is_let_go_of_on_every_worker() {
        let workers = [Instances::default(), Instances::default()];
        let plugin: Arc<dyn Plugin> = Arc::new(Native::new("old"));
        let mut running = Vec::new();
        for worker in &workers {
            let first = worker.get(&plugin).await.expect("it starts");
            assert!(Rc::ptr_eq(&first, &worker.get(&plugin).await.expect("it runs")), "one a worker");
            running.push(Rc::downgrade(&first));
        }
        workers.iter().for_each(Instances::tidy);
        assert!(running.iter().all(|running| running.upgrade().is_some()), "a snapshot has it");
        drop(plugin);
        workers.iter().for_each(Instances::tidy);
        assert!(running.iter().all(|running| running.upgrade().is_none()));
    }
}
