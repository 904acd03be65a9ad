//! Finds which rules match: first literals of all rules at once, then the patterns of those whose literals occur.

use std::cell::OnceCell;

use aho_corasick::AhoCorasick;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::util::syntax;
use weir_guest::prelude::*;

use crate::normalise::{self, Views};
use crate::rules::{EVENTS, RULES};
use crate::settings::{Place, Plan};

/// A part of a request, with its name where it has one.
pub struct Value<'a> {
    pub place: Place,
    pub name: &'a str,
    pub bytes: &'a [u8],
    /// How often it may still be percent-decoded.
    pub decode: u8,
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub id: String,
    pub score: u32,
    pub place: Place,
    /// Of the parameter, field or cookie; bounded and printable.
    pub name: String,
    /// What matched, bounded and printable; none where it may be secret.
    pub excerpt: Option<String>,
}

/// Bytes of an excerpt, and of a name, in the log.
const EXCERPT: usize = 64;

/// The rules that come with the plugin; patterns are compiled when they are first needed.
pub struct Engine {
    literals: AhoCorasick,
    /// The rule of each literal, by its number.
    owner: Vec<usize>,
    regexes: Vec<OnceCell<Regex>>,
}

/// A pattern over bytes: ASCII classes, upper case like lower, linear time, at most 1 MiB compiled.
pub fn regex(pattern: &str) -> std::result::Result<Regex, Box<BuildError>> {
    let regex = Regex::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false).case_insensitive(true))
        .configure(
            Config::new().utf8_empty(false).nfa_size_limit(Some(1 << 20)).hybrid_cache_capacity(1 << 18),
        )
        .build(pattern);
    regex.map_err(Box::new)
}

impl Engine {
    /// With all rules of [`RULES`].
    pub fn new() -> Result<Engine> {
        let pairs =
            RULES.iter().enumerate().flat_map(|(at, rule)| rule.literals.iter().map(move |l| (at, *l)));
        let (owner, literals): (Vec<usize>, Vec<&str>) = pairs.unzip();
        Ok(Engine {
            literals: AhoCorasick::new(literals)?,
            owner,
            regexes: RULES.iter().map(|_| OnceCell::new()).collect(),
        })
    }

    /// Adds what matches in a value to what was found in the request before; each rule counts once.
    pub fn look(&self, plan: &Plan, path: &str, value: &Value<'_>, found: &mut Vec<Finding>) -> Result<()> {
        if plan.places & value.place.bit() == 0 {
            return Ok(());
        }
        let Views { text, sql, nul } = normalise::views(value.bytes, value.decode);
        for view in [Some(text), sql, nul].into_iter().flatten() {
            self.look_at(plan, path, value, &view, found)?;
        }
        Ok(())
    }

    fn look_at(
        &self,
        plan: &Plan,
        path: &str,
        value: &Value<'_>,
        view: &[u8],
        found: &mut Vec<Finding>,
    ) -> Result<()> {
        let mut add = |id: &str, score: u32, range: std::ops::Range<usize>| {
            let known = found.iter().any(|finding| finding.id == id);
            let allowed = plan.allow.iter().any(|allow| allow.is_for(path) && allow.covers(id, value.name));
            if !known && !allowed {
                let excerpt = (!is_secret(value)).then(|| printable(view.get(range).unwrap_or_default()));
                let name = printable(value.name.as_bytes());
                found.push(Finding { id: id.to_owned(), score, place: value.place, name, excerpt });
            }
        };
        for (at, near) in self.near(view).into_iter().enumerate() {
            let Some(rule) = RULES.get(at).filter(|rule| near && rule.places & value.place.bit() != 0) else {
                continue;
            };
            if let Some(range) = self.pattern(at)?.and_then(|regex| regex.find(view)) {
                add(rule.id, rule.score, range.range());
            }
        }
        for rule in plan.rules.iter().filter(|rule| rule.places & value.place.bit() != 0) {
            if let Some(range) = rule.regex.find(view) {
                add(&rule.id, rule.score, range.range());
            }
        }
        Ok(())
    }

    /// Of each rule, whether one of its literals occurs.
    fn near(&self, view: &[u8]) -> Vec<bool> {
        let mut near = vec![false; RULES.len()];
        for found in self.literals.find_overlapping_iter(view) {
            let owner = self.owner.get(found.pattern().as_usize());
            if let Some(near) = owner.and_then(|owner| near.get_mut(*owner)) {
                *near = true;
            }
        }
        near
    }

    fn pattern(&self, at: usize) -> Result<Option<&Regex>> {
        let (Some(cell), Some(rule)) = (self.regexes.get(at), RULES.get(at)) else { return Ok(None) };
        if cell.get().is_none() {
            // It is set once: nothing else runs meanwhile.
            let _ = cell.set(regex(&rule.pattern.replace("EVENTS", EVENTS))?);
        }
        Ok(cell.get())
    }
}

/// The sum of the rules' scores.
pub fn score(found: &[Finding]) -> u32 {
    found.iter().fold(0, |sum, finding| sum.saturating_add(finding.score))
}

/// Parts of names of what is not to be in a log.
const SECRET: [&str; 12] = [
    "auth",
    "cookie",
    "token",
    "secret",
    "passw",
    "pwd",
    "session",
    "api-key",
    "apikey",
    "api_key",
    "credential",
    "signature",
];

fn is_secret(value: &Value<'_>) -> bool {
    let name = value.name.to_ascii_lowercase();
    value.place == Place::Cookies || SECRET.iter().any(|part| name.contains(part))
}

/// At most [`EXCERPT`] bytes, on one line.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..EXCERPT).unwrap_or(bytes));
    let mut out: String = text.chars().map(|c| if c.is_control() { '.' } else { c }).collect();
    if bytes.len() > EXCERPT {
        out.push('…');
    }
    out
}
