//! From what is written to what the data plane takes. Everything that is wrong is told, not the first thing only.

mod acme;
pub(super) mod admin;
mod conflicts;
mod listener;
mod names;
mod plugin;
mod proxy;
mod reload;
mod route;
mod secrets;
mod telemetry;
mod tls;
mod upstream;
mod websocket;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value as Json};
use weir_core::spec::{self, Spec};
use weir_plugin::services::Services;

use super::document::{At, Node};
use super::inputs::Kind;
use super::raw;
use super::report::{Diagnostic, Report};
use super::value::Text;
use crate::acme::Settings;
use crate::assemble::plugins::{self, Loaded};
use crate::run::{Origin, Plan};

pub use acme::Placeholder;
pub use conflicts::without_upstreams;

/// The least and the most memory of the key-value store, in bytes.
const KV_MEMORY: (u64, u64) = (1 << 20, 1 << 40);

/// Lowers a configuration; what is wrong goes to `report`, and only a plan without errors can be run. Plugins that are
/// what they were `before` stay, with all that they hold.
pub fn lower(
    raw: &raw::Config,
    document: &Node,
    report: &mut Report,
    bad: &mut Vec<At>,
    before: &[Loaded],
) -> Plan {
    let services = plugins::services(raw.kv.size.0.0.clamp(KV_MEMORY.0, KV_MEMORY.1));
    let mut lower = Lower {
        document,
        report,
        bad,
        services,
        before,
        plugins: Vec::new(),
        broken_plugins: Vec::new(),
        fetched: HashMap::new(),
        certificate_files: HashMap::new(),
        key_files: HashMap::new(),
        acme: None,
        placeholders: Vec::new(),
    };
    let names = names::Names::collect(raw, &mut lower);
    let mut plan = Plan {
        spec: Spec {
            workers: raw.workers as usize,
            drain: raw.drain.0,
            proxy: lower.proxy(&raw.proxy),
            reload: reload::of_relays(&raw.reload),
            ..Spec::default()
        },
        telemetry: lower.telemetry(raw),
        kv_memory: lower.size(raw.kv.size, KV_MEMORY.0, KV_MEMORY.1, &At::default().key("kv").key("size")),
        ..Plan::default()
    };
    lower.acme = lower.acme(raw);
    plugins::make_room(raw.plugins.values().map(|plugin| plugin.limits.instances), raw.workers);
    for (i, listener) in raw.listeners.iter().enumerate() {
        let at = At::default().key("listeners").index(i);
        let plugins = lower.listener_plugins(listener, raw, &at);
        let Some(spec) = lower.listener(listener, &names.listeners[i], &at) else { continue };
        let self_signed =
            matches!(listener.tls, Some(raw::ListenerTls::Keyword(raw::TlsKeyword::SelfSigned)));
        if self_signed {
            plan.self_signed.push(spec.name.clone());
        }
        if !plugins.is_empty() {
            plan.spec.connect_plugins.insert(spec.name.clone(), plugins.into());
        }
        plan.origins.insert(spec.name.clone(), lower.origin(&at.key("address")));
        plan.spec.listeners.push(spec);
    }
    for (name, upstream) in &raw.upstreams {
        let at = At::default().key("upstreams").key(name);
        let (spec, demo) = lower.upstream(name, upstream, &at);
        if demo {
            plan.demo.push(spec.name.clone());
        }
        plan.spec.upstreams.push(spec);
    }
    let hosts = lower.granted_hosts(raw, &plan.spec.upstreams);
    plan.spec.upstreams.extend(hosts);
    for (i, route) in raw.routes.iter().enumerate() {
        let at = At::default().key("routes").index(i);
        let plugins = lower.route_plugins(route, raw, &at);
        let identity = reload::identity(route, route.upstream.as_ref(), raw);
        let route = lower.route(route, &names.routes[i], &names, &at);
        plan.spec.routes.extend(route.map(|route| spec::Route { plugins, identity, ..route }));
    }
    lower.unnamed_plugins(raw);
    for (i, route) in raw.tcp_routes.iter().enumerate() {
        let at = At::default().key("tcp_routes").index(i);
        let identity = reload::identity(route, route.upstream.as_ref(), raw);
        let route = lower.tcp_route(route, &names.tcp_routes[i], &names, &at);
        plan.spec.tcp_routes.extend(route.map(|route| spec::TcpRoute { identity, ..route }));
    }
    lower.conflicts(&plan.spec.routes, &names);
    lower.tcp_conflicts(&plan.spec.tcp_routes, &names);
    if lower.report.errors() == 0 {
        lower.unused(raw, &plan.spec);
    }
    if raw.listeners.is_empty() {
        lower
            .error(&At::default().key("listeners"), "there is no listener", "")
            .help("add one: [[listeners]] address = \"127.0.0.1:8080\"");
    }
    plan.admin = admin::settings(&raw.admin, document, lower.report);
    plan.admin_tcp = lower.admin_tcp(&raw.admin);
    plan.reload = lower.reload(&raw.reload);
    plan.upgrade = lower.upgrade(&raw.upgrade);
    if let Some(raw::OrFalse::Switch(true)) = raw.admin.socket {
        lower
            .error(
                &At::default().key("admin").key("socket"),
                "true is no socket",
                "a path, or false for none",
            )
            .help("leave it out for the default");
    }
    plan.acme = lower.acme_settings();
    plan.placeholders = std::mem::take(&mut lower.placeholders);
    plan.certificate_files = lower.certificate_files;
    plan.key_files = lower.key_files;
    plan.plugins = lower.plugins;
    plan
}

/// What lowering works with.
pub struct Lower<'a> {
    document: &'a Node,
    report: &'a mut Report,
    bad: &'a mut Vec<At>,
    /// What plugins are lent.
    services: Services,
    /// Plugins that serve.
    before: &'a [Loaded],
    /// Plugins that are ready.
    plugins: Vec<Loaded>,
    /// Scripts of which it was told what is wrong.
    broken_plugins: Vec<PathBuf>,
    /// Files of plugins that are named by a URL, by the plugin's name; `None` where one cannot be had, which is told then.
    fetched: HashMap<String, Option<PathBuf>>,
    /// Files of certificates, by their fingerprint.
    certificate_files: HashMap<String, PathBuf>,
    /// Of certificates in files, where the key is in another.
    key_files: HashMap<PathBuf, PathBuf>,
    /// The authority that is asked for certificates, and what was wanted of it so far.
    acme: Option<Settings>,
    /// Certificates that weir made until those are there.
    placeholders: Vec<Placeholder>,
}

/// An error that was just told; more can be said about it.
pub struct Told<'r> {
    report: &'r mut Report,
    diagnostic: Option<Diagnostic>,
}

impl Told<'_> {
    /// What would be right.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.diagnostic = self.diagnostic.take().map(|d| d.help(help));
        self
    }

    /// Another place that has to do with it.
    pub fn context(mut self, place: super::document::Place, label: &str) -> Self {
        self.diagnostic = self.diagnostic.take().map(|d| d.context(place, label));
        self
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if let Some(diagnostic) = self.diagnostic.take() {
            self.report.push(diagnostic);
        }
    }
}

impl Lower<'_> {
    /// Tells an error about the value at the end of the way, unless something there or around it is wrong already.
    pub fn error(&mut self, at: &At, title: impl Into<String>, label: impl Into<String>) -> Told<'_> {
        let known = self.bad.iter().any(|bad| bad.starts_with(at) || at.starts_with(bad));
        let diagnostic = (!known).then(|| Diagnostic::new(title).place(self.document.locate(at), label));
        if !known {
            self.bad.push(at.clone());
        }
        Told { report: &mut *self.report, diagnostic }
    }

    /// The same about a key rather than its value.
    pub fn key_error(&mut self, at: &At, title: impl Into<String>, label: impl Into<String>) -> Told<'_> {
        let place = self.document.locate_key(at);
        let mut told = self.error(at, title, "");
        told.diagnostic = told.diagnostic.take().map(|d| d.place(place, label));
        told
    }

    /// Tells a warning.
    pub fn warning(&mut self, at: &At, title: impl Into<String>, label: impl Into<String>) -> Told<'_> {
        let diagnostic = Diagnostic::new(title).warning().place(self.document.locate_key(at), label);
        Told { report: &mut *self.report, diagnostic: Some(diagnostic) }
    }

    /// Warns of what has no effect.
    fn unused(&mut self, raw: &raw::Config, spec: &Spec) {
        // A plugin may choose or call any upstream.
        let chosen = raw.routes.iter().any(|route| !route.plugins.is_empty())
            || raw.listeners.iter().any(|listener| !listener.plugins.is_empty());
        for name in raw.upstreams.keys().filter(|_| !chosen) {
            let by_route = raw.routes.iter().any(|r| r.upstream.as_ref() == Some(name));
            if !by_route && !raw.tcp_routes.iter().any(|r| r.upstream.as_ref() == Some(name)) {
                let at = At::default().key("upstreams").key(name);
                self.warning(&at, format!("no route uses the upstream `{name}`"), "");
            }
        }
        for (i, listener) in raw.listeners.iter().enumerate() {
            let Some(name) = spec.listeners.get(i).map(|l| &l.name) else { continue };
            let at = At::default().key("listeners").index(i);
            let tcp = listener.protocol == raw::ListenerProtocol::Tcp;
            if tcp && !spec.tcp_routes.iter().any(|r| r.listener == *name) {
                self.warning(
                    &at,
                    format!("the listener `{name}` has no TCP route"),
                    "every connection is closed",
                );
            } else if !tcp
                && !spec.routes.iter().any(|r| {
                    r.matching.listeners.is_empty() || r.matching.listeners.iter().any(|l| l == name)
                })
            {
                self.warning(&at, format!("the listener `{name}` has no route"), "every request gets 404");
            }
        }
    }

    /// A path as it is written, relative to the folder of the file that names it.
    pub fn path(&self, text: &str, at: &At) -> PathBuf {
        path_of(text, at, self.document, self.report)
    }

    /// Where something is set.
    fn origin(&self, at: &At) -> Origin {
        let place = self.document.locate(at);
        let file = self.report.files.get(place.file);
        let before = file.and_then(|f| f.text.get(..place.span.start)).unwrap_or_default();
        Origin {
            file: file.map_or_else(String::new, |f| f.name.clone()),
            line: before.matches('\n').count() + 1,
            key: at.to_string(),
        }
    }

    /// The content of a file.
    pub fn file(&mut self, text: &str, at: &At) -> Option<Vec<u8>> {
        let path = self.path(text, at);
        let content = std::fs::read(&path);
        self.report.inputs.file(&path, Kind::Other, content.as_deref().ok());
        match content {
            Ok(content) => Some(content),
            Err(error) => {
                let told = self.error(at, format!("cannot read {}: {error}", path.display()), "");
                if !Path::new(text).is_absolute() {
                    told.help("relative paths are relative to the file that names them");
                }
                None
            }
        }
    }
}

/// A path as it is written, relative to the folder of the file that names it.
fn path_of(text: &str, at: &At, document: &Node, report: &Report) -> PathBuf {
    let file = document.locate(at).file;
    let folder = report.files.get(file).map_or(Path::new(""), |f| f.folder.as_path());
    folder.join(text)
}

/// The values of a list of texts.
fn all<T: Clone>(list: &raw::OneOrMany<Text<T>>) -> Vec<T> {
    list.as_slice().iter().map(|t| t.0.clone()).collect()
}

fn arc(text: &str) -> Arc<str> {
    Arc::from(text)
}

/// Writes the top-level `limits` under each listener's own.
pub fn inherit_limits(json: &mut Json) {
    let Some(limits) = json.get("limits").cloned() else { return };
    let Some(listeners) = json.get_mut("listeners").and_then(Json::as_array_mut) else { return };
    for listener in listeners.iter_mut().filter_map(Json::as_object_mut) {
        let own = listener.remove("limits").unwrap_or_else(|| Json::Object(Map::new()));
        let mut merged = limits.clone();
        overlay(&mut merged, own);
        listener.insert("limits".into(), merged);
    }
}

fn overlay(below: &mut Json, above: Json) {
    match (below, above) {
        (Json::Object(below), Json::Object(above)) => {
            for (key, value) in above {
                overlay(below.entry(key).or_insert(Json::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}
