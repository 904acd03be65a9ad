//! What there is to tell.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use weir_core::server::Publisher;

use super::token::Token;
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
    /// Earlier generations that are kept to go back to, the newest first.
    pub kept: Vec<u64>,
    /// Where each listener is bound.
    pub listeners: Vec<Listener>,
    /// Connections of clients that are open.
    pub connections: usize,
    /// How many of them are relays: WebSockets and connections of layer 4.
    pub relays: usize,
    /// The same by what is read of them: `spliced`, `frames`, `messages`; or `tcp`.
    #[serde(default)]
    pub relay_kinds: BTreeMap<String, usize>,
    /// Earlier generations that something under way still goes by, the oldest first.
    pub held: Vec<Held>,
    /// The last time the configuration was read again: after a change of a file, or when that was asked for.
    pub last_change: Option<Change>,
    /// The process whose sockets this one took over, if it was started for an upgrade.
    pub took_over: Option<u32>,
    /// The last time another binary was to take over, and could not.
    pub last_upgrade: Option<Upgrade>,
}

/// Another binary that was to take over.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Upgrade {
    /// When.
    pub at: u64,
    /// Why: `weir upgrade`, `SIGUSR2`.
    pub cause: String,
    /// The process that serves since; none: it could not, and the one before goes on.
    pub pid: Option<u32>,
    /// All that is wrong with it.
    pub problems: Vec<String>,
}

impl Upgrade {
    /// One of now.
    pub fn new(cause: &str, outcome: Result<u32, Vec<String>>) -> Self {
        let (pid, problems) = match outcome {
            Ok(pid) => (Some(pid), Vec::new()),
            Err(problems) => (None, problems),
        };
        Upgrade { at: now(), cause: cause.to_owned(), pid, problems }
    }
}

/// A listener that is bound.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// Its address; none for a Unix socket.
    pub address: Option<SocketAddr>,
}

/// An earlier generation that something under way still goes by.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Held {
    /// The generation.
    pub generation: u64,
    /// How many relays were opened by it, by route. None: it is held by requests, or by connections of a listener that
    /// is gone.
    pub relays: BTreeMap<String, usize>,
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
    /// What it was proved by, a line each, beside that it could be loaded.
    #[serde(default)]
    pub proof: Vec<String>,
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
        let (changes, proof, problems) = (Vec::new(), Vec::new(), Vec::new());
        let (at, cause) = (now(), cause.to_owned());
        Change { at, cause, outcome, generation, restored: None, changes, proof, problems }
    }
}

/// What is counted; a dry run is not.
const COUNTED: [Outcome; 3] = [Outcome::Published, Outcome::Unchanged, Outcome::Refused];

/// Where the newest status hangs.
#[derive(Clone, Debug)]
pub struct Board {
    status: Arc<Mutex<Status>>,
    /// What the log was told of certificates that expire.
    told: Arc<Mutex<Told>>,
    /// What changes by itself is asked for there.
    server: Option<Publisher>,
    /// What came of configurations that were read again, in the order of [`COUNTED`].
    changes: Arc<[AtomicU64; 3]>,
    /// What one must know to ask over TCP.
    token: Arc<Mutex<Option<Token>>>,
}

impl Board {
    /// With the first configuration, of a server with so many workers.
    pub fn new(plan: &Plan, workers: usize, server: Option<Publisher>) -> Self {
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
            kept: Vec::new(),
            listeners: Vec::new(),
            connections: 0,
            relays: 0,
            relay_kinds: BTreeMap::new(),
            held: Vec::new(),
            last_change: None,
            took_over: None,
            last_upgrade: None,
        };
        status.fill(plan);
        let token = plan.admin_tcp.as_ref().map(|tcp| tcp.token.clone());
        let board = Board {
            status: Arc::new(Mutex::new(status)),
            told: Arc::default(),
            server,
            changes: Arc::default(),
            token: Arc::new(Mutex::new(token)),
        };
        board.look_at_certificates();
        board
    }

    /// Whether who asks over TCP may.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        token.as_ref().is_some_and(|token| token.is_in(headers))
    }

    /// The server that it tells about.
    pub(super) fn server(&self) -> Option<&Publisher> {
        self.server.as_ref()
    }

    /// What hangs there, and how busy the server is now.
    pub fn status(&self) -> Status {
        let mut status = self.lock().clone();
        if let Some(server) = &self.server {
            let addresses = server.addresses().into_iter();
            let listeners = addresses.map(|(name, address)| Listener { name: name.to_string(), address });
            status.listeners = listeners.collect();
            (status.connections, status.relays) = (server.connections(), server.relays());
            let kinds = server.carried().open.into_iter();
            status.relay_kinds = kinds.map(|(kind, n)| (kind.name().to_owned(), n)).collect();
            let by_route = |held: weir_core::server::Held| Held {
                generation: held.generation,
                relays: held.relays.iter().map(|(route, n)| (route.to_string(), *n)).collect(),
            };
            status.held = server.held().into_iter().map(by_route).collect();
        }
        status
    }

    /// Another configuration serves, and these earlier generations are kept.
    pub fn published(&self, change: &Change, plan: &Plan, kept: Vec<u64>) {
        self.count(Outcome::Published);
        let mut status = self.lock();
        (status.generation, status.generation_since, status.kept) = (change.generation, change.at, kept);
        status.fill(plan);
        status.last_change = Some(change.clone());
        drop(status);
        self.look_at_certificates();
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        *token = plan.admin_tcp.as_ref().map(|tcp| tcp.token.clone());
    }

    /// This process took over the sockets of another one.
    pub fn took_over(&self, pid: Option<u32>) {
        self.lock().took_over = pid;
    }

    /// Another binary could not take over.
    pub fn not_upgraded(&self, upgrade: &Upgrade) {
        self.lock().last_upgrade = Some(upgrade.clone());
    }

    /// Tells the log of certificates that expire soon, each step once.
    pub fn look_at_certificates(&self) {
        let certificates = self.certificates();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).look(&certificates, SystemTime::now());
    }

    /// Certificates that are served, or shown to upstreams.
    pub fn certificates(&self) -> Vec<Certificate> {
        self.lock().certificates.clone()
    }

    /// How it stands with certificates that an authority is asked for.
    pub fn asked_for(&self, certificates: Vec<acme::State>) {
        self.lock().acme = certificates;
    }

    /// Another configuration was refused.
    pub fn refused(&self, change: &Change) {
        self.count(Outcome::Refused);
        self.lock().last_change = Some(change.clone());
    }

    /// What was read is what serves. That is told where the last change was refused: it is over.
    pub fn unchanged(&self, change: &Change) {
        self.count(Outcome::Unchanged);
        let mut status = self.lock();
        if status.last_change.as_ref().is_some_and(|last| last.outcome == Outcome::Refused) {
            status.last_change = Some(change.clone());
        }
    }

    fn count(&self, outcome: Outcome) {
        let counted = COUNTED.iter().zip(&*self.changes).find(|(of, _)| **of == outcome);
        if let Some((_, count)) = counted {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many configurations that were read again came to this.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Outcome, u64)> {
        COUNTED.iter().zip(&*self.changes).map(|(of, count)| (*of, count.load(Ordering::Relaxed)))
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
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
