//! What a person reads when weir has started.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use weir_core::spec::{
    Action, EndpointAddress, HostPattern, ListenAddress, Listener, Match, PathPattern, Route, Serve, Spec,
    TcpRoute, ValueMatch,
};

use crate::config::Source;
use crate::run::Plan;

/// Routes that are shown; `weir explain` knows all.
const MAX_ROUTES: usize = 30;

/// What is told at start.
#[derive(Debug)]
pub struct Banner<'a> {
    /// What was asked for.
    pub plan: &'a Plan,
    /// Where each listener is bound.
    pub addresses: &'a [(Arc<str>, Option<SocketAddr>)],
    /// How many workers there are.
    pub workers: usize,
    /// Whether it is shown on a terminal that knows colours.
    pub colours: bool,
}

impl Banner<'_> {
    /// The text. Lines that begin with `listening NAME URL`, one a listener, and `ready` at the end are for
    /// programs that start weir, and stay as they are.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(out, "{} {version}, {} workers", self.bold("weir"), self.workers);
        let source = &self.plan.source;
        let _ = match source {
            Source::Embedded | Source::Text(_) => writeln!(
                out,
                "configuration {source}; edit it and start weir again, `weir check` tells whether it is right"
            ),
            Source::Path(_) if self.plan.reload.watch => writeln!(
                out,
                "configuration {source}; changes are taken as they are saved, `weir check {source}` tells whether they are right"
            ),
            Source::Path(_) => writeln!(
                out,
                "configuration {source}; `kill -HUP {}` takes changes, `weir check {source}` tells whether they are right",
                std::process::id()
            ),
        };
        for (name, url) in self.listeners() {
            let _ = writeln!(out, "listening {name} {}", self.bold(&url));
            if let Some(fingerprint) = self.fingerprint(&name) {
                let _ = writeln!(out, "    certificate made at start, SHA-256 {fingerprint}");
            }
        }
        self.routes(&mut out);
        out.push_str("ready\n");
        out
    }

    /// The same as events of the program log, for logs that machines read.
    pub fn log(&self) {
        for (listener, url) in self.listeners() {
            let fingerprint = self.fingerprint(&listener);
            tracing::info!(%listener, url, fingerprint, "listening");
        }
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            workers = self.workers,
            configuration = %self.plan.source,
            "ready"
        );
    }

    /// Name and URL of each listener.
    fn listeners(&self) -> impl Iterator<Item = (Arc<str>, String)> {
        self.addresses.iter().filter_map(|(name, bound)| {
            let listener = self.listener(name)?;
            Some((name.clone(), url(listener, *bound)))
        })
    }

    fn listener(&self, name: &str) -> Option<&Listener> {
        self.plan.spec.listeners.iter().find(|listener| &*listener.name == name)
    }

    /// SHA-256 of a listener's certificate, as browsers and openssl show it, if it was made at start.
    fn fingerprint(&self, name: &str) -> Option<String> {
        if !self.plan.self_signed.iter().any(|signed| &**signed == name) {
            return None;
        }
        let tls = self.listener(name)?.tls.as_ref()?;
        let certificate = tls.certificates.get(tls.default_certificate.unwrap_or(0))?;
        Some(hex(&Sha256::digest(certificate.key.cert.first()?)))
    }

    fn routes(&self, out: &mut String) {
        let spec = &self.plan.spec;
        let http =
            spec.routes.iter().map(|route| (&route.name, conditions(&route.matching), action(route, spec)));
        let tcp = spec
            .tcp_routes
            .iter()
            .map(|route| (&route.name, server_names(route), upstream(&route.upstream, spec)));
        let rows: Vec<_> = http.chain(tcp).collect();
        let shown = &rows[..rows.len().min(MAX_ROUTES)];
        let first = shown.iter().map(|row| row.0.chars().count()).max().unwrap_or(0);
        let second = shown.iter().map(|row| row.1.chars().count()).max().unwrap_or(0).min(60);
        for (name, conditions, action) in shown {
            let _ = writeln!(out, "route {name:first$}  {conditions:second$}  -> {action}");
        }
        if rows.len() > shown.len() {
            let _ = writeln!(out, "and {} routes more", rows.len() - shown.len());
        }
    }

    fn bold(&self, text: &str) -> String {
        if self.colours { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Where a listener can be reached.
fn url(listener: &Listener, bound: Option<SocketAddr>) -> String {
    let scheme = match (listener.serve, &listener.tls) {
        (Serve::Http, None) => "http",
        (Serve::Http, Some(_)) => "https",
        (Serve::Tcp, None) => "tcp",
        (Serve::Tcp, Some(_)) => "tls",
    };
    match bound {
        Some(address) => format!("{scheme}://{address}"),
        None => address(&listener.address),
    }
}

/// How an address to listen on is written.
pub(crate) fn address(address: &ListenAddress) -> String {
    match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix { path, .. } => format!("unix:{}", path.display()),
        ListenAddress::Inherited(name) => format!("the inherited socket {name}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    pairs.join(":")
}

/// What a route asks of a request, in a few words.
fn conditions(matching: &Match) -> String {
    let mut words = Vec::new();
    let mut list = |items: Vec<String>| {
        if !items.is_empty() {
            words.push(items.join(","));
        }
    };
    list(matching.listeners.iter().map(|name| format!("[{name}]")).collect());
    list(matching.methods.iter().map(ToString::to_string).collect());
    list(matching.hosts.iter().map(host).collect());
    list(matching.paths.iter().map(path).collect());
    for (name, value) in &matching.headers {
        list(vec![format!("{name}{}", self::value(value))]);
    }
    for (name, value) in &matching.query {
        list(vec![format!("?{name}{}", self::value(value))]);
    }
    list(matching.clients.iter().map(ToString::to_string).collect());
    if words.is_empty() { "every request".to_owned() } else { words.join(" ") }
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(host) => host.to_string(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    }
}

fn path(pattern: &PathPattern) -> String {
    match pattern {
        PathPattern::Exact(path) => format!("={path}"),
        PathPattern::Prefix(path) => format!("{}/*", path.trim_end_matches('/')),
        PathPattern::Template(template) => template.source.to_string(),
        PathPattern::Regex(regex) => format!("~{}", regex.as_str()),
    }
}

fn value(value: &ValueMatch) -> String {
    match value {
        ValueMatch::Present => String::new(),
        ValueMatch::Absent => " absent".to_owned(),
        ValueMatch::Exact(text) => format!("={text}"),
        ValueMatch::Prefix(text) => format!("={text}*"),
        ValueMatch::Regex(regex) => format!("~{}", regex.as_str()),
    }
}

fn server_names(route: &TcpRoute) -> String {
    let names: Vec<String> = route.sni.iter().map(host).collect();
    format!("[{}] {}", route.listener, if names.is_empty() { "any".to_owned() } else { names.join(",") })
}

fn action(route: &Route, spec: &Spec) -> String {
    match &route.action {
        Action::Upstream(name) => upstream(name, spec),
        Action::Redirect { status, to } => format!("{} {to}", status.as_u16()),
        Action::Respond { status, .. } => format!("answer {}", status.as_u16()),
        Action::Files(files) => format!("files in {}", files.root.display()),
        Action::Metrics(_) => "metrics".to_owned(),
    }
}

/// The group and the first of its endpoints.
fn upstream(name: &str, spec: &Spec) -> String {
    let endpoints = spec.upstreams.iter().find(|u| &*u.name == name).map_or(&[][..], |u| &u.endpoints);
    let mut shown: Vec<String> = endpoints
        .iter()
        .take(3)
        .map(|endpoint| match &endpoint.address {
            EndpointAddress::Ip(address) => address.to_string(),
            EndpointAddress::Name(host, port) => format!("{host}:{port}"),
            EndpointAddress::Unix(path) => format!("unix:{}", path.display()),
        })
        .collect();
    if endpoints.len() > shown.len() {
        shown.push(format!("{} more", endpoints.len() - shown.len()));
    }
    format!("{name} ({})", shown.join(", "))
}

#[cfg(test)]
#[path = "banner/tests.rs"]
mod tests;
