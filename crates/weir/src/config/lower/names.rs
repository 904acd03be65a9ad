//! Names: given or made, unique, and where they are used they must exist.

use std::collections::HashMap;
use std::sync::Arc;

use weir_core::spec::ListenAddress;

use super::{Lower, arc};
use crate::config::document::At;
use crate::config::raw;
use crate::config::report::did_you_mean;
use crate::config::value::Leaf;

/// The names of everything that can be named.
pub struct Names {
    /// Of listeners, by position.
    pub listeners: Vec<Arc<str>>,
    /// What each listener speaks, by position.
    pub protocols: Vec<raw::ListenerProtocol>,
    /// Of routes, by position.
    pub routes: Vec<Arc<str>>,
    /// Of TCP routes, by position.
    pub tcp_routes: Vec<Arc<str>>,
    /// Of upstreams.
    pub upstreams: Vec<Arc<str>>,
}

impl Names {
    /// Collects all names; a name that is used twice is an error.
    pub fn collect(raw: &raw::Config, lower: &mut Lower<'_>) -> Names {
        let listeners = raw.listeners.iter().map(|l| match (&l.name, &l.address) {
            (Some(name), _) => arc(name),
            (None, Some(address)) => arc(&address.0.show()),
            (None, None) => arc(""),
        });
        let routes = raw.routes.iter().map(|r| r.name.as_deref());
        let tcp_routes = raw.tcp_routes.iter().map(|r| r.name.as_deref());
        let names = Names {
            listeners: listeners.collect(),
            protocols: raw.listeners.iter().map(|l| l.protocol).collect(),
            routes: routes.enumerate().map(|(i, n)| numbered("route", i, n)).collect(),
            tcp_routes: tcp_routes.enumerate().map(|(i, n)| numbered("tcp", i, n)).collect(),
            upstreams: raw.upstreams.keys().map(|n| arc(n)).collect(),
        };
        unique(lower, "listeners", "listener", &names.listeners);
        addresses(lower, raw);
        unique(lower, "routes", "route", &names.routes);
        unique(lower, "tcp_routes", "TCP route", &names.tcp_routes);
        names
    }

    /// The listener of this name; an error says what it could be.
    pub fn listener(&self, name: &str, wanted: raw::ListenerProtocol, at: &At, lower: &mut Lower<'_>) {
        let Some(i) = self.listeners.iter().position(|n| **n == *name) else {
            missing(lower, "listener", name, &self.listeners, at);
            return;
        };
        if self.protocols.get(i) != Some(&wanted) {
            let listener = At::default().key("listeners").index(i);
            let place = lower.document.locate_key(&listener.key("protocol"));
            let (speaks, list) = match wanted {
                raw::ListenerProtocol::Http => ("bytes (`protocol = \"tcp\"`)", "tcp_routes"),
                raw::ListenerProtocol::Tcp => ("HTTP", "routes"),
            };
            lower
                .error(at, format!("the listener `{name}` speaks {speaks}"), "")
                .context(place, "the listener")
                .help(format!("its traffic is routed by `[[{list}]]`"));
        }
    }

    /// The upstream of this name; an error says what it could be.
    pub fn upstream(&self, name: &str, at: &At, lower: &mut Lower<'_>) {
        let written = lower.document.entry("upstreams").is_some_and(|e| e.node.entry(name).is_some());
        if !written && !self.upstreams.iter().any(|n| **n == *name) {
            missing(lower, "upstream", name, &self.upstreams, at);
        }
    }
}

fn numbered(what: &str, index: usize, given: Option<&str>) -> Arc<str> {
    given.map_or_else(|| format!("{what}-{}", index + 1).into(), arc)
}

fn missing(lower: &mut Lower<'_>, what: &str, name: &str, names: &[Arc<str>], at: &At) {
    let label = match did_you_mean(name, names.iter().map(|n| &**n)) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "not defined".to_owned(),
    };
    let told = lower.error(at, format!("there is no {what} `{name}`"), label);
    if names.is_empty() {
        told.help(format!("no {what} is defined at all"));
    } else {
        let list: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
        told.help(format!("defined are {}", list.join(", ")));
    }
}

/// One address can be bound once.
fn addresses(lower: &mut Lower<'_>, raw: &raw::Config) {
    let at = |i: usize| At::default().key("listeners").index(i).key("address");
    let given: Vec<_> = raw.listeners.iter().map(|l| l.address.as_ref().map(|a| &a.0)).collect();
    for (i, address) in given.iter().enumerate() {
        let port_zero = matches!(address, Some(ListenAddress::Tcp(a)) if a.port() == 0);
        let Some(first) = given.iter().take(i).position(|a| a == address) else { continue };
        if let Some(address) = address.filter(|_| !port_zero) {
            let place = lower.document.locate(&at(first));
            lower
                .error(&at(i), format!("two listeners have the address {}", address.show()), "the second")
                .context(place, "the first")
                .help("one listener serves many hosts: tell them apart by `host` in routes");
        }
    }
}

fn unique(lower: &mut Lower<'_>, section: &str, what: &str, names: &[Arc<str>]) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (i, name) in names.iter().enumerate() {
        let at = |i: usize| At::default().key(section).index(i).key("name");
        if name.is_empty() {
            // Without a name an address stands for it, and what is wrong with that one is told already.
            if lower.document.find(&at(i)).is_none() {
                continue;
            }
            lower.error(&at(i), format!("the name of a {what} cannot be empty"), "");
        } else if let Some(first) = seen.insert(name, i) {
            if lower.document.find(&at(i)).is_none() && section == "listeners" {
                continue;
            }
            let place = lower.document.locate(&at(first));
            lower
                .error(&at(i), format!("two {what}s are called `{name}`"), "the second")
                .context(place, "the first")
                .help("names are shown in logs and must tell them apart; give one of them another name");
        }
    }
}
