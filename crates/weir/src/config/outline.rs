//! What a configuration has in it, and what is another in the next one, in lines for people. No line has a secret in
//! it: names, addresses and paths only.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use weir_core::spec::{Certificate, HostPattern};

use super::inputs::{Digest, Kind};
use super::raw;
use super::value::Leaf;
use crate::assemble::plugins::Loaded;
use crate::run::Plan;

/// The named parts of a configuration, and what is written about each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// What kind of part, and its name.
    parts: BTreeMap<(&'static str, String), Part>,
}

/// What is written about a part.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    settings: Digest,
    /// What is told beside its name where there is room.
    detail: Option<String>,
}

impl Outline {
    /// What is written.
    pub fn of(raw: &raw::Config) -> Self {
        let mut outline = Outline::default();
        for listener in &raw.listeners {
            let address = listener.address.as_ref().map(|address| address.0.show());
            let name = listener.name.clone().or_else(|| address.clone()).unwrap_or_default();
            outline.part("listener", name, address, listener);
        }
        for route in &raw.routes {
            let name = route.name.clone().unwrap_or_else(|| unnamed(route));
            outline.part("route", name, None, route);
        }
        for route in &raw.tcp_routes {
            let listener = route.listener.as_deref().unwrap_or_default();
            let name = route.name.clone().unwrap_or_else(|| format!("of {listener}"));
            outline.part("TCP route", name, None, route);
        }
        for (name, upstream) in &raw.upstreams {
            outline.part("upstream", name.clone(), None, upstream);
        }
        outline.section("proxy settings", &raw.proxy);
        outline.section("settings of acme", &raw.acme);
        outline.section("drain", &raw.drain);
        outline.section("reload settings", &raw.reload);
        outline.section("upgrade settings", &raw.upgrade);
        outline
    }

    fn part(&mut self, kind: &'static str, name: String, detail: Option<String>, settings: &impl Serialize) {
        // By way of a value: its tables are sorted.
        let json = serde_json::to_value(settings).unwrap_or_default().to_string();
        let part = Part { settings: Sha256::digest(json).into(), detail };
        // Parts without a name may look alike.
        let numbered = (2..).map(|n| format!("{name} ({n})"));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| !self.parts.contains_key(&(kind, name.clone())));
        self.parts.insert((kind, free.unwrap_or(name)), part);
    }

    fn section(&mut self, name: &'static str, settings: &impl Serialize) {
        self.part(name, String::new(), None, settings);
    }

    fn changes(&self, old: &Outline, lines: &mut Vec<String>) {
        let called = |kind: &str, name: &str| match name {
            "" => kind.to_owned(),
            name => format!("{kind} {name}"),
        };
        for ((kind, name), part) in &self.parts {
            let what = called(kind, name);
            match old.parts.get(&(*kind, name.clone())) {
                None => lines.push(match &part.detail {
                    Some(detail) if detail != name => format!("{what}: added ({detail})"),
                    _ => format!("{what}: added"),
                }),
                Some(was) if was == part => {}
                Some(was) => lines.push(match (&was.detail, &part.detail) {
                    (Some(from), Some(to)) if from != to => format!("{what}: moved from {from} to {to}"),
                    _ => format!("{what}: changed"),
                }),
            }
        }
        let gone = old.parts.keys().filter(|key| !self.parts.contains_key(*key));
        lines.extend(gone.map(|(kind, name)| format!("{}: removed", called(kind, name))));
    }
}

/// What is another in the new plan, a line each.
pub fn changes(old: &Plan, new: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    new.outline.changes(&old.outline, &mut lines);
    plugins(&old.plugins, &new.plugins, &mut lines);
    certificates(old, new, &mut lines);
    for (kind, what) in [(Kind::Authority, "authorities in "), (Kind::Other, "")] {
        for path in new.inputs.changed(&old.inputs, kind) {
            lines.push(format!("{what}{}: changed", path.display()));
        }
    }
    if lines.is_empty() && old.inputs.digest() != new.inputs.digest() {
        lines.push("nothing but how it is written".to_owned());
    }
    lines
}

/// A route without a name, by what it takes.
fn unnamed(route: &raw::Route) -> String {
    let first = |list: Vec<String>| list.into_iter().next().unwrap_or_default();
    let host = first(route.host.as_slice().iter().map(|host| host.0.show()).collect());
    let paths = route.path.as_slice().iter().cloned();
    let prefixes =
        route.path_prefix.as_slice().iter().map(|prefix| format!("{}/*", prefix.trim_end_matches('/')));
    let patterns = route.path_regex.as_slice().iter().map(|pattern| pattern.0.show());
    let path = first(paths.chain(prefixes).chain(patterns).collect());
    match (host.as_str(), path.as_str()) {
        ("", "") => "of everything".to_owned(),
        _ => format!("of {host}{path}"),
    }
}

fn plugins(old: &[Loaded], new: &[Loaded], lines: &mut Vec<String>) {
    let by_name = |plugins: &[Loaded]| {
        let mut names: BTreeMap<String, Vec<Loaded>> = BTreeMap::new();
        for plugin in plugins {
            names.entry(plugin.what.name.clone()).or_default().push(plugin.clone());
        }
        names
    };
    let (old, new) = (by_name(old), by_name(new));
    for (name, plugins) in &new {
        let Some(before) = old.get(name) else {
            lines.push(format!("plugin {name}: added"));
            continue;
        };
        let is_in = |plugin: &Loaded, all: &[Loaded]| {
            all.iter().any(|other| other.what == plugin.what && other.source == plugin.source)
        };
        let same = plugins.iter().all(|plugin| is_in(plugin, before))
            && before.iter().all(|plugin| is_in(plugin, plugins));
        if let (false, Some(was), Some(is)) = (same, before.first(), plugins.first()) {
            let files = is.source.changed(&was.source);
            lines.push(match files.as_slice() {
                _ if plugins.iter().all(|plugin| before.iter().any(|old| old.source == plugin.source)) => {
                    format!("plugin {name}: settings changed")
                }
                [] => format!("plugin {name}: compiled again"),
                files => format!("plugin {name}: compiled again ({})", files.join(", ")),
            });
        }
    }
    lines.extend(
        old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("plugin {name}: removed")),
    );
}

/// Certificates of listeners and for upstreams.
fn certificates(old: &Plan, new: &Plan, lines: &mut Vec<String>) {
    let (was, is) = (served(old), served(new));
    for (name, digests) in &is {
        match was.get(name) {
            None => lines.push(format!("{name}: added")),
            Some(before) if before != digests => lines.push(format!("{name}: replaced")),
            Some(_) => {}
        }
    }
    lines.extend(was.keys().filter(|name| !is.contains_key(*name)).map(|name| format!("{name}: removed")));
}

/// By what they are for: the digests of certificates.
fn served(plan: &Plan) -> BTreeMap<String, Vec<Digest>> {
    let mut all: BTreeMap<String, Vec<Digest>> = BTreeMap::new();
    let mut add = |name: String, chain: &[rustls::pki_types::CertificateDer<'_>]| {
        let mut whole = Sha256::new();
        chain.iter().for_each(|certificate| whole.update(certificate));
        let digests = all.entry(name).or_default();
        digests.push(whole.finalize().into());
        digests.sort_unstable();
        // Two listeners may have the same.
        digests.dedup();
    };
    for listener in &plan.spec.listeners {
        for certificate in listener.tls.iter().flat_map(|tls| &tls.certificates) {
            let name = match names(certificate).as_str() {
                "" => format!("certificate of listener {}", listener.name),
                names => format!("certificate for {names}"),
            };
            add(name, &certificate.key.cert);
        }
    }
    for upstream in &plan.spec.upstreams {
        if let Some(key) = upstream.tls.as_ref().and_then(|tls| tls.client_certificate.as_ref()) {
            add(format!("client certificate for upstream {}", upstream.name), &key.cert);
        }
    }
    all
}

fn names(certificate: &Certificate) -> String {
    let names: Vec<String> = certificate.names.iter().map(HostPattern::show).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::{self, Source};

    /// Writes files, `NAME=CONTENT` each, and loads `weir.toml`.
    fn load(folder: &Path, files: &[(&str, &str)]) -> Plan {
        for (name, content) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("in the folder")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        let loaded = config::load(&Source::Path(folder.join("weir.toml")));
        loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).plan
    }

    const BEFORE: &str = "\
        [[listeners]]\nname = \"web\"\naddress = \"127.0.0.1:8080\"\n\
        [[routes]]\nname = \"api\"\npath_prefix = \"/api\"\nupstream = \"app\"\n\
        [[routes]]\npath = \"/hello\"\nrespond = \"hello\"\nplugins = [\"one\"]\n\
        [[routes]]\nrespond = { file = \"page.html\" }\n\
        [upstreams.app]\nendpoints = [\"127.0.0.1:1\"]\n";

    fn check(after: &str, files: &[(&str, &str)], expected: &[&str]) {
        let folder = tempfile::tempdir().expect("a folder");
        let first = [
            ("weir.toml", BEFORE),
            ("page.html", "a page"),
            ("plugins/one.lua", "return {}"),
            ("plugins/two/plugin.lua", "return {}"),
        ];
        let old = load(folder.path(), &first);
        let mut files = files.to_vec();
        files.push(("weir.toml", after));
        let new = load(folder.path(), &files);
        let lines: Vec<String> = changes(&old, &new)
            .into_iter()
            .map(|line| line.replace(&format!("{}/", folder.path().display()), ""))
            .collect();
        assert_eq!(lines, expected, "{after}");
    }

    #[test]
    fn what_changes_is_told_by_name() {
        check(BEFORE, &[], &[]);
        check(&format!("# more words\n{BEFORE}"), &[], &["nothing but how it is written"]);
        check(&BEFORE.replace("\"/api\"", "\"/app\""), &[], &["route api: changed"]);
        check(&BEFORE.replace("\"hello\"\n", "\"welcome\"\n"), &[], &["route of /hello: changed"]);
        check(
            &BEFORE.replace("8080", "8081"),
            &[],
            &["listener web: moved from 127.0.0.1:8080 to 127.0.0.1:8081"],
        );
        check(
            &BEFORE.replace("\"web\"", "\"site\""),
            &[],
            &["listener site: added (127.0.0.1:8080)", "listener web: removed"],
        );
        check(
            &format!("{BEFORE}[upstreams.more]\nendpoints = [\"127.0.0.1:2\"]\n"),
            &[],
            &["upstream more: added"],
        );
        check(&format!("drain = \"7s\"\n{BEFORE}"), &[], &["drain: changed"]);
        check(&format!("{BEFORE}[proxy]\nvia = false\n"), &[], &["proxy settings: changed"]);
        check(BEFORE, &[("page.html", "another page")], &["page.html: changed"]);
    }

    #[test]
    fn plugins_are_told_with_their_files() {
        check(BEFORE, &[("plugins/one.lua", "return { }")], &["plugin one: compiled again (one.lua)"]);
        check(
            &BEFORE.replace("[\"one\"]", "[\"one\", \"two\"]"),
            &[],
            &["route of /hello: changed", "plugin two: added"],
        );
        check(
            &format!("{BEFORE}[plugins.one]\nlimits = {{ cpu = \"7ms\" }}\n"),
            &[],
            &["plugin one: settings changed"],
        );
        check(
            &BEFORE.replace("\nplugins = [\"one\"]", ""),
            &[],
            &["route of /hello: changed", "plugin one: removed"],
        );
    }
}
