//! Another configuration while weir runs: read, checked and compiled as a whole beside the one that serves, then
//! published in one step. On any error the one that serves goes on, and the log says what was wrong, and where.

use std::sync::Arc;
use std::time::Duration;

use weir_core::server::Publisher;
use weir_core::spec::{Certificate, Spec};
use weir_plugin::Plugin;

use crate::admin::Board;
use crate::assemble::Assembler;
use crate::config::{self, lower::Placeholder};
use crate::run::Plan;

/// Reads the configuration again. The only one that publishes.
#[derive(Debug)]
pub struct Reloader {
    /// What serves.
    plan: Plan,
    assembler: Assembler,
    publisher: Publisher,
    /// Where what came of it is told.
    board: Board,
}

impl Reloader {
    /// A reloader for what serves.
    pub fn new(plan: Plan, assembler: Assembler, publisher: Publisher, board: Board) -> Self {
        Reloader { plan, assembler, publisher, board }
    }

    /// What serves.
    pub fn plan(&self) -> &Plan {
        &self.plan
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
            Ok(()) => {
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
    async fn prepare_and_publish(&mut self) -> Result<(), Vec<String>> {
        let source = self.plan.source.clone();
        // Files may be on a slow disk: signals are heard meanwhile.
        let loaded = tokio::task::spawn_blocking(move || config::load(&source));
        let loaded =
            loaded.await.map_err(|error| vec![format!("reading the configuration broke off: {error}")])?;
        let config::Loaded { mut plan, report } = loaded.map_err(|report| report.lines())?;
        for warning in report.lines() {
            tracing::warn!("{warning}");
        }
        let restart = needs_restart(&self.plan, &plan);
        if !restart.is_empty() {
            return Err(restart);
        }
        keep_certificates(&self.plan, &mut plan);
        keep_acme(&self.plan, &mut plan);
        keep_plugins(&self.plan, &mut plan);
        let snapshot = self.assembler.assemble(&mut plan, Some(&self.publisher.current()));
        let snapshot = snapshot.map_err(|error| vec![format!("{}: {error}", plan.source)])?;
        let told =
            |problem: weir_core::server::Unbound| format!("{problem}; start weir again to change that");
        let published = self.publisher.publish(snapshot).await;
        published.map_err(|problems| problems.into_iter().map(told).collect::<Vec<_>>())?;
        self.plan = plan;
        Ok(())
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

/// Plugins that are what they were go on, with all that their instances hold.
fn keep_plugins(old: &Plan, new: &mut Plan) {
    for plugin in &mut new.plugins {
        let Some(same) = old.plugins.iter().find(|old| old.is_same(plugin)) else { continue };
        let is_new = |named: &Arc<dyn Plugin>| Arc::ptr_eq(named, &plugin.plugin);
        for of_route in new.spec.routes.iter_mut().flat_map(|route| &mut route.plugins) {
            if is_new(of_route) {
                *of_route = same.plugin.clone();
            }
        }
        for of_listener in new.spec.connect_plugins.values_mut() {
            let kept = of_listener.iter().map(|named| if is_new(named) { &same.plugin } else { named });
            *of_listener = kept.cloned().collect();
        }
        *plugin = same.clone();
    }
}

/// Where what is kept of an authority's certificate cannot be read, or is not there, what served before goes on.
fn keep_acme(old: &Plan, new: &mut Plan) {
    let print =
        |certificate: &Certificate| certificate.key.cert.first().map(|c| weir_core::tls::fingerprint(c));
    let certificates = |plan: &Spec| {
        let tls = plan.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        tls.flat_map(|tls| tls.certificates.clone()).collect::<Vec<_>>()
    };
    let served = certificates(&old.spec);
    for placeholder in std::mem::take(&mut new.placeholders) {
        let file = &placeholder.wanted.file;
        let read = old.certificate_files.iter().find(|(_, of)| *of == file).map(|(print, _)| print.clone());
        let made = old.placeholders.iter().find(|old| old.wanted == placeholder.wanted);
        let before = read.as_ref().or(made.map(|made| &made.fingerprint));
        let Some(kept) = served.iter().find(|served| print(served).as_ref() == before) else {
            new.placeholders.push(placeholder);
            continue;
        };
        for tls in new.spec.listeners.iter_mut().filter_map(|listener| listener.tls.as_mut()) {
            let is = |certificate: &Certificate, of: &String| print(certificate).as_ref() == Some(of);
            let Some(at) = tls.certificates.iter().position(|c| is(c, &placeholder.fingerprint)) else {
                continue;
            };
            if let Some(certificate) = tls.certificates.get_mut(at) {
                *certificate = kept.clone();
            }
            if read.is_some() {
                tls.certificates.retain(|c| !placeholder.stand_ins.iter().any(|of| is(c, of)));
            }
        }
        match (read, made) {
            (Some(print), _) => {
                new.certificate_files.insert(print, placeholder.wanted.file);
            }
            (None, made) => {
                let fingerprint = made.map_or(placeholder.fingerprint, |made| made.fingerprint.clone());
                new.placeholders.push(Placeholder { fingerprint, ..placeholder });
            }
        }
    }
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
