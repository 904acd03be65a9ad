//! `weir check`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use super::{load, names, print};
use crate::config::value::Leaf;
use crate::expiry::{self, Told};
use crate::run::Plan;

/// Checks a configuration and sums it up.
pub(super) fn check(path: Option<PathBuf>) -> ExitCode {
    match load(path) {
        Ok(loaded) => {
            let certificates = expiry::certificates(&loaded.plan);
            for notice in Told::default().news(&certificates, SystemTime::now()) {
                // Nothing is left to tell it to when standard error is closed.
                let _ = writeln!(std::io::stderr(), "warning: {}", notice.text);
            }
            print(&summary(&loaded.plan))
        }
        Err(code) => code,
    }
}

fn summary(plan: &Plan) -> String {
    let spec = &plan.spec;
    let count = |n: usize, what: &str| if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") };
    let mut parts = vec![count(spec.listeners.len(), "listener"), count(spec.routes.len(), "route")];
    if !spec.tcp_routes.is_empty() {
        parts.push(count(spec.tcp_routes.len(), "TCP route"));
    }
    parts.push(count(spec.upstreams.len(), "upstream"));
    let mut out = format!("{}: ok ({})\n", plan.source, parts.join(", "));
    for listener in &spec.listeners {
        let tls = if listener.tls.is_some() { ", TLS" } else { "" };
        let _ = write!(out, "  listener {}: {}{tls}", listener.name, listener.address.show());
        if let Some(plugins) = spec.connect_plugins.get(&listener.name) {
            let _ = write!(out, ", on_connect of {}", names(plugins));
        }
        out.push('\n');
    }
    out
}
