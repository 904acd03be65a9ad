//! The plugin's settings: as they are written, and what they mean.

use regex_automata::meta::Regex;
use serde::Deserialize;
use weir_guest::prelude::*;

use crate::engine;
use crate::rules::{self, Places, RULES};

/// `[plugins.NAME.settings]` of the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    mode: Mode,
    threshold: u32,
    status: u16,
    #[serde(rename = "where")]
    places: Vec<Place>,
    body_limit: usize,
    large: Large,
    allow: Vec<RawAllow>,
    rules: Vec<RawRule>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            mode: Mode::Block,
            threshold: 5,
            status: 403,
            places: Vec::new(),
            body_limit: 128 * 1024,
            large: Large::Pass,
            allow: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// What becomes of a request whose score is the threshold or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    Block,
    /// It goes on, and is logged and counted.
    Report,
}

/// What becomes of a body beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Large {
    /// Its begin is looked at, the rest goes on.
    Pass,
    /// It is refused.
    Refuse,
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    Path,
    Query,
    Headers,
    Cookies,
    Body,
}

impl Place {
    /// Its bit.
    pub fn bit(self) -> Places {
        match self {
            Place::Path => rules::PATH,
            Place::Query => rules::QUERY,
            Place::Headers => rules::HEADERS,
            Place::Cookies => rules::COOKIES,
            Place::Body => rules::BODY,
        }
    }

    /// As in settings, and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Place::Path => "path",
            Place::Query => "query",
            Place::Headers => "headers",
            Place::Cookies => "cookies",
            Place::Body => "body",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct RawAllow {
    rules: Vec<String>,
    paths: Vec<String>,
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    #[serde(default, rename = "where")]
    places: Vec<Place>,
    pattern: String,
    #[serde(default = "five")]
    score: u32,
}

fn five() -> u32 {
    5
}

/// What is not counted; empty lists are everything.
pub struct Allow {
    rules: Vec<String>,
    paths: Vec<String>,
    names: Vec<String>,
}

/// A rule of the settings.
pub struct OwnRule {
    pub id: String,
    pub places: Places,
    pub regex: Regex,
    pub score: u32,
}

/// What settings mean.
pub struct Plan {
    pub mode: Mode,
    /// At least 1.
    pub threshold: u32,
    /// 400 to 599.
    pub status: u16,
    pub places: Places,
    /// Bytes, at least 1.
    pub body_limit: usize,
    pub large: Large,
    pub allow: Vec<Allow>,
    pub rules: Vec<OwnRule>,
}

impl Settings {
    /// Checks everything. Errors say what would be right.
    pub fn resolve(self) -> Result<Plan> {
        if self.threshold == 0 {
            return Err(Failure::new(
                "threshold: 0 would refuse every request; at least 1, 5 is the default",
            ));
        }
        if !(400..=599).contains(&self.status) {
            return Err(Failure::new(format!("status: {} is no error; 400 to 599", self.status)));
        }
        if self.body_limit == 0 {
            return Err(Failure::new(
                "body_limit: 0 bytes; at least 1, or leave \"body\" out of `where` to look at no bodies",
            ));
        }
        let own: Vec<OwnRule> = self.rules.into_iter().map(RawRule::resolve).collect::<Result<_>>()?;
        for (at, rule) in own.iter().enumerate() {
            if own.iter().take(at).any(|other| other.id == rule.id) {
                return Err(Failure::new(format!(
                    "rules: `{}` is there twice; each has an id of its own",
                    rule.id
                )));
            }
        }
        let with_plugin = RULES.iter().map(|rule| rule.id);
        let known: Vec<&str> = with_plugin.chain(own.iter().map(|rule| rule.id.as_str())).collect();
        let allow = self.allow.into_iter().map(|allow| allow.resolve(&known)).collect::<Result<_>>()?;
        Ok(Plan {
            mode: self.mode,
            threshold: self.threshold,
            status: self.status,
            places: bits(&self.places),
            body_limit: self.body_limit,
            large: self.large,
            allow,
            rules: own,
        })
    }
}

/// None are all.
fn bits(places: &[Place]) -> Places {
    if places.is_empty() {
        rules::EVERYWHERE
    } else {
        places.iter().fold(0, |bits, place| bits | place.bit())
    }
}

impl RawRule {
    fn resolve(self) -> Result<OwnRule> {
        let RawRule { id, places, pattern, score } = self;
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        if id.is_empty() || id.len() > 64 || !id.bytes().all(plain) {
            return Err(Failure::new(format!(
                "rules: `{id}` is no id; 1 to 64 of a to z, 0 to 9, `-`, `_` and `.`"
            )));
        }
        if RULES.iter().any(|known| known.id == id) {
            return Err(Failure::new(format!("rules: `{id}` comes with the plugin; choose another id")));
        }
        if score == 0 {
            return Err(Failure::new(format!("rules: `{id}`: a score of 0 does nothing; at least 1")));
        }
        let regex = engine::regex(&pattern).map_err(|error| {
            Failure::new(format!("rules: `{id}`: the pattern is no regular expression: {error}"))
        })?;
        if regex.is_match(b"") {
            return Err(Failure::new(format!(
                "rules: `{id}`: the pattern matches nothing at all, and so every request; it must need a byte"
            )));
        }
        Ok(OwnRule { id, places: bits(&places), regex, score })
    }
}

impl RawAllow {
    fn resolve(self, known: &[&str]) -> Result<Allow> {
        let RawAllow { rules, paths, names } = self;
        if rules.is_empty() && paths.is_empty() && names.is_empty() {
            return Err(Failure::new(
                "allow: an entry needs `rules`, `paths` or `names`; without any it allows all",
            ));
        }
        for rule in &rules {
            if !known.iter().any(|id| id_matches(rule, id)) {
                return Err(Failure::new(format!(
                    "allow: there is no rule `{rule}`; an id such as `sqli-union`, or a family such as `sqli-*`"
                )));
            }
        }
        if let Some(path) = paths.iter().find(|path| !path.starts_with('/')) {
            return Err(Failure::new(format!("allow: the path `{path}` does not begin with `/`")));
        }
        Ok(Allow { rules, paths, names })
    }
}

fn id_matches(wanted: &str, id: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => id.starts_with(start),
        None => wanted == id,
    }
}

impl Allow {
    /// Whether the entry is for this path: one that it names, or one below.
    pub fn is_for(&self, path: &str) -> bool {
        self.paths.is_empty()
            || self.paths.iter().any(|allowed| {
                path.strip_prefix(allowed.trim_end_matches('/'))
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    }

    /// Whether nothing at all is looked at where the entry is for a path.
    pub fn is_whole(&self) -> bool {
        self.rules.is_empty() && self.names.is_empty()
    }

    /// Whether the rule does not count for what has this name.
    pub fn covers(&self, id: &str, name: &str) -> bool {
        (self.rules.is_empty() || self.rules.iter().any(|rule| id_matches(rule, id)))
            && (self.names.is_empty() || self.names.iter().any(|allowed| allowed == name))
    }
}
