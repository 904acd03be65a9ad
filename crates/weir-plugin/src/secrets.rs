//! Secrets of a plugin: read with the configuration, by name, and shown nowhere.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};

/// The secrets that a plugin may read. Another secret makes another policy, so that a plugin starts anew.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Arc<BTreeMap<String, Bytes>>);

impl Secrets {
    /// By name.
    pub fn new(secrets: BTreeMap<String, Bytes>) -> Self {
        Secrets(Arc::new(secrets))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret of this name.
    ///
    /// # Errors
    /// [`Error::Denied`] names the configuration key that would set it.
    pub fn named(&self, plugin: &str, name: &str) -> Result<&Bytes> {
        self.0.get(name).ok_or_else(|| {
            Error::denied(format!(
                "there is no secret {name:?}: `{name} = \"env:…\"` or `\"file:…\"` in [plugins.{plugin}.secrets] would set it"
            ))
        })
    }
}

/// Names only.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_had_by_name_and_not_shown() {
        let secrets = Secrets::new([("token".to_owned(), Bytes::from("hush"))].into());
        assert_eq!(secrets.named("api", "token"), Ok(&"hush".into()));
        let error = secrets.named("api", "key").expect_err("there is none").to_string();
        assert!(error.contains("[plugins.api.secrets]") && error.contains("`key = "), "{error}");
        let policy = crate::Policy { secrets: secrets.clone(), ..crate::Policy::default() };
        let shown = format!("{secrets:?} {policy:?}");
        assert!(shown.contains("token") && !shown.contains("hush"), "{shown}");
        assert_ne!(policy, crate::Policy::default());
    }
}
