//! What there is to tell.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::acme;
use crate::expiry::{self, Certificate, Told};
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
    /// Certificates that are served, or shown to upstreams.
    pub certificates: Vec<Certificate>,
    /// Certificates that an authority is asked for.
    pub acme: Vec<acme::State>,
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
    /// Whether it serves now. Else what served before goes on.
    pub published: bool,
    /// All that is wrong with it, with file and line.
    pub problems: Vec<String>,
}

/// Where the newest status hangs.
#[derive(Clone, Debug)]
pub struct Board {
    status: Arc<Mutex<Status>>,
    /// What the log was told of certificates that expire.
    told: Arc<Mutex<Told>>,
}

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
            certificates: Vec::new(),
            acme: Vec::new(),
            last_change: None,
        };
        status.fill(plan);
        let board = Board { status: Arc::new(Mutex::new(status)), told: Arc::default() };
        board.look_at_certificates();
        board
    }

    /// What hangs there.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another configuration serves.
    pub fn published(&self, cause: &str, generation: u64, plan: &Plan) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let at = now();
        (status.generation, status.generation_since) = (generation, at);
        status.fill(plan);
        let cause = cause.to_owned();
        status.last_change = Some(Change { at, cause, published: true, problems: Vec::new() });
        drop(status);
        self.look_at_certificates();
    }

    /// Tells the log of certificates that expire soon, each step once.
    pub fn look_at_certificates(&self) {
        let certificates = self.status().certificates;
        self.told.lock().unwrap_or_else(PoisonError::into_inner).look(&certificates, SystemTime::now());
    }

    /// How it stands with certificates that an authority is asked for.
    pub fn asked_for(&self, certificates: Vec<acme::State>) {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).acme = certificates;
    }

    /// Another configuration was refused.
    pub fn refused(&self, cause: &str, problems: &[String]) {
        let change =
            Change { at: now(), cause: cause.to_owned(), published: false, problems: problems.to_vec() };
        self.status.lock().unwrap_or_else(PoisonError::into_inner).last_change = Some(change);
    }
}

impl Status {
    fn fill(&mut self, plan: &Plan) {
        self.config = plan.source.to_string();
        self.routes = plan.spec.routes.len() + plan.spec.tcp_routes.len();
        self.upstreams = plan.spec.upstreams.len();
        self.certificates = expiry::certificates(plan);
        self.plugins = plan.plugins.iter().map(|plugin| plugin.plugin.name().to_owned()).collect();
        self.plugins.sort();
        self.plugins.dedup();
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
