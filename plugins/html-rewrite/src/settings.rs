//! The plugin's settings: as they are written, and what they mean.

use std::collections::BTreeMap;

use lol_html::Selector;
use lol_html::html_content::ContentType;
use serde::Deserialize;
use weir_guest::prelude::*;

/// `[plugins.NAME.settings]` of the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    rules: Vec<RawRule>,
    #[serde(default = "megabyte")]
    memory: usize,
}

fn megabyte() -> usize {
    1 << 20
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    select: String,
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default)]
    unset: Vec<String>,
    before: Option<String>,
    prepend: Option<String>,
    inner: Option<String>,
    append: Option<String>,
    after: Option<String>,
    #[serde(default)]
    remove: bool,
    #[serde(default)]
    text: bool,
}

/// What becomes of the elements that a selector finds.
pub struct Rule {
    /// As it is written.
    pub select: String,
    pub selector: Selector,
    /// Attributes and their values.
    pub set: Vec<(String, String)>,
    /// Attributes that are taken away.
    pub unset: Vec<String>,
    pub before: Option<String>,
    pub prepend: Option<String>,
    /// In the place of all that is in the element.
    pub inner: Option<String>,
    pub append: Option<String>,
    pub after: Option<String>,
    /// The element goes, with all that is in it.
    pub remove: bool,
    /// Whether what is put in is HTML, or text that is escaped.
    pub kind: ContentType,
}

/// What settings mean.
pub struct Plan {
    /// At least one.
    pub rules: Vec<Rule>,
    /// Bytes for each page, at least [`LEAST_MEMORY`].
    pub memory: usize,
}

/// Bytes that a page needs at least.
pub const LEAST_MEMORY: usize = 16 * 1024;

impl Settings {
    /// Checks everything. Errors say what would be right.
    pub fn resolve(self) -> Result<Plan> {
        if self.rules.is_empty() {
            return Err(Failure::new(
                "rules: there are none; as `[{ select = \"a\", set = { rel = \"nofollow\" } }]`",
            ));
        }
        if self.memory < LEAST_MEMORY {
            return Err(Failure::new(format!("memory: {} bytes; at least {LEAST_MEMORY}", self.memory)));
        }
        let rules = self.rules.into_iter().map(RawRule::resolve).collect::<Result<Vec<Rule>>>()?;
        Ok(Plan { rules, memory: self.memory })
    }
}

impl RawRule {
    fn resolve(self) -> Result<Rule> {
        let fail = |text: String| Err(Failure::new(format!("rules: `{}`: {text}", self.select)));
        let selector: Selector = match self.select.parse() {
            Ok(selector) => selector,
            Err(error) => return fail(format!("no selector that can be used here: {error}")),
        };
        let no_name = |name: &&String| {
            name.is_empty()
                || name.contains(|c: char| c.is_whitespace() || c.is_control() || "/>=\"'<".contains(c))
        };
        if let Some(name) = self.set.keys().chain(&self.unset).find(no_name) {
            return fail(format!("`{name}` is no name of an attribute"));
        }
        if let Some(name) = self.unset.iter().find(|name| self.set.contains_key(*name)) {
            return fail(format!("`{name}` is in `set` and in `unset`; one of them"));
        }
        let inside = self.inner.is_some() || self.prepend.is_some() || self.append.is_some();
        let attributes = !self.set.is_empty() || !self.unset.is_empty();
        if self.remove && (inside || attributes) {
            return fail("with `remove` there is only `before` and `after`".to_owned());
        }
        if !(self.remove || inside || attributes || self.before.is_some() || self.after.is_some()) {
            return fail(
                "it changes nothing; one of `set`, `unset`, `before`, `prepend`, `inner`, `append`, `after`, `remove`"
                    .to_owned(),
            );
        }
        Ok(Rule {
            selector,
            set: self.set.into_iter().collect(),
            unset: self.unset,
            before: self.before,
            prepend: self.prepend,
            inner: self.inner,
            append: self.append,
            after: self.after,
            remove: self.remove,
            kind: if self.text { ContentType::Text } else { ContentType::Html },
            select: self.select,
        })
    }
}
