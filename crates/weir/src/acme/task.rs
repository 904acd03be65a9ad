//! The task that asks for certificates, one after the other.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir_core::challenges::Challenges;

use super::order::{Authority, Failed};
use super::store::{Kept, StoreError, kept};
use super::{Settings, State, Store, Wanted, schedule};
use crate::admin::Board;
use crate::expiry::Certificate;
use crate::run::Plan;

/// Certificates are looked at this often, though none is to be renewed: a machine may have slept, a file be gone.
const LOOK: Duration = Duration::from_secs(12 * 3600);
/// How soon a store is tried again that another process has.
const TAKEN: Duration = Duration::from_secs(10);
/// How often an authority is asked for its advice, at most and at least.
const ADVICE: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
/// How often a reload is asked for that was refused.
const RELOAD_EVERY: Duration = Duration::from_secs(3600);
/// When the task begins again that broke off.
const AGAIN: Duration = Duration::from_secs(60);
/// Renewals that may wait for a reload.
const QUEUE: usize = 16;

/// The task, and what it has to tell.
#[derive(Debug)]
pub struct Renewals {
    settings: watch::Sender<Option<Arc<Settings>>>,
    renewed: mpsc::Receiver<String>,
    challenges: Arc<Challenges>,
    board: Board,
    task: JoinHandle<()>,
    /// When the task begins again, where it broke off.
    again: Option<Instant>,
}

impl Renewals {
    /// Starts the task on this runtime, for the certificates of a plan. It ends when this is dropped, with the order that
    /// is under way.
    pub fn start(plan: &Plan, challenges: Arc<Challenges>, board: Board) -> Renewals {
        Renewals::start_with(plan.acme.clone(), challenges, board)
    }

    fn start_with(asked: Option<Arc<Settings>>, challenges: Arc<Challenges>, board: Board) -> Renewals {
        let (settings, follow) = watch::channel(asked);
        let (tell, renewed) = mpsc::channel(QUEUE);
        let task = Task {
            settings: follow,
            tell,
            challenges: challenges.clone(),
            board: board.clone(),
            entries: HashMap::new(),
            store: None,
            authority: None,
        };
        Renewals { settings, renewed, challenges, board, task: tokio::spawn(task.run()), again: None }
    }

    /// Ends the task, with the order that is under way: the store is free for another process.
    pub async fn stop(&mut self) {
        self.task.abort();
        // Whatever it ends by.
        let _ = (&mut self.task).await;
    }

    /// Starts the task again, for what was asked for last.
    pub fn start_again(&mut self) {
        let asked = self.settings.borrow().clone();
        *self = Renewals::start_with(asked, self.challenges.clone(), self.board.clone());
    }

    /// Asks for the certificates of this plan instead, and looks at all that are there.
    pub fn follow(&self, plan: &Plan) {
        self.settings.send_replace(plan.acme.clone());
    }

    /// Waits for a certificate that is new in the store: the cause of a reload. Cancel safe.
    pub async fn renewed(&mut self) -> String {
        loop {
            if let Some(cause) = self.renewed.recv().await {
                return cause;
            }
            let again = *self.again.get_or_insert_with(|| {
                // It ends by itself only where something in it is wrong.
                let wait = AGAIN.as_secs();
                tracing::error!("acme: asking for certificates broke off; it begins again in {wait} s");
                Instant::now() + AGAIN
            });
            tokio::time::sleep_until(again).await;
            self.start_again();
        }
    }
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    settings: watch::Receiver<Option<Arc<Settings>>>,
    tell: mpsc::Sender<String>,
    challenges: Arc<Challenges>,
    board: Board,
    /// By file.
    entries: HashMap<PathBuf, Entry>,
    store: Option<Arc<Store>>,
    /// Kept for the next order, as long as all goes well.
    authority: Option<Authority>,
}

/// How it stands with one certificate.
#[derive(Debug)]
struct Entry {
    /// When it is looked at next.
    next: SystemTime,
    held: bool,
    failures: u32,
    problem: Option<String>,
    /// When the authority would have it renewed, and when it is asked again.
    advised: Option<SystemTime>,
    ask_again: SystemTime,
    /// When a reload was asked for last, so that the certificate is served.
    told: Option<SystemTime>,
}

impl Entry {
    fn new(now: SystemTime) -> Self {
        Entry {
            next: now,
            held: false,
            failures: 0,
            problem: None,
            advised: None,
            ask_again: now,
            told: None,
        }
    }
}

impl Task {
    async fn run(mut self) {
        loop {
            let settings = self.settings.borrow_and_update().clone();
            let next = self.next(settings.as_deref());
            self.show(settings.as_deref());
            let wait = next.as_ref().map_or(Duration::MAX, |(_, at)| until(*at));
            tokio::select! {
                changed = self.settings.changed() => match changed {
                    Ok(()) => self.changed(settings.as_deref()),
                    Err(_) => return,
                },
                // An order that has begun goes on, whatever changes.
                () = tokio::time::sleep(wait.min(LOOK)) => {
                    if let (Some(settings), Some((wanted, at))) = (settings, next)
                        && until(at).is_zero()
                    {
                        self.attend(&settings, &wanted).await;
                    }
                }
            }
        }
    }

    /// Another configuration serves; `before` held until now.
    fn changed(&mut self, before: Option<&Settings>) {
        if self.settings.borrow().as_deref() != before {
            self.authority = None;
        }
        // Who has failed waits all the same.
        for entry in self.entries.values_mut().filter(|entry| entry.failures == 0) {
            entry.next = SystemTime::now();
        }
    }

    /// What is looked at next, and when. Forgets what is not wanted any more.
    fn next(&mut self, settings: Option<&Settings>) -> Option<(Wanted, SystemTime)> {
        let wanted = settings.map(|settings| settings.wanted.as_slice()).unwrap_or_default();
        self.entries.retain(|file, _| wanted.iter().any(|wanted| wanted.file == *file));
        if settings.map(|settings| &*settings.store) != self.store.as_ref().map(|store| store.folder()) {
            self.store = None;
        }
        let now = SystemTime::now();
        for wanted in wanted {
            self.entries.entry(wanted.file.clone()).or_insert_with(|| Entry::new(now));
        }
        let next = |wanted: &Wanted| self.entries.get(&wanted.file).map_or(now, |entry| entry.next);
        let first = wanted.iter().min_by_key(|wanted| next(wanted))?;
        Some((first.clone(), next(first)))
    }

    /// Tells `weir status`.
    fn show(&self, settings: Option<&Settings>) {
        let wanted = settings.map(|settings| settings.wanted.as_slice()).unwrap_or_default();
        let state = |wanted: &Wanted| {
            let entry = self.entries.get(&wanted.file)?;
            Some(State {
                names: wanted.names.clone(),
                file: wanted.file.display().to_string(),
                held: entry.held,
                next: entry.next.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
                problem: entry.problem.clone(),
            })
        };
        self.board.asked_for(wanted.iter().filter_map(state).collect());
    }

    /// Looks at a certificate, and asks for another where it is time.
    async fn attend(&mut self, settings: &Settings, wanted: &Wanted) {
        let taken = match self.open_store(settings).await {
            Ok(()) => None,
            Err(error @ StoreError::Taken(_)) => Some(error.to_string()),
            Err(error) => return self.failed(wanted, Failed::from(error)),
        };
        let held = match look(wanted).await {
            Kept::Certificate(certificate) => {
                let leaf = certificate.key.cert.first().cloned();
                leaf.and_then(|leaf| Some((Certificate::read(&leaf)?, leaf)))
            }
            Kept::Nothing => None,
            Kept::Broken(problem) => {
                tracing::error!("acme: {problem}; another is asked for");
                None
            }
            Kept::Unreadable(problem) => {
                return self.failed(wanted, Failed::from(StoreError::Content(problem)));
            }
        };
        let is_new = held.is_none();
        if let Some((certificate, leaf)) = &held {
            let mut due = schedule::renewal(certificate, settings.renew_before);
            if taken.is_none() {
                self.ask_advice(settings, wanted, certificate, leaf).await;
            }
            let entry = self.entry(wanted);
            entry.held = true;
            due = entry.advised.map_or(due, |advised| advised.min(due));
            if !until(due).is_zero() {
                (entry.failures, entry.problem) = (0, None);
                entry.next = due.min(entry.ask_again).min(SystemTime::now() + LOOK);
                return self.have_served(wanted, certificate).await;
            }
        }
        if let Some(taken) = taken {
            return self.wait_for_store(wanted, taken);
        }
        if is_new && self.entry(wanted).failures == 0 {
            tracing::info!(
                "acme: {}: no certificate yet, one that weir made serves until then; asking {}",
                wanted.title(),
                settings.directory
            );
        }
        match self.obtain(settings, wanted).await {
            Ok(()) => {
                let failures = self.entry(wanted).failures;
                self.obtained(wanted, is_new).await;
                // An authority that signs what is to be renewed at once is not asked again and again.
                if let Kept::Certificate(certificate) = look(wanted).await
                    && let Some(leaf) = certificate.key.cert.first()
                    && let Some(read) = Certificate::read(leaf)
                    && until(schedule::renewal(&read, settings.renew_before)).is_zero()
                {
                    let problem = "the authority signed a certificate that is to be renewed at once";
                    self.entry(wanted).failures = failures;
                    self.failed(wanted, Failed::from(StoreError::Content(problem.to_owned())));
                }
            }
            Err(failed) => {
                self.authority = None;
                self.failed(wanted, failed);
            }
        }
    }

    /// Asks for a reload where another certificate is served: the last reload was refused, or another process has put
    /// this one into the store.
    async fn have_served(&mut self, wanted: &Wanted, certificate: &Certificate) {
        let served = self.board.certificates();
        if served.iter().any(|served| served.fingerprint == certificate.fingerprint) {
            return;
        }
        let entry = self.entry(wanted);
        let now = SystemTime::now();
        if entry.told.is_none_or(|told| now.duration_since(told).is_ok_and(|since| since >= RELOAD_EVERY)) {
            entry.told = Some(now);
            let cause = format!("acme: certificate for {} is not served yet", wanted.title());
            // Nobody listens any more at the end.
            let _ = self.tell.send(cause).await;
        }
        let entry = self.entry(wanted);
        entry.next = entry.next.min(now + RELOAD_EVERY);
    }

    async fn obtain(&mut self, settings: &Settings, wanted: &Wanted) -> Result<(), Failed> {
        let Some(store) = self.store.clone() else { return Ok(()) };
        let authority = match self.authority.take() {
            Some(authority) => authority,
            None => Authority::open(settings, &store).await?,
        };
        let authority = self.authority.insert(authority);
        authority.obtain(settings, wanted, &store, &self.challenges).await
    }

    async fn obtained(&mut self, wanted: &Wanted, is_new: bool) {
        let entry = self.entry(wanted);
        // The next look finds when it is to be renewed.
        let now = SystemTime::now();
        *entry = Entry { held: true, told: Some(now), ..Entry::new(now) };
        let what = if is_new { "obtained" } else { "renewed" };
        let cause = format!("acme: certificate for {} {what}", wanted.title());
        tracing::info!("{cause}");
        // Nobody listens any more at the end.
        let _ = self.tell.send(cause).await;
    }

    fn failed(&mut self, wanted: &Wanted, failed: Failed) {
        let entry = self.entry(wanted);
        entry.failures = entry.failures.saturating_add(1);
        let wait = schedule::back_off(entry.failures, failed.wait);
        entry.next = SystemTime::now() + wait;
        entry.problem = Some(failed.to_string());
        // Who reads the log may ask at once.
        let settings = self.settings.borrow().clone();
        self.show(settings.as_deref());
        tracing::error!("acme: {}: {failed}; tried again in {} s", wanted.title(), wait.as_secs());
    }

    fn wait_for_store(&mut self, wanted: &Wanted, problem: String) {
        let entry = self.entry(wanted);
        entry.next = SystemTime::now() + TAKEN;
        let problem = Some(problem);
        if entry.problem != problem {
            tracing::warn!("acme: {}: waiting: {}", wanted.title(), problem.as_deref().unwrap_or_default());
            entry.problem = problem;
        }
    }

    fn entry(&mut self, wanted: &Wanted) -> &mut Entry {
        self.entries.entry(wanted.file.clone()).or_insert_with(|| Entry::new(SystemTime::now()))
    }

    async fn open_store(&mut self, settings: &Settings) -> Result<(), StoreError> {
        if self.store.is_none() {
            let folder = settings.store.clone();
            let opened = tokio::task::spawn_blocking(move || Store::open(&folder)).await;
            let opened = opened.unwrap_or_else(|error| Err(StoreError::Content(error.to_string())));
            self.store = Some(Arc::new(opened?));
        }
        Ok(())
    }

    /// Asks the authority when it would have a certificate renewed (RFC 9773), if it is time to. It may have to be long
    /// before the end, when the authority is about to revoke it.
    async fn ask_advice(
        &mut self,
        settings: &Settings,
        wanted: &Wanted,
        certificate: &Certificate,
        leaf: &rustls::pki_types::CertificateDer<'_>,
    ) {
        let now = SystemTime::now();
        let Some(store) = self.store.clone().filter(|_| self.entry(wanted).ask_again <= now) else { return };
        if self.authority.is_none() {
            self.authority = match Authority::open(settings, &store).await {
                Ok(authority) => Some(authority),
                Err(error) => {
                    tracing::debug!(%error, "acme: no advice about renewals");
                    None
                }
            };
        }
        let advice = match &self.authority {
            Some(authority) => authority.advice(leaf).await,
            None => None,
        };
        let entry = self.entry(wanted);
        entry.ask_again = now + ADVICE.1;
        if let Some((start, end, again)) = advice {
            entry.advised = Some(schedule::advised(certificate, start, end));
            entry.ask_again = now + again.clamp(ADVICE.0, ADVICE.1);
        }
    }
}

async fn look(wanted: &Wanted) -> Kept {
    let wanted = wanted.clone();
    let looked = tokio::task::spawn_blocking(move || kept(&wanted)).await;
    looked.unwrap_or_else(|error| Kept::Unreadable(error.to_string()))
}

fn until(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::now()).unwrap_or_default()
}
