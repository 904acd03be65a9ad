//! Plugins that run on one worker.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
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
/// So often an instance may be spent soon after its start before the next one has to wait.
const QUICK: u32 = 3;
/// An instance that lived so long was no failure to start.
const SOUND: Duration = Duration::from_secs(10);

/// A plugin on this worker, with an instance that takes exchanges.
pub(crate) struct Running {
    pub(crate) name: String,
    pub(crate) policy: Policy,
    pub(crate) hooks: Hooks,
    pub(crate) instance: Rc<dyn Instance>,
    since: Instant,
    /// Calls that wait.
    waiting: Rc<Cell<usize>>,
    /// Runs its timers, for as long as the plugin is of the newest snapshot.
    background: RefCell<Option<Background>>,
}

/// A call that waits, while this lives.
pub(crate) struct Waits(Rc<Cell<usize>>);

impl Running {
    /// Enters a call that waits.
    ///
    /// # Errors
    /// Where too many do.
    pub(crate) fn wait(&self) -> Result<Waits, String> {
        let most = self.policy.limits.waiting;
        if self.waiting.get() >= most {
            return Err(format!("{most} calls of it wait already: `limits.waiting` allows no more"));
        }
        self.waiting.set(self.waiting.get() + 1);
        Ok(Waits(self.waiting.clone()))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
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
pub(crate) struct Instances {
    seats: RefCell<HashMap<*const (), Rc<Seat>>>,
    /// The plugins of the newest snapshot.
    newest: RefCell<HashSet<*const ()>>,
}

/// Where a plugin's instance is, once it has started.
struct Seat {
    /// Kept by snapshots alone; its address is of no other as long as this is here.
    plugin: Weak<dyn Plugin>,
    running: RefCell<Option<Rc<Running>>>,
    /// Held while one is started.
    starting: Mutex<()>,
    failed: RefCell<Option<(PluginError, Instant)>>,
    back_off: Cell<Duration>,
    /// Instances in a row that were spent soon after their start.
    quick: Cell<u32>,
    /// Whether it was not in the newest snapshot for a while.
    retired: Cell<bool>,
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
        if let Some(seat) = self.seats.borrow().get(&key) {
            return seat.clone();
        }
        let seat = Rc::new(Seat {
            plugin: Arc::downgrade(plugin),
            running: RefCell::default(),
            starting: Mutex::default(),
            failed: RefCell::default(),
            back_off: Cell::new(FIRST_BACK_OFF),
            quick: Cell::new(0),
            retired: Cell::new(false),
        });
        self.tidy();
        self.seats.borrow_mut().insert(key, seat.clone());
        seat
    }

    /// These are the plugins of the newest snapshot: timers of others end, and what nothing uses any more goes.
    pub(crate) fn follow<'a>(&self, newest: impl Iterator<Item = &'a Arc<dyn Plugin>>) {
        *self.newest.borrow_mut() = newest.map(|plugin| Arc::as_ptr(plugin).cast::<()>()).collect();
        self.tidy();
    }

    /// Lets go of plugins that are not in the newest snapshot, as soon as nothing uses them. (Earlier configurations that
    /// are kept to go back to have theirs, too, so that it cannot be told by who holds them.)
    pub(crate) fn tidy(&self) {
        let newest = self.newest.borrow();
        self.seats.borrow_mut().retain(|plugin, seat| {
            if !newest.contains(plugin) {
                return seat.plugin.strong_count() > 0 && seat.retire();
            }
            if seat.retired.replace(false) {
                // It was gone back to. What its exchanges of before use has no timers any more.
                seat.running.take();
            }
            true
        });
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
    /// Ends its timers. Whether an exchange still uses it.
    fn retire(&self) -> bool {
        self.retired.set(true);
        match &*self.running.borrow() {
            Some(running) => {
                running.background.take();
                Rc::strong_count(running) > 1
            }
            // It may be about to start.
            None => self.starting.try_lock().is_err(),
        }
    }

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
        match self.running.take() {
            Some(spent) if spent.since.elapsed() < SOUND => {
                self.quick.set(self.quick.get() + 1);
                if self.quick.get() > QUICK {
                    let message =
                        format!("it was spent {} times in a row soon after its start", self.quick.get());
                    return Err(self.wait(PluginError { plugin: plugin.name().to_owned(), message }));
                }
            }
            Some(_) => {
                self.back_off.set(FIRST_BACK_OFF);
                self.quick.set(0);
            }
            None => {}
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
                    background: RefCell::new(run_timers(own, plugin.hooks(), &*instance)),
                    instance,
                    since: Instant::now(),
                    waiting: Rc::default(),
                });
                *self.running.borrow_mut() = Some(running.clone());
                Ok(running)
            }
            Err(error) => Err(self.wait(error)),
        }
    }

    /// Has it not tried again before some time has passed, more each time.
    fn wait(&self, error: PluginError) -> PluginError {
        let wait = self.back_off.get();
        self.back_off.set((wait * 2).min(LAST_BACK_OFF));
        tracing::error!(plugin = error.plugin, %error, again_in = ?wait, "a plugin does not start");
        *self.failed.borrow_mut() = Some((error.clone(), Instant::now() + wait));
        error
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
        let follow = |plugins: &[Arc<dyn Plugin>]| {
            workers.iter().for_each(|worker| worker.follow(plugins.iter()));
        };
        follow(std::slice::from_ref(&plugin));
        assert!(running.iter().all(|running| running.upgrade().is_some()), "the newest snapshot has it");
        let used = running[0].upgrade().expect("it runs");
        // An earlier configuration that is kept has it, too.
        follow(&[]);
        let left = |running: &[rc::Weak<Running>]| running.iter().filter(|r| r.upgrade().is_some()).count();
        assert_eq!(left(&running), 1, "one is used");
        follow(std::slice::from_ref(&plugin));
        let fresh = workers[0].get(&plugin).await.expect("it starts");
        assert!(!Rc::ptr_eq(&fresh, &used), "the timers of the old one have ended");
        drop((used, fresh));
        follow(&[]);
        assert_eq!(left(&running), 0);
    }

    /// A plugin whose instances are spent at once.
    #[derive(Debug, Default)]
    struct Spent(Policy);

    impl Plugin for Spent {
        fn name(&self) -> &str {
            "spent"
        }

        fn hooks(&self) -> Hooks {
            Hooks::default()
        }

        fn policy(&self) -> &Policy {
            &self.0
        }

        fn instantiate(&self) -> Step<'_, Result<Rc<dyn Instance>, PluginError>> {
            let instance: Rc<dyn Instance> = Rc::new(Spent::default());
            Step::Done(Ok(instance))
        }
    }

    impl Instance for Spent {
        fn visit(self: Rc<Self>) -> Box<dyn weir_plugin::Visit> {
            unreachable!("nothing is asked of it")
        }

        fn is_spent(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn what_is_spent_again_and_again_has_to_wait() {
        let worker = Instances::default();
        let plugin: Arc<dyn Plugin> = Arc::new(Spent::default());
        for _ in 0..=QUICK {
            worker.get(&plugin).await.expect("it starts afresh");
        }
        for _ in 0..2 {
            let error = worker.get(&plugin).await.err().expect("it has to wait");
            assert!(error.message.contains("spent 4 times in a row"), "{error}");
        }
    }

    #[tokio::test]
    async fn not_too_many_calls_wait() {
        let worker = Instances::default();
        let limits = weir_plugin::Limits { waiting: 2, ..weir_plugin::Limits::default() };
        let policy = Policy { limits, ..Policy::default() };
        let plugin: Arc<dyn Plugin> = Arc::new(Native::new("waits").policy(policy));
        let running = worker.get(&plugin).await.expect("it starts");
        let first = running.wait().expect("one");
        let _second = running.wait().expect("two");
        assert!(running.wait().is_err_and(|message| message.contains("2 calls of it wait already")));
        drop(first);
        assert!(running.wait().is_ok());
    }
}
