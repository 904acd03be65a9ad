//! Regular expressions, in time that grows with the text only.

use std::sync::Arc;

use quick_cache::sync::Cache;
use regex::bytes::{Regex, RegexBuilder};
use weir_plugin::error::{Error, Result};
use weir_plugin::services;

/// Compiled patterns that are kept.
const KEPT: usize = 1000;
/// The longest text that is looked through, in bytes: more would hold the worker up.
const LONGEST: usize = 1 << 20;
/// The most that replacing may come to, in bytes.
const MOST: usize = 4 << 20;
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
        Ok(self.compiled(pattern)?.is_match(within(text, LONGEST)?))
    }

    fn find(&self, pattern: &str, text: &[u8]) -> Result<Option<Vec<Option<Vec<u8>>>>> {
        let found = self.compiled(pattern)?;
        let groups = found.captures(within(text, LONGEST)?);
        Ok(groups.map(|all| all.iter().map(|group| group.map(|m| m.as_bytes().to_vec())).collect()))
    }

    fn replace(&self, pattern: &str, text: &[u8], with: &[u8]) -> Result<Vec<u8>> {
        let pattern = self.compiled(pattern)?;
        let (text, with) = (within(text, LONGEST)?, within(with, LONGEST)?);
        let groups = with.iter().filter(|byte| **byte == b'$').count();
        let (mut out, mut from) = (Vec::new(), 0);
        for found in pattern.captures_iter(text) {
            let range = found.get_match().range();
            out.extend_from_slice(text.get(from..range.start).unwrap_or_default());
            // The most that the groups of this match can come to.
            let most = groups.saturating_mul(range.len()).saturating_add(with.len());
            if out.len().saturating_add(most) > MOST {
                return Err(Error::TooLarge(MOST as u64));
            }
            found.expand(with, &mut out);
            from = range.end;
        }
        out.extend_from_slice(text.get(from..).unwrap_or_default());
        Ok(out)
    }
}

fn within(bytes: &[u8], most: usize) -> Result<&[u8]> {
    if bytes.len() > most { Err(Error::TooLarge(most as u64)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_plugin::services::Patterns as _;

    #[test]
    fn replacing_is_bounded_whatever_comes_of_it() {
        let patterns = Patterns::default();
        assert_eq!(patterns.replace("(a)|b", b"xaby", b"<$1>"), Ok(b"x<a><>y".to_vec()));
        assert_eq!(patterns.replace("", b"ab", b"-"), Ok(b"-a-b-".to_vec()));
        let (text, with) = (vec![b'a'; 1 << 20], vec![b'b'; 1 << 10]);
        assert_eq!(patterns.replace("a", &text, &with), Err(Error::TooLarge(4 << 20)));
        assert_eq!(patterns.replace(".*", &text, &b"$0".repeat(100_000)), Err(Error::TooLarge(4 << 20)));
        assert_eq!(patterns.is_match("a", &[text, vec![0]].concat()), Err(Error::TooLarge(1 << 20)));
    }
}
