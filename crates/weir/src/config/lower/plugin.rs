//! Plugins: found, read, compiled and run once, so that what is wrong with a script is told with the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use weir_core::spec;
use weir_plugin::message::call::origin;
use weir_plugin::policy::Isolation;
use weir_plugin::settings::{Settings, Value};
use weir_plugin::websocket::LONGEST_GROUP;
use weir_plugin::{Grants, Limits, OnFailure, Plugin, Policy};

use super::Lower;
use crate::assemble::plugins::{self, COMPONENT, Fault, Problem, SCRIPT, Source, main_of};
use crate::config::document::{At, File, Place, Step};
use crate::config::inputs::{Kind, Listing};
use crate::config::raw;
use crate::config::report::{Diagnostic, did_you_mean};
use crate::config::value::{Leaf, Text};
use crate::fetch::{self, Pin, Reference};
use crate::testing::find;

/// Where plugins are looked for, relative to the file that names them.
const FOLDER: &str = "plugins";

/// What every plugin needs, in bytes.
const LEAST_MEMORY: usize = 1 << 20;

/// Where a plugin's settings were written.
struct Origins<'a> {
    /// The entry that names it.
    entry: &'a At,
    /// `[plugins.NAME]`, where there is one.
    section: Option<&'a At>,
    /// Settings of the entry by name.
    of_entry: &'a BTreeMap<String, Json>,
}

impl raw::RoutePlugin {
    fn name(&self) -> Option<&str> {
        match self {
            raw::RoutePlugin::Name(name) => Some(name),
            raw::RoutePlugin::Settings(entry) => entry.name.as_deref(),
        }
    }
}

impl Lower<'_> {
    /// The plugins of a route.
    pub fn route_plugins(
        &mut self,
        raw: &raw::Route,
        config: &raw::Config,
        route: &At,
    ) -> Vec<Arc<dyn Plugin>> {
        let named = |name: &str| {
            let mut entries = config.listeners.iter().flat_map(|listener| &listener.plugins);
            entries.any(|entry| entry.name() == Some(name))
        };
        let mut plugins = Vec::new();
        for (plugin, at) in self.named_plugins(&raw.plugins, config, &route.key("plugins")) {
            let (name, hooks) = (plugin.name(), plugin.hooks());
            if hooks.connect && !hooks.is_for_routes() && !named(name) {
                let title = format!("the plugin `{name}` does nothing here: its hook is on_connect");
                self.warning(&at, title, "").help("name it in `plugins` of a listener");
            }
            if raw.on_reload == raw::OnReload::Migrate && hooks.is_for_relays() && !hooks.migrate {
                self.cannot_migrate(&*plugin, &at, route);
            }
            plugins.push(plugin);
        }
        self.untouched_deflate(raw, &plugins, route);
        plugins
    }

    /// The plugins of a listener.
    pub fn listener_plugins(
        &mut self,
        raw: &raw::Listener,
        config: &raw::Config,
        at: &At,
    ) -> Vec<Arc<dyn Plugin>> {
        let mut plugins = Vec::new();
        for (plugin, at) in self.named_plugins(&raw.plugins, config, &at.key("plugins")) {
            if !plugin.hooks().connect {
                self.error(&at, format!("the plugin `{}` has no on_connect", plugin.name()), "").help(
                    "a listener asks its plugins about connections; one for requests is named in `plugins` of a route",
                );
            }
            plugins.push(plugin);
        }
        plugins
    }

    /// The plugins that a list names, and where.
    fn named_plugins(
        &mut self,
        list: &[raw::RoutePlugin],
        config: &raw::Config,
        at: &At,
    ) -> Vec<(Arc<dyn Plugin>, At)> {
        let nothing = BTreeMap::new();
        let mut plugins = Vec::new();
        for (i, entry) in list.iter().enumerate() {
            let at = at.index(i);
            let Some(name) = entry.name() else { continue };
            let own = match entry {
                raw::RoutePlugin::Name(_) => &nothing,
                raw::RoutePlugin::Settings(entry) => &entry.settings,
            };
            plugins.extend(self.plugin(name, own, config, &at).map(|plugin| (plugin, at)));
        }
        plugins
    }

    /// Checks plugins that no route and no listener names.
    pub fn unnamed_plugins(&mut self, config: &raw::Config) {
        for name in config.plugins.keys() {
            let of_routes = config.routes.iter().flat_map(|route| &route.plugins);
            let of_listeners = config.listeners.iter().flat_map(|listener| &listener.plugins);
            if of_routes.chain(of_listeners).any(|entry| entry.name() == Some(name)) {
                continue;
            }
            let at = At::default().key("plugins").key(name);
            self.warning(&at, format!("no route and no listener uses the plugin `{name}`"), "");
            self.plugin(name, &BTreeMap::new(), config, &at);
        }
    }

    fn plugin(
        &mut self,
        name: &str,
        own: &BTreeMap<String, Json>,
        config: &raw::Config,
        at: &At,
    ) -> Option<Arc<dyn Plugin>> {
        let section = At::default().key("plugins").key(name);
        let declared = config.plugins.get(name);
        let default = raw::Plugin::default();
        let raw = declared.unwrap_or(&default);
        let origins = Origins { entry: at, section: declared.map(|_| &section), of_entry: own };
        if raw.credentials.is_some() && raw.url.is_none() {
            self.error(&section.key("credentials"), "there is nothing to fetch: it has no `url`", "");
        }
        let path = match (&raw.path, &raw.url) {
            (Some(path), None) if Reference::is_one(path) => {
                let title = format!("the plugin `{name}` has a URL where a path is wanted");
                self.error(&section.key("path"), title, "").help(format!("url = \"{path}\""));
                return None;
            }
            (Some(path), None) => self.path(path, &section.key("path")),
            (None, Some(url)) => match self.fetched.get(name) {
                Some(known) => known.clone()?,
                None => {
                    let path = self.fetch(name, url, raw, &section);
                    self.fetched.insert(name.to_owned(), path.clone());
                    path?
                }
            },
            (None, None) => self.find_plugin(name, config, origins.section.unwrap_or(at))?,
            (Some(_), Some(_)) => {
                self.error(&section.key("url"), "a plugin has a `path` or a `url`, and not both", "");
                return None;
            }
        };
        let secrets = self.secrets(&raw.secrets, &section.key("secrets"))?;
        let policy = Policy { secrets, ..self.policy(raw, config, &section) };
        let mut settings: Settings = raw.settings.iter().map(|(k, v)| (k.clone(), value(v))).collect();
        settings.extend(own.iter().map(|(k, v)| (k.clone(), value(v))));
        let what = plugins::What { name: name.to_owned(), path, settings, policy };
        if let Some(loaded) = self.plugins.iter().find(|loaded| loaded.what == what) {
            return Some(loaded.plugin.clone());
        }
        // What is wrong with a script is told once, however many routes name it.
        if self.broken_plugins.contains(&what.path) {
            return None;
        }
        let source = plugins::read(&what);
        self.note_scripts(&what, source.as_ref().ok());
        if config.reload.prove >= raw::Prove::Tests {
            self.note_tests(&what);
        }
        if let (Ok(source), Some(sha256), None) = (&source, &raw.sha256, &raw.url)
            && !self.is_the_one(source, sha256, &section.key("sha256"))
        {
            self.broken_plugins.push(what.path);
            return None;
        }
        let before = self.before;
        let same =
            |source: &Source| before.iter().find(|loaded| loaded.what == what && loaded.source == *source);
        let loaded = match source {
            Ok(source) => match same(&source) {
                Some(loaded) => Ok(loaded.clone()),
                None => plugins::load(what.clone(), source, self.services.clone()),
            },
            Err(problem) => Err(problem),
        };
        match loaded {
            Ok(loaded) => {
                let plugin = loaded.plugin.clone();
                self.plugins.push(loaded);
                Some(plugin)
            }
            Err(problem) => {
                self.plugin_problem(&what, problem, &origins);
                None
            }
        }
    }

    /// The file of a plugin that is named by a URL: as it is kept, or fetched now.
    fn fetch(&mut self, name: &str, url: &str, raw: &raw::Plugin, section: &At) -> Option<PathBuf> {
        let at = section.key("url");
        let reference = match Reference::parse(url) {
            Ok(reference) => reference,
            Err(wrong) => {
                self.error(&at, format!("the plugin `{name}` cannot be fetched: {wrong}"), "");
                return None;
            }
        };
        let pin = match raw.sha256.as_deref().map(|text| Pin::parse(text).ok_or(text)) {
            None if !reference.is_pinned() => {
                let title = format!("which file the plugin `{name}` is, is not pinned");
                let help = match reference {
                    Reference::Web(_) => "name its SHA-256 as `sha256`",
                    Reference::Artifact(_) => "end the `url` with the digest of the manifest: `@sha256:…`",
                };
                let tell = "tells it, of what is there now";
                self.error(&at, title, "").help(format!("{help}; `weir inspect {url}` {tell}"));
                return None;
            }
            None => None,
            Some(Ok(pin)) if reference.is_pinned() || matches!(reference, Reference::Web(_)) => Some(pin),
            Some(Ok(_)) => {
                let help = format!("`weir inspect {url}` tells it, of what is there now");
                self.error(&at, "an artifact of a registry is pinned by the digest of its manifest", "")
                    .help(format!("end the `url` with it: `@sha256:…`; {help}"));
                return None;
            }
            Some(Err(text)) => {
                let title = format!("`{text}` is no SHA-256: 64 hexadecimal digits are wanted");
                self.error(&section.key("sha256"), title, "");
                return None;
            }
        };
        let credentials = match &raw.credentials {
            Some(credentials) => Some(self.one_secret(credentials, &section.key("credentials"))?),
            None => None,
        };
        let credentials = credentials.as_deref().map(String::from_utf8_lossy);
        if credentials.as_ref().is_some_and(|credentials| !credentials.contains(':')) {
            let at = section.key("credentials");
            self.error(&at, "what is there is no user and password", "").help("`user:password` is wanted");
            return None;
        }
        let Some(folder) = plugins::fetched() else {
            self.error(&at, "there is no folder for what is fetched", "")
                .help("set CACHE_DIRECTORY, XDG_CACHE_HOME or HOME");
            return None;
        };
        match fetch::fetch(&reference, pin.as_ref(), credentials.as_deref(), &folder) {
            Ok(path) => Some(path),
            Err(wrong) => {
                self.error(&at, format!("the plugin `{name}` cannot be fetched: {wrong}"), "");
                None
            }
        }
    }

    /// Whether a plugin's file has this SHA-256.
    fn is_the_one(&mut self, source: &Source, sha256: &str, at: &At) -> bool {
        let files = source.files();
        let [(path, bytes)] = files.as_slice() else {
            let count = files.len();
            self.error(at, format!("`sha256` is of one file, and this plugin has {count}"), "")
                .help("a component and a script that is alone can have one".to_owned());
            return false;
        };
        let has = Pin::of(bytes).to_string();
        if has.eq_ignore_ascii_case(sha256) {
            return true;
        }
        let title = format!("{} is not the file that `sha256` names", path.display());
        self.error(at, title, format!("it has {has}"));
        false
    }

    /// Which files a plugin is read from.
    fn note_scripts(&mut self, what: &plugins::What, source: Option<&Source>) {
        let inputs = &mut self.report.inputs;
        match source {
            Some(source) => {
                for (path, bytes) in source.files() {
                    inputs.file(&path, Kind::Script, Some(bytes));
                }
            }
            None => inputs.file(&what.path, Kind::Script, None),
        }
        if what.path.is_dir() {
            inputs.folder(&what.path, Listing::Scripts);
        }
    }

    /// By which files of tests a plugin is proved.
    fn note_tests(&mut self, what: &plugins::What) {
        let inputs = &mut self.report.inputs;
        if what.path.is_dir() {
            inputs.folder(&what.path, Listing::Tests);
        } else {
            // There may be one later.
            inputs.file_to_read(&find::tests_beside(&what.path), Kind::Test);
        }
        for test in find::plugin(&what.path).into_iter().flat_map(|found| found.tests) {
            inputs.file_to_read(&test, Kind::Test);
        }
    }

    fn find_plugin(&mut self, name: &str, config: &raw::Config, at: &At) -> Option<PathBuf> {
        let folder = self.path(FOLDER, at);
        let is_name = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']);
        if is_name {
            for kind in ["lua", "wasm"] {
                let file = folder.join(format!("{name}.{kind}"));
                if file.is_file() {
                    return Some(file);
                }
                // Should it come to be there, it is the one.
                self.report.inputs.file_to_read(&file, Kind::Script);
            }
            let inside = folder.join(name);
            if main_of(&inside).is_some() {
                return Some(inside);
            }
            for main in [SCRIPT, COMPONENT] {
                self.report.inputs.file_to_read(&inside.join(main), Kind::Script);
            }
        }
        let mut known: Vec<String> = config.plugins.keys().cloned().collect();
        known.extend(names_in(&folder));
        let label = match did_you_mean(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "not found".to_owned(),
        };
        let shown = folder.display();
        self.error(at, format!("there is no plugin `{name}`"), label).help(format!(
            "it is {shown}/{name}.lua, {shown}/{name}.wasm, {shown}/{name}/{SCRIPT} or {shown}/{name}/{COMPONENT}, or has a \
             `path` in [plugins.{name}]"
        ));
        None
    }

    fn policy(&mut self, raw: &raw::Plugin, config: &raw::Config, at: &At) -> Policy {
        let grants = self.grants(&raw.grants, config, &at.key("grants"));
        let at = at.key("limits");
        let limits = &raw.limits;
        let mut positive = |key: &str, time: Duration, default: Duration| {
            self.positive(time, &at.key(key));
            // So that all else can be looked at, too.
            if time.is_zero() { default } else { time }
        };
        let default = Limits::default();
        let cpu = positive("cpu", limits.cpu.0, default.cpu);
        let slice = positive("slice", limits.slice.0, default.slice);
        let stall = positive("stall", limits.stall.0, default.stall);
        let deadline = positive("deadline", limits.deadline.0, default.deadline);
        let mut memory = usize::try_from(limits.memory.0.0).unwrap_or(usize::MAX);
        if memory < LEAST_MEMORY {
            self.error(&at.key("memory"), "a plugin needs more memory than this", "")
                .help("at least \"1MiB\"");
            memory = default.memory;
        }
        let body = self.size(limits.body, 0, 64 << 20, &at.key("body")) as usize;
        Policy {
            limits: Limits {
                cpu,
                slice,
                stall,
                deadline,
                memory,
                body,
                waiting: limits.waiting.max(1) as usize,
                instances: limits.instances.max(1) as usize,
            },
            on_failure: match raw.on_failure {
                raw::OnFailure::Closed => OnFailure::Closed,
                raw::OnFailure::Open => OnFailure::Open,
            },
            grants,
            secrets: weir_plugin::Secrets::default(),
            isolation: match raw.isolation {
                raw::Isolation::None => Isolation::None,
                raw::Isolation::Exchange => Isolation::Exchange,
            },
        }
    }

    fn grants(&mut self, raw: &raw::PluginGrants, config: &raw::Config, at: &At) -> Grants {
        for (i, name) in raw.upstreams.iter().enumerate() {
            if !config.upstreams.contains_key(name) {
                let known = config.upstreams.keys().map(String::as_str);
                let label = did_you_mean(name, known).map(|near| format!("did you mean \"{near}\"?"));
                let at = at.key("upstreams").index(i);
                self.error(&at, format!("there is no upstream `{name}`"), label.unwrap_or_default());
            }
        }
        let mut hosts = BTreeSet::new();
        for (i, text) in raw.hosts.iter().enumerate() {
            match origin(text) {
                Some(origin) => drop(hosts.insert(origin)),
                None => drop(
                    self.error(&at.key("hosts").index(i), format!("\"{text}\" is no server of a URL"), "")
                        .help(
                            "scheme and host, and the port if it is another: \"https://login.example.com\"",
                        ),
                ),
            }
        }
        for (i, name) in raw.groups.iter().enumerate() {
            let begin = name.strip_suffix('*').unwrap_or(name);
            let at = at.key("groups").index(i);
            if name.is_empty() {
                self.error(&at, "the name of a group has one byte or more", "")
                    .help("\"*\" stands for every group, \"room:*\" for those that begin with room:");
            } else if name.len() > LONGEST_GROUP {
                self.error(&at, format!("the name of a group has at most {LONGEST_GROUP} bytes"), "");
            } else if begin.contains('*') {
                self.error(&at, format!("in \"{name}\" there is a * before the end"), "")
                    .help("only at the end it stands for anything");
            }
        }
        for (i, name) in raw.relays.iter().enumerate() {
            let mut known = config.routes.iter().filter_map(|route| route.name.as_deref());
            if !known.clone().any(|route| route == name) {
                let label =
                    did_you_mean(name, known.by_ref()).map(|near| format!("did you mean \"{near}\"?"));
                let at = at.key("relays").index(i);
                self.error(&at, format!("there is no route `{name}`"), label.unwrap_or_default())
                    .help("a route has the name that its key `name` says");
            }
        }
        Grants {
            upstreams: raw.upstreams.iter().cloned().collect(),
            hosts,
            kv: raw.kv.iter().cloned().collect(),
            groups: raw.groups.iter().cloned().collect(),
            relays: raw.relays.iter().cloned().collect(),
        }
    }

    /// The servers that plugins may call, each a group of its own.
    pub fn granted_hosts(&mut self, config: &raw::Config, known: &[spec::Upstream]) -> Vec<spec::Upstream> {
        let mut groups: Vec<spec::Upstream> = Vec::new();
        for (name, plugin) in &config.plugins {
            let at = At::default().key("plugins").key(name).key("grants").key("hosts");
            for (i, text) in plugin.grants.hosts.iter().enumerate() {
                let Some(origin) = origin(text) else { continue };
                if known.iter().chain(&groups).any(|group| *group.name == *origin) {
                    continue;
                }
                let https = origin.strip_prefix("https://");
                let host = https.or(origin.strip_prefix("http://")).unwrap_or(&origin);
                let own = if https.is_some() { 443 } else { 80 };
                let port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
                let address = if port { host.to_owned() } else { format!("{host}:{own}") };
                match spec::EndpointAddress::parse(&address) {
                    Ok(address) => {
                        let raw = raw::Upstream {
                            endpoints: vec![raw::Endpoint::Address(Text(address))],
                            tls: raw::UpstreamTls::Switch(https.is_some()),
                            ..raw::Upstream::default()
                        };
                        groups.push(self.upstream(&origin, &raw, &at.index(i)).0);
                    }
                    Err(error) => drop(self.error(&at.index(i), error, "")),
                }
            }
        }
        groups
    }

    fn plugin_problem(&mut self, what: &plugins::What, problem: Problem, origins: &Origins<'_>) {
        let name = &what.name;
        match problem {
            Problem::Unreadable(message) => {
                let at = origins.section.map_or_else(|| origins.entry.clone(), |section| section.key("path"));
                self.error(&at, format!("plugin `{name}`: {message}"), "");
            }
            Problem::Script(faults) => {
                self.broken_plugins.push(what.path.clone());
                for fault in faults {
                    let place = self.script_place(&fault);
                    let diagnostic = Diagnostic::new(format!("plugin `{name}`: {}", fault.message));
                    self.report.push(match place {
                        Some(place) => diagnostic.place(place, ""),
                        None => diagnostic.help(format!("it is in {}", fault.path.display())),
                    });
                }
            }
            Problem::Settings(problems) => {
                for problem in problems {
                    let at = setting_at(origins, &problem.path);
                    self.error(&at, format!("plugin `{name}`: {}", problem.message), "");
                }
            }
        }
    }

    /// Where a fault is, with the script as a file of the report.
    fn script_place(&mut self, fault: &Fault) -> Option<Place> {
        let line = fault.line?;
        let name = fault.path.display().to_string();
        let file = match self.report.files.iter().position(|file| file.name == name) {
            Some(file) => file,
            None => {
                let folder = fault.path.parent().unwrap_or(Path::new("")).to_path_buf();
                self.report.files.push(File { name, folder, text: fault.text.clone() });
                self.report.files.len() - 1
            }
        };
        let text = &self.report.files.get(file)?.text;
        let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let whole = text.get(start..)?.lines().next().unwrap_or_default();
        let indent = whole.len() - whole.trim_start().len();
        Some(Place { file, span: start + indent..start + whole.len().max(indent) })
    }
}

/// Where a setting was written, as far as the way leads.
fn setting_at(origins: &Origins<'_>, path: &[String]) -> At {
    let base = match (path.first(), origins.section) {
        (Some(first), _) if origins.of_entry.contains_key(first) => origins.entry.key("settings"),
        (Some(_), Some(section)) => section.key("settings"),
        (None, _) if !origins.of_entry.is_empty() => return origins.entry.key("settings"),
        (_, Some(section)) => section.clone(),
        (_, None) => origins.entry.clone(),
    };
    path.iter().fold(base, |at, step| {
        let mut at = at;
        at.0.push(step.parse().map_or_else(|_| Step::Key(step.clone()), Step::Index));
        at
    })
}

/// Names of the plugins in a folder.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        match name.strip_suffix(".lua").or_else(|| name.strip_suffix(".wasm")) {
            Some(name) => Some(name.to_owned()),
            None => main_of(&entry.path()).map(|_| name),
        }
    };
    entries.filter_map(name).collect()
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match n.as_i64() {
            Some(n) => Value::Integer(n),
            None => Value::Number(n.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(list) => Value::List(list.iter().map(value).collect()),
        Json::Object(map) => Value::Table(map.iter().map(|(k, v)| (k.clone(), value(v))).collect()),
    }
}
