//! Another configuration while weir runs: read, checked and compiled as a whole beside the one that serves, then
//! published in one step. On any error the one that serves goes on, and the log says what was wrong, and where. Those
//! that served before are kept for a while, to go back to.

mod acme;
mod guard;
mod history;
mod proof;
mod renewal;
mod shadow;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use weir_core::server::{BindError, Publisher};

use crate::admin::{self, Board, Change, Outcome, Upgrade};
use crate::assemble::Assembler;
use crate::config::inputs::{Digest, Inputs};
use crate::config::value::Leaf as _;
use crate::config::{self, outline};
use crate::run::{self, Plan};
use crate::upgrade;
use guard::Guard;
use history::History;
use renewal::Which;
use shadow::Verdict;

pub use guard::{Allowed, Trouble};
pub use proof::Proof;
pub use shadow::Shadowing;

/// How many orders may wait.
const QUEUE: usize = 16;
/// The most lines of changes that are logged.
const LOGGED: usize = 20;
/// The most lines of changes that are told.
const TOLD: usize = 1000;

/// How a configuration is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Also when something that it was read from changes.
    pub watch: bool,
    /// How many of those that served before are kept.
    pub keep: usize,
    /// When a change is taken back.
    pub rollback: Option<Allowed>,
    /// What is asked of a change before it serves.
    pub proof: Proof,
}

/// What may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To read the configuration again and publish it.
    Reload,
    /// The same but for publishing it.
    DryRun,
    /// To let an earlier configuration serve again.
    Rollback {
        /// Its generation; none for the one before.
        to: Option<u64>,
    },
}

/// Something that is asked for while weir runs. What came of it is told to `answer`, which is dropped when weir stops
/// first.
#[derive(Debug)]
pub enum Order {
    /// Another configuration.
    Change {
        /// Which.
        ask: Ask,
        /// What came of it.
        answer: oneshot::Sender<Change>,
    },
    /// Another binary.
    Upgrade {
        /// What came of it.
        answer: oneshot::Sender<Upgrade>,
    },
}

/// A way for orders, from whoever asks to the one who publishes.
pub fn orders() -> (mpsc::Sender<Order>, mpsc::Receiver<Order>) {
    mpsc::channel(QUEUE)
}

/// Reads the configuration again. The only one that publishes.
#[derive(Debug)]
pub struct Reloader {
    /// What serves.
    plan: Plan,
    history: History,
    assembler: Assembler,
    publisher: Publisher,
    /// Where what came of it is told.
    board: Board,
    /// What was read last, whether it serves or not.
    read: Inputs,
    /// What was refused or taken back: that a file has changed is no reason to look at it again.
    held_back: BTreeSet<Digest>,
    /// What was written in what was taken back: another certificate or secret is no reason to look at it again.
    taken_back: BTreeSet<Digest>,
    /// For a while after a change.
    guard: Option<Guard>,
}

/// Why a configuration was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Something has changed.
    Changed,
    /// A certificate of an authority has.
    Renewed,
    /// Somebody wants it.
    Asked,
    /// Somebody wants to know what would become of it.
    Dry,
}

/// A configuration that may be published, or not.
struct Ready {
    plan: Plan,
    outcome: Outcome,
    /// What it was proved by.
    proof: Vec<String>,
}

impl Reloader {
    /// A reloader for what serves.
    pub fn new(plan: Plan, assembler: Assembler, publisher: Publisher, board: Board) -> Self {
        let (read, history, held_back) = (plan.inputs.clone(), History::default(), BTreeSet::new());
        let taken_back = BTreeSet::new();
        Reloader { plan, history, assembler, publisher, board, read, held_back, taken_back, guard: None }
    }

    /// What serves.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What is to be watched: what that which serves was read from, and what was read last.
    pub fn inputs(&self) -> Vec<Inputs> {
        match self.plan.reload.watch {
            true if self.read == self.plan.inputs => vec![self.read.clone()],
            true => vec![self.plan.inputs.clone(), self.read.clone()],
            false => Vec::new(),
        }
    }

    /// How long a drain may take, by the configuration that serves.
    pub fn drain(&self) -> Duration {
        self.plan.spec.drain
    }

    /// How an upgrade is done, by the configuration that serves.
    pub fn upgrade(&self) -> upgrade::Settings {
        self.plan.upgrade
    }

    /// Reads the configuration again because something has changed, and publishes it, or logs why not. `cause` says
    /// what has changed.
    ///
    /// Cancel safety: dropped before its end, nothing was published.
    pub async fn changed(&mut self, cause: &str) -> Change {
        self.read_again(cause, Mode::Changed).await
    }

    /// Serves a certificate that an authority has signed. Where files are not watched, or the configuration that is there
    /// is refused, what serves goes on but for that. `cause` names it.
    ///
    /// Cancel safety: dropped before its end, nothing was published.
    pub async fn renewed(&mut self, cause: &str) -> Change {
        match self.plan.reload.watch {
            true => self.read_again(cause, Mode::Renewed).await,
            false => self.renew(cause, Which::Authority).await,
        }
    }

    /// Does what somebody asks for. `cause` says who.
    ///
    /// Cancel safety: dropped before its end, nothing was published.
    pub async fn asked(&mut self, cause: &str, ask: Ask) -> Change {
        match ask {
            Ask::Reload => self.read_again(cause, Mode::Asked).await,
            Ask::DryRun => self.read_again(cause, Mode::Dry).await,
            Ask::Rollback { to } => self.roll_back(cause, to).await,
        }
    }

    /// Waits until more requests have failed since the last change than may; what came of it. Cancel safe.
    pub async fn trouble(&mut self) -> Trouble {
        if let Some(guard) = &self.guard {
            let trouble = guard.watch().await;
            self.guard = None;
            if let Some(trouble) = trouble {
                return trouble;
            }
        }
        std::future::pending().await
    }

    /// Takes the last change back because of this.
    ///
    /// Cancel safety: dropped before its end, nothing was published.
    pub async fn take_back(&mut self, trouble: Trouble) -> Change {
        let (generation, cause) = (self.generation(), trouble.to_string());
        let Trouble { requests, failed, .. } = trouble;
        tracing::error!(generation, requests, failed, "the last change is taken back: {cause}");
        self.roll_back(&cause, None).await
    }

    async fn read_again(&mut self, cause: &str, mode: Mode) -> Change {
        let generation = self.generation();
        match self.prepare(mode).await {
            Ok(None) => {
                tracing::info!(
                    cause,
                    generation,
                    "this was refused or taken back: `weir reload` tries it again"
                );
                match (self.held_back.contains(&self.read.digest()), mode) {
                    (false, _) => self.renew(cause, Which::All).await,
                    (true, Mode::Renewed) => self.renew(cause, Which::Authority).await,
                    (true, _) => Change::new(cause, Outcome::Unchanged, generation),
                }
            }
            Ok(Some(Ready { plan, outcome: Outcome::Published, proof })) => {
                let changes = bounded(outline::changes(&self.plan, &plan));
                let before = std::mem::replace(&mut self.plan, plan);
                self.try_again();
                let (was, is) = (&before.inputs, &self.plan.inputs);
                let is_renewal = was.digest_but_certificates() == is.digest_but_certificates();
                // What is still looked at is so with other certificates: before it is what was before it.
                let is_same_change = is_renewal && self.guard.is_some();
                self.guard(!is_renewal || is_same_change);
                if !is_same_change {
                    self.history.push(generation, before, self.plan.reload.keep);
                }
                let new = Change::new(cause, Outcome::Published, self.generation());
                let change = Change { changes, proof, ..new };
                self.published(change, "a new configuration serves")
            }
            Ok(Some(Ready { plan, outcome, proof })) => {
                let changes = match outcome {
                    Outcome::Possible => bounded(outline::changes(&self.plan, &plan)),
                    _ => Vec::new(),
                };
                let change = Change { changes, proof, ..Change::new(cause, outcome, generation) };
                match mode {
                    Mode::Dry => tracing::info!(cause, %outcome, "a dry run; nothing was changed"),
                    Mode::Asked => {
                        tracing::info!(cause, generation, "nothing has changed: what serves goes on")
                    }
                    Mode::Changed | Mode::Renewed => {
                        tracing::debug!(cause, generation, "nothing has changed")
                    }
                }
                if outcome == Outcome::Unchanged && mode != Mode::Dry {
                    self.board.unchanged(&change);
                }
                change
            }
            Err(problems) => {
                let change = Change { problems, ..Change::new(cause, Outcome::Refused, generation) };
                if mode == Mode::Dry {
                    tracing::info!(cause, problems = change.problems.len(), "a dry run; it would be refused");
                    return change;
                }
                let change = self.refused(change);
                match mode {
                    Mode::Renewed => self.renew(cause, Which::Authority).await,
                    _ => change,
                }
            }
        }
    }

    /// Has what serves go on with the certificates that are in its files now.
    async fn renew(&mut self, cause: &str, which: Which) -> Change {
        let (generation, plan) = (self.generation(), self.plan.clone());
        let renewed = tokio::task::spawn_blocking(move || renewal::renewed(&plan, which)).await;
        let Some(mut plan) = renewed.ok().flatten() else {
            return Change::new(cause, Outcome::Unchanged, generation);
        };
        let changes = bounded(outline::changes(&self.plan, &plan));
        if let Err(problems) = self.publish(&mut plan, false).await {
            return self.refused(Change { problems, ..Change::new(cause, Outcome::Refused, generation) });
        }
        self.plan = plan;
        self.guard(self.guard.is_some());
        let change = Change { changes, ..Change::new(cause, Outcome::Published, self.generation()) };
        self.published(change, "what serves goes on with other certificates")
    }

    /// Looks at what is published now, if it may be taken back and is to be looked at.
    fn guard(&mut self, is_looked_at: bool) {
        let snapshot = self.publisher.current();
        let allowed = self.plan.reload.rollback.filter(|_| is_looked_at);
        self.guard = None;
        snapshot.outcomes.watch(allowed.is_some());
        self.guard = allowed.map(|allowed| Guard::new(snapshot, allowed));
    }

    /// What was refused or taken back may be looked at again.
    fn try_again(&mut self) {
        self.held_back.clear();
        self.taken_back.clear();
    }

    /// None where it is known already that it is not to be published. Everything that is wrong, one line each, where it
    /// cannot be.
    async fn prepare(&mut self, mode: Mode) -> Result<Option<Ready>, Vec<String>> {
        let (source, before) = (self.plan.source.clone(), self.plan.plugins.clone());
        // Files may be on a slow disk: signals are heard meanwhile.
        let loaded = tokio::task::spawn_blocking(move || config::load_after(&source, &before));
        let loaded =
            loaded.await.map_err(|error| vec![format!("reading the configuration broke off: {error}")])?;
        let read = match &loaded {
            Ok(loaded) => &loaded.plan.inputs,
            Err(report) => &report.inputs,
        };
        let digest = read.digest();
        let known = self.held_back.contains(&digest) || self.taken_back.contains(&read.digest_of_written());
        if mode != Mode::Dry {
            self.read = read.clone();
        }
        let serves = read.digest_of_served() == self.plan.inputs.digest_of_served();
        if let (Ok(loaded), true) = (&loaded, serves) {
            if mode != Mode::Dry {
                self.try_again();
            }
            let (plan, proof) = (loaded.plan.clone(), Vec::new());
            return Ok(Some(Ready { plan, outcome: Outcome::Unchanged, proof }));
        }
        match mode {
            Mode::Changed | Mode::Renewed if known => return Ok(None),
            Mode::Changed | Mode::Renewed | Mode::Asked => {
                if !known {
                    self.try_again();
                }
                // Until it is published.
                self.held_back.insert(digest);
            }
            Mode::Dry => {}
        }
        let config::Loaded { mut plan, report } = loaded.map_err(|report| report.lines())?;
        for warning in report.lines() {
            tracing::warn!("{warning}");
        }
        let restart = needs_restart(&self.plan, &plan);
        if !restart.is_empty() {
            return Err(restart);
        }
        keep_certificates(&self.plan, &mut plan);
        acme::keep(&self.plan, &mut plan);
        let dry = mode == Mode::Dry;
        let proof = self.prove(&mut plan, dry).await?;
        let outcome = self.publish(&mut plan, dry).await?;
        Ok(Some(Ready { plan, outcome, proof }))
    }

    /// Has a plan show what it asks of itself. What is told of that.
    async fn prove(&mut self, plan: &mut Plan, dry: bool) -> Result<Vec<String>, Vec<String>> {
        let mut told = Vec::new();
        if let Some(time) = plan.reload.proof.tests {
            told.extend(proof::tests(&plan.plugins, &self.plan.plugins, time).await?);
        }
        if let Some(asked) = plan.reload.proof.shadow
            && !dry
            && shadow::is_needed(plan, &self.plan)
        {
            told.push(self.shadow(plan, &asked).await?);
        }
        Ok(told)
    }

    /// Tries a plan on live requests. What is told of that.
    async fn shadow(&mut self, plan: &mut Plan, asked: &Shadowing) -> Result<String, Vec<String>> {
        let serving = self.publisher.current();
        let next = self.assembler.shadow(plan, &serving, asked.share);
        let next = next.map_err(|error| vec![format!("{}: {error}", plan.source)])?;
        // What cannot be bound is not waited for.
        let bound = self.publisher.try_bind(next.snapshot());
        bound.map_err(|errors| errors.iter().map(|error| run::explain(error, plan)).collect::<Vec<_>>())?;
        tracing::info!(time = ?asked.time, share = asked.share.show(), "a change is tried on live requests");
        match shadow::shadow(serving, next, asked).await {
            Ok(Verdict::Kept(told)) => Ok(told),
            Ok(Verdict::Unknown(told)) => {
                tracing::warn!("a change is published that could not be tried: {told}");
                Ok(told)
            }
            Err(problem) => Err(vec![problem]),
        }
    }

    /// Compiles a plan and publishes it, unless that is only to be tried.
    async fn publish(&mut self, plan: &mut Plan, dry: bool) -> Result<Outcome, Vec<String>> {
        let snapshot = self.assembler.assemble(plan, Some(&self.publisher.current()));
        let snapshot = snapshot.map_err(|error| vec![format!("{}: {error}", plan.source)])?;
        // It may be watched from its first request on.
        snapshot.outcomes.watch(plan.reload.rollback.is_some());
        let bound = match dry {
            true => self.publisher.try_bind(&snapshot).map(|()| Outcome::Possible),
            false => self.publisher.publish(snapshot).await.map(|()| Outcome::Published),
        };
        let explain = |error: &BindError| run::explain(error, plan);
        bound.map_err(|errors| errors.iter().map(explain).collect())
    }

    async fn roll_back(&mut self, cause: &str, to: Option<u64>) -> Change {
        let generation = self.generation();
        let refused = |problems| Change { problems, ..Change::new(cause, Outcome::Refused, generation) };
        let (earlier, mut plan) = match self.history.find(to) {
            Ok(found) => found,
            Err(problem) => return refused(vec![problem]),
        };
        let changes = bounded(outline::changes(&self.plan, &plan));
        if let Err(problems) = self.publish(&mut plan, false).await {
            return self.refused(refused(problems));
        }
        self.held_back.insert(self.plan.inputs.digest());
        let written = self.plan.inputs.digest_of_written();
        // Not where only a certificate or a secret was taken back.
        if written != plan.inputs.digest_of_written() {
            self.taken_back.insert(written);
        }
        self.plan = plan;
        self.guard(false);
        self.history.back_to(earlier);
        let change = Change {
            changes,
            restored: Some(earlier),
            ..Change::new(cause, Outcome::Published, self.generation())
        };
        self.published(change, "an earlier configuration serves again")
    }

    fn published(&self, change: Change, message: &str) -> Change {
        self.board.published(&change, &self.plan, self.history.generations());
        let changes = change.changes.iter().take(LOGGED).cloned().collect::<Vec<_>>().join("; ");
        let more = change.changes.len().saturating_sub(LOGGED);
        tracing::info!(
            cause = change.cause,
            generation = change.generation,
            restored = change.restored,
            routes = self.plan.spec.routes.len() + self.plan.spec.tcp_routes.len(),
            upstreams = self.plan.spec.upstreams.len(),
            changes,
            proof = (!change.proof.is_empty()).then(|| change.proof.join("; ")),
            more = (more > 0).then_some(more),
            "{message}"
        );
        change
    }

    fn refused(&self, change: Change) -> Change {
        self.board.refused(&change);
        let (cause, generation) = (&change.cause, change.generation);
        for problem in &change.problems {
            tracing::error!(cause, "{problem}");
        }
        tracing::error!(
            cause,
            generation,
            problems = change.problems.len(),
            "the configuration was not changed: what served before goes on"
        );
        change
    }

    fn generation(&self) -> u64 {
        self.publisher.current().generation
    }
}

/// No more lines than can be told.
fn bounded(mut lines: Vec<String>) -> Vec<String> {
    if let Some(more) = lines.len().checked_sub(TOLD).filter(|more| *more > 0) {
        lines.truncate(TOLD);
        lines.push(format!("and {more} more"));
    }
    lines
}

/// What is only looked at when weir starts, and is another now.
fn needs_restart(old: &Plan, new: &Plan) -> Vec<String> {
    let changed = [
        ("workers", old.spec.workers != new.spec.workers),
        ("kv.size", old.kv_memory != new.kv_memory),
        ("admin", old.admin != new.admin),
        ("admin.address", admin::address(old) != admin::address(new)),
        ("access_log", old.telemetry.access_log != new.telemetry.access_log),
        ("log", old.telemetry.log != new.telemetry.log),
    ];
    let told = |key| format!("{}: `{key}` has changed; start weir again to change that", new.source);
    changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| told(key)).collect()
}

/// Certificates that were made at the start stay what they are: their fingerprints were printed.
fn keep_certificates(old: &Plan, new: &mut Plan) {
    for listener in &mut new.spec.listeners {
        let is_made = |plan: &[std::sync::Arc<str>]| plan.contains(&listener.name);
        if !is_made(&old.self_signed) || !is_made(&new.self_signed) {
            continue;
        }
        let before = old.spec.listeners.iter().find(|before| before.name == listener.name);
        if let (Some(was), Some(is)) = (before.and_then(|before| before.tls.as_ref()), &mut listener.tls)
            && was.certificates.iter().map(|c| &c.names).eq(is.certificates.iter().map(|c| &c.names))
        {
            is.certificates = was.certificates.clone();
        }
    }
}
