//! What there is to tell.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::run::Plan;

/// What `GET /status` answers. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Status {
    /// The version of weir, and its commit where that is known.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// When it was started.
    pub started: u64,
    /// Threads that serve.
    pub workers: usize,
    /// Where the configuration comes from.
    pub config: String,
    /// Counts configurations, from 1.
    pub generation: u64,
    /// Since when this one serves.
    pub generation_since: u64,
    /// How many routes it has.
    pub routes: usize,
    /// How many upstreams it has.
    pub upstreams: usize,
    /// Names of its plugins.
    pub plugins: Vec<String>,
    /// Earlier generations that are kept to go back to, the newest first.
    pub kept: Vec<u64>,
    /// The last time the configuration was read again: after a change of a file, or when that was asked for.
    pub last_change: Option<Change>,
}

/// A configuration that was read again.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: u64,
    /// Why, for example `plugins/route.lua changed`.
    pub cause: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The generation that serves since.
    pub generation: u64,
    /// The generation whose configuration serves again, where it was gone back to one.
    pub restored: Option<u64>,
    /// What is another than before, a line each.
    pub changes: Vec<String>,
    /// All that is wrong with it, with file and line.
    pub problems: Vec<String>,
}

/// What came of a configuration that was read again.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It serves.
    Published,
    /// It is what served already.
    Unchanged,
    /// What served before goes on.
    Refused,
    /// It could serve: it was only tried.
    Possible,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Published => "published",
            Outcome::Unchanged => "unchanged",
            Outcome::Refused => "refused",
            Outcome::Possible => "possible",
        })
    }
}

impl Change {
    /// One of now, without changes and problems.
    pub fn new(cause: &str, outcome: Outcome, generation: u64) -> Self {
        let (cause, changes, problems) = (cause.to_owned(), Vec::new(), Vec::new());
        Change { at: now(), cause, outcome, generation, restored: None, changes, problems }
    }
}

/// Where the newest status hangs.
#[derive(Clone, Debug)]
pub struct Board(Arc<Mutex<Status>>);

impl Board {
    /// With the first configuration.
    pub fn new(plan: &Plan, workers: usize) -> Self {
        let now = now();
        let mut status = Status {
            version: env!("WEIR_VERSION").to_owned(),
            pid: std::process::id(),
            started: now,
            workers,
            config: String::new(),
            generation: 1,
            generation_since: now,
            routes: 0,
            upstreams: 0,
            plugins: Vec::new(),
            kept: Vec::new(),
            last_change: None,
        };
        status.fill(plan);
        Board(Arc::new(Mutex::new(status)))
    }

    /// What hangs there.
    pub fn status(&self) -> Status {
        self.lock().clone()
    }

    /// Another configuration serves, and these earlier generations are kept.
    pub fn published(&self, change: &Change, plan: &Plan, kept: Vec<u64>) {
        let mut status = self.lock();
        (status.generation, status.generation_since, status.kept) = (change.generation, change.at, kept);
        status.fill(plan);
        status.last_change = Some(change.clone());
    }

    /// Another configuration was refused.
    pub fn refused(&self, change: &Change) {
        self.lock().last_change = Some(change.clone());
    }

    /// What was read is what serves. That is told where the last change was refused: it is over.
    pub fn unchanged(&self, change: &Change) {
        let mut status = self.lock();
        if status.last_change.as_ref().is_some_and(|last| last.outcome == Outcome::Refused) {
            status.last_change = Some(change.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Status {
    fn fill(&mut self, plan: &Plan) {
        self.config = plan.source.to_string();
        self.routes = plan.spec.routes.len() + plan.spec.tcp_routes.len();
        self.upstreams = plan.spec.upstreams.len();
        self.plugins = plan.plugins.iter().map(|plugin| plugin.plugin.name().to_owned()).collect();
        self.plugins.sort();
        self.plugins.dedup();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
