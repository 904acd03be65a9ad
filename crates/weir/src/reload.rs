//! Another configuration while weir runs: read, checked and compiled as a whole beside the one that serves, then
//! published in one step. On any error the one that serves goes on, and the log says what was wrong, and where.

use std::time::Duration;

use weir_core::server::{BindError, Publisher};

use crate::admin::Board;
use crate::assemble::Assembler;
use crate::config::{self, inputs::Inputs};
use crate::run::{self, Plan};

/// Reads the configuration again. The only one that publishes.
#[derive(Debug)]
pub struct Reloader {
    /// What serves.
    plan: Plan,
    assembler: Assembler,
    publisher: Publisher,
    /// Where what came of it is told.
    board: Board,
    /// What was read last, if it was refused.
    refused: Option<Inputs>,
}

/// How a configuration is read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Also when something that it was read from changes.
    pub watch: bool,
}

/// What came of a configuration that was read again, where nothing is wrong with it.
enum Outcome {
    Published,
    Unchanged,
}

impl Reloader {
    /// A reloader for what serves.
    pub fn new(plan: Plan, assembler: Assembler, publisher: Publisher, board: Board) -> Self {
        Reloader { plan, assembler, publisher, board, refused: None }
    }

    /// What is to be watched: what that which serves was read from, and what was read last if it was refused.
    pub fn inputs(&self) -> Vec<Inputs> {
        match self.plan.reload.watch {
            true => std::iter::once(&self.plan.inputs).chain(&self.refused).cloned().collect(),
            false => Vec::new(),
        }
    }

    /// How long a drain may take, by the configuration that serves.
    pub fn drain(&self) -> Duration {
        self.plan.spec.drain
    }

    /// Reads the configuration again and publishes it, or logs why not. `cause` says in the log who asked.
    ///
    /// Cancel safety: dropped before its end, nothing was published.
    pub async fn reload(&mut self, cause: &str) {
        let generation = self.publisher.current().generation;
        match self.prepare_and_publish().await {
            Ok(Outcome::Unchanged) => {
                tracing::debug!(cause, generation, "the configuration is what serves");
            }
            Ok(Outcome::Published) => {
                self.board.published(cause, generation + 1, &self.plan);
                tracing::info!(
                    cause,
                    generation = generation + 1,
                    routes = self.plan.spec.routes.len() + self.plan.spec.tcp_routes.len(),
                    upstreams = self.plan.spec.upstreams.len(),
                    "a new configuration serves"
                );
            }
            Err(problems) => {
                self.board.refused(cause, &problems);
                for problem in &problems {
                    tracing::error!(cause, "{problem}");
                }
                tracing::error!(
                    cause,
                    generation,
                    problems = problems.len(),
                    "the configuration was not changed: what served before goes on"
                );
            }
        }
    }

    /// Everything that is wrong, one line each, where it did not come to be published.
    async fn prepare_and_publish(&mut self) -> Result<Outcome, Vec<String>> {
        let (source, before) = (self.plan.source.clone(), self.plan.plugins.clone());
        // Files may be on a slow disk: signals are heard meanwhile.
        let loaded = tokio::task::spawn_blocking(move || config::load_after(&source, &before));
        let loaded =
            loaded.await.map_err(|error| vec![format!("reading the configuration broke off: {error}")])?;
        let config::Loaded { mut plan, report } = loaded.map_err(|report| {
            self.refused = Some(report.inputs.clone());
            report.lines()
        })?;
        self.refused = None;
        if plan.inputs.digest() == self.plan.inputs.digest() {
            return Ok(Outcome::Unchanged);
        }
        self.refused = Some(report.inputs.clone());
        for warning in report.lines() {
            tracing::warn!("{warning}");
        }
        let restart = needs_restart(&self.plan, &plan);
        if !restart.is_empty() {
            return Err(restart);
        }
        keep_certificates(&self.plan, &mut plan);
        let snapshot = self.assembler.assemble(&mut plan, Some(&self.publisher.current()));
        let snapshot = snapshot.map_err(|error| vec![format!("{}: {error}", plan.source)])?;
        let published = self.publisher.publish(snapshot).await;
        let explain = |error: &BindError| run::explain(error, &plan);
        published.map_err(|errors| errors.iter().map(explain).collect::<Vec<_>>())?;
        self.plan = plan;
        self.refused = None;
        Ok(Outcome::Published)
    }
}

/// What is only looked at when weir starts, and is another now.
fn needs_restart(old: &Plan, new: &Plan) -> Vec<String> {
    let changed = [
        ("workers", old.spec.workers != new.spec.workers),
        ("kv.size", old.kv_memory != new.kv_memory),
        ("admin", old.admin != new.admin),
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
