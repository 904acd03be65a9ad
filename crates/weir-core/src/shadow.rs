//! A snapshot that is tried beside the one that serves, before it is published: on a share of the requests its plugins
//! are asked, too, and what they answer is thrown away. What is counted here says whether it should be published.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;
use weir_plugin::{Hooks, Instance, Plugin, PluginError, Policy, Step, Timers, Visit};

use crate::route::CompiledRoute;
use crate::snapshot::{AssembleError, Snapshot};
use crate::spec::Spec;

/// What a share is counted in.
pub const WHOLE: u64 = 10_000;

/// A snapshot that is tried.
pub struct Shadow {
    /// Before `ended`: it is gone when that is told.
    snapshot: Snapshot,
    /// By the address of a plugin that is tried: the one that would be published.
    originals: HashMap<usize, Arc<dyn Plugin>>,
    /// How many of [`WHOLE`] requests are tried.
    share: u64,
    /// Requests that it has met.
    met: AtomicU64,
    since: Instant,
    counts: Mutex<Counts>,
    id: u64,
    ended: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Counts {
    passed: u64,
    failed: BTreeMap<String, (u64, String)>,
    unjudged: u64,
    left_out: u64,
    /// What the hooks of requests that have passed took longer than those that serve, in nanoseconds.
    longer: i128,
    /// Requests whose hooks have not come to their end.
    waiting: u64,
    /// Of these, summed up, in nanoseconds: since when they wait, and how long those that serve took.
    waiting_since: i128,
}

/// What came of the requests that were tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests for which it was seen whether the hooks fail, or that wait for that.
    pub judged: u64,
    /// Those of them that wait.
    pub waiting: u64,
    /// Those that failed: a script's error, or a limit that was reached.
    pub failed: u64,
    /// Requests that told nothing: a hook asked for what it cannot have here (a body, an answer of another server), or
    /// the hooks that serve had failed, too.
    pub unjudged: u64,
    /// Requests that were to be tried but came when too many others were.
    pub left_out: u64,
    /// How many nanoseconds the hooks of those that did not fail took longer than the hooks that serve, in the mean. What
    /// still waits counts with the time that it has waited.
    pub longer: i64,
    /// The plugin that failed most often: its name, how often, and why the first time.
    pub worst: Option<(String, u64, String)>,
}

/// How a request that was tried ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The hooks have run.
    Passed,
    /// This plugin failed, because of this.
    Failed(String, String),
    /// It cannot be told.
    Unjudged,
}

/// A request that is being tried. Dropped before its end, it counts for nothing.
pub(crate) struct Trying {
    shadow: Arc<Shadow>,
    /// How long the hooks that serve took.
    before: Duration,
    begun: Instant,
    counted: bool,
}

/// Where a snapshot hangs that is tried on the requests of another one.
#[derive(Debug, Default)]
pub struct Trials {
    /// Whether there is any: all that requests read while there is none.
    on: AtomicBool,
    shadow: ArcSwapOption<Shadow>,
}

impl Trials {
    /// Tries this one from now on.
    pub fn begin(&self, shadow: Arc<Shadow>) {
        self.shadow.store(Some(shadow));
        self.on.store(true, Ordering::Relaxed);
    }

    /// Tries none any more. What is under way comes to its end.
    pub fn end(&self) {
        self.on.store(false, Ordering::Relaxed);
        self.shadow.store(None);
    }

    /// The one that is tried.
    pub(crate) fn current(&self) -> Option<Arc<Shadow>> {
        if self.on.load(Ordering::Relaxed) { self.shadow.load_full() } else { None }
    }
}

impl Shadow {
    /// What a spec would make of the snapshot that serves, with plugins that `lend` lends what has no effects; `None` where
    /// it cannot. `share` of [`WHOLE`] requests are tried.
    ///
    /// # Errors
    /// As [`Snapshot::assemble`].
    pub fn new(
        spec: &Spec,
        current: &Snapshot,
        lend: impl Fn(&Arc<dyn Plugin>) -> Option<Arc<dyn Plugin>>,
        share: u64,
    ) -> Result<Shadow, AssembleError> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let mut spec = spec.clone();
        let mut originals = HashMap::new();
        let mut lent: HashMap<usize, Arc<dyn Plugin>> = HashMap::new();
        for plugin in spec.routes.iter_mut().flat_map(|route| &mut route.plugins) {
            let original = plugin.clone();
            if let Some(known) = lent.get(&address(plugin)) {
                *plugin = known.clone();
            } else if let Some(tried) = lend(plugin) {
                *plugin = Arc::new(Tried(tried));
                lent.insert(address(&original), plugin.clone());
                originals.insert(address(plugin), original);
            }
        }
        Ok(Shadow {
            snapshot: Snapshot::assemble(&spec, None, Some(current))?,
            originals,
            share,
            met: AtomicU64::new(0),
            since: Instant::now(),
            counts: Mutex::default(),
            id: LAST.fetch_add(1, Ordering::Relaxed) + 1,
            ended: watch::Sender::new(()),
        })
    }

    /// What is tried.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What came of it so far.
    pub fn figures(&self) -> Figures {
        let counts = self.counts();
        let failed = counts.failed.values().map(|(n, _)| n).sum::<u64>();
        let timed = i128::from(counts.passed + counts.waiting);
        let waited = i128::from(counts.waiting) * nanos(self.since.elapsed()) - counts.waiting_since;
        let mean = (counts.longer + waited).checked_div(timed).unwrap_or_default();
        let worst = counts.failed.iter().max_by_key(|(_, (n, _))| *n);
        Figures {
            judged: counts.passed + failed + counts.waiting,
            waiting: counts.waiting,
            failed,
            unjudged: counts.unjudged,
            left_out: counts.left_out,
            longer: i64::try_from(mean).unwrap_or(i64::MAX),
            worst: worst.map(|(name, (n, message))| (name.clone(), *n, message.clone())),
        }
    }

    /// A number that no other one has, not 0.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// To be told when it is gone.
    pub(crate) fn follow(&self) -> watch::Receiver<()> {
        self.ended.subscribe()
    }

    /// Whether the next request is one of the share.
    pub(crate) fn takes_next(&self) -> bool {
        let met = self.met.fetch_add(1, Ordering::Relaxed);
        let taken = |n: u64| n.saturating_mul(self.share) / WHOLE;
        taken(met) != taken(met.saturating_add(1))
    }

    /// Whether the route that would take a request does with it what the one does that takes it now, as far as hooks of
    /// requests are concerned.
    pub(crate) fn is_same(&self, next: &CompiledRoute, now: &CompiledRoute) -> bool {
        let (next, now) = (&next.spec.plugins, &now.spec.plugins);
        let none = !next.iter().any(|plugin| plugin.hooks().request);
        let original = |plugin| self.originals.get(&address(plugin)).map_or(address(plugin), address);
        none || next.iter().map(original).eq(now.iter().map(address))
    }

    /// Whether all plugins of a route can be tried.
    pub(crate) fn can_try(&self, route: &CompiledRoute) -> bool {
        route.spec.plugins.iter().all(|plugin| self.originals.contains_key(&address(plugin)))
    }

    /// A request is left out, for too many are being tried.
    pub(crate) fn left_out(&self) {
        self.counts().left_out += 1;
    }

    /// A request cannot be tried.
    pub(crate) fn unjudged(&self) {
        self.counts().unjudged += 1;
    }

    /// Begins to try a request for which the hooks that serve took so long.
    pub(crate) fn begin(self: &Arc<Self>, before: Duration) -> Trying {
        let mut trying = Trying { shadow: self.clone(), before, begun: Instant::now(), counted: false };
        trying.restart();
        trying
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trying {
    /// The time counts from now on.
    pub(crate) fn restart(&mut self) {
        let shadow = self.shadow.clone();
        let mut counts = shadow.counts();
        self.leave(&mut counts);
        self.begun = Instant::now();
        counts.waiting += 1;
        counts.waiting_since += self.entry();
        self.counted = true;
    }

    /// It has ended.
    pub(crate) fn end(mut self, ended: Ended) {
        let took = self.begun.elapsed();
        let shadow = self.shadow.clone();
        let mut counts = shadow.counts();
        self.leave(&mut counts);
        match ended {
            Ended::Passed => {
                counts.passed += 1;
                counts.longer += nanos(took) - nanos(self.before);
            }
            Ended::Failed(plugin, message) => counts.failed.entry(plugin).or_insert((0, message)).0 += 1,
            Ended::Unjudged => counts.unjudged += 1,
        }
    }

    fn entry(&self) -> i128 {
        nanos(self.begun.saturating_duration_since(self.shadow.since)) + nanos(self.before)
    }

    fn leave(&mut self, counts: &mut Counts) {
        if std::mem::take(&mut self.counted) {
            counts.waiting -= 1;
            counts.waiting_since -= self.entry();
        }
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        let shadow = self.shadow.clone();
        self.leave(&mut shadow.counts());
    }
}

impl fmt::Debug for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadow").field("figures", &self.figures()).finish_non_exhaustive()
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

fn address(plugin: &Arc<dyn Plugin>) -> usize {
    Arc::as_ptr(plugin).cast::<()>().addr()
}

thread_local! {
    /// Whether the request that is tried on this thread has asked for what it cannot have.
    static LOST: Cell<bool> = const { Cell::new(false) };
}

/// What is tried on this thread asks for what it cannot have: nothing can be told of it.
pub(crate) fn lose() {
    LOST.set(true);
}

/// Whether that has been so since it was asked last.
pub(crate) fn is_lost() -> bool {
    LOST.take()
}

/// A plugin that is tried: only its hook for requests runs, and its timers are over without a call.
#[derive(Debug)]
struct Tried(Arc<dyn Plugin>);

impl Plugin for Tried {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn hooks(&self) -> Hooks {
        let Hooks { request, timer, .. } = self.0.hooks();
        Hooks { request, timer, ..Hooks::default() }
    }

    fn policy(&self) -> &Policy {
        self.0.policy()
    }

    fn instantiate(&self) -> Step<'_, Result<Rc<dyn Instance>, PluginError>> {
        let tried = |instance: Rc<dyn Instance>| Rc::new(TriedInstance(instance)) as Rc<dyn Instance>;
        match self.0.instantiate() {
            Step::Done(started) => Step::Done(started.map(tried)),
            Step::Wait(starting) => Step::Wait(Box::pin(async move { starting.await.map(tried) })),
        }
    }
}

struct TriedInstance(Rc<dyn Instance>);

impl Instance for TriedInstance {
    fn visit(self: Rc<Self>) -> Box<dyn Visit> {
        self.0.clone().visit()
    }

    fn timers(&self) -> Option<Rc<Timers>> {
        self.0.timers()
    }

    fn is_spent(&self) -> bool {
        self.0.is_spent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shadow(share: u64) -> Arc<Shadow> {
        let current = Snapshot::assemble(&Spec::default(), None, None).expect("nothing is wrong with it");
        Arc::new(Shadow::new(&Spec::default(), &current, |_| None, share).expect("nor with this"))
    }

    #[test]
    fn a_share_of_the_requests_is_taken() {
        for (share, taken) in [(0, 0), (1, 1), (100, 100), (3333, 3333), (WHOLE, 10_000)] {
            let shadow = shadow(share);
            assert_eq!((0..WHOLE).filter(|_| shadow.takes_next()).count(), taken, "{share}");
        }
    }

    #[test]
    fn what_came_of_requests_is_counted() {
        let shadow = shadow(WHOLE);
        let hour = Duration::from_secs(3600);
        shadow.begin(hour).end(Ended::Passed);
        assert!(shadow.figures().longer < -1_000_000_000, "an hour quicker: {:?}", shadow.figures());
        for (plugin, message) in [("a", "1"), ("b", "2"), ("b", "3")] {
            shadow.begin(hour).end(Ended::Failed(plugin.to_owned(), message.to_owned()));
        }
        shadow.begin(hour).end(Ended::Unjudged);
        shadow.left_out();
        drop(shadow.begin(hour));
        let figures = shadow.figures();
        assert_eq!((figures.judged, figures.failed, figures.unjudged, figures.left_out), (4, 3, 1, 1));
        assert_eq!(figures.worst, Some(("b".to_owned(), 2, "2".to_owned())));
    }

    #[test]
    fn what_waits_counts_with_the_time_that_it_has_waited() {
        let shadow = shadow(WHOLE);
        let waiting = shadow.begin(Duration::ZERO);
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(2) {}
        let figures = shadow.figures();
        assert!(figures.judged == 1 && figures.longer >= 2_000_000, "{figures:?}");
        drop(waiting);
        assert_eq!(shadow.figures(), Figures::default());
    }
}
