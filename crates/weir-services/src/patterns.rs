//! Regular expressions, in time that grows with the text only.

use std::sync::Arc;

use quick_cache::sync::Cache;
use regex::bytes::{Regex, RegexBuilder};
use weir_plugin::error::{Error, Result};
use weir_plugin::services;

/// Compiled patterns that are kept.
const KEPT: usize = 1000;
/// The largest that a compiled pattern may be, in bytes.
const LARGEST: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Patterns(Cache<String, Arc<Regex>>);

impl Default for Patterns {
    fn default() -> Self {
        Patterns(Cache::new(KEPT))
    }
}

impl Patterns {
    fn compiled(&self, pattern: &str) -> Result<Arc<Regex>> {
        self.0.get_or_insert_with(pattern, || {
            let compiled = RegexBuilder::new(pattern).size_limit(LARGEST).build();
            compiled.map(Arc::new).map_err(|e| Error::invalid(format!("this is no regular expression: {e}")))
        })
    }
}

impl services::Patterns for Patterns {
    fn is_match(&self, pattern: &str, text: &[u8]) -> Result<bool> {
        Ok(self.compiled(pattern)?.is_match(text))
    }

    fn find(&self, pattern: &str, text: &[u8]) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        let found = self.compiled(pattern)?;
        let groups = found.captures(text);
        Ok(groups.map(|all| all.iter().map(|group| group.map(|m| m.as_bytes().to_vec())).collect()))
    }

    fn replace(&self, pattern: &str, text: &[u8], with: &[u8]) -> Result<Vec<u8>> {
        Ok(self.compiled(pattern)?.replace_all(text, with).into_owned())
    }
}
