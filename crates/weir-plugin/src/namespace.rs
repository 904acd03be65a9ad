//! Namespaces of the key-value store: each plugin has one of its own, and those that plugins share are granted.

use std::sync::Arc;

use crate::Grants;
use crate::error::{Error, Result};

/// A namespace of the key-value store that a plugin may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The one that only this plugin has.
    pub fn own(plugin: &str) -> Self {
        Namespace(format!("own:{plugin}").into())
    }

    /// One that plugins share, if it was granted. It is no plugin's own, whatever its name.
    ///
    /// # Errors
    /// [`Error::Denied`] names the configuration key that would grant it.
    pub fn shared(plugin: &str, name: &str, grants: &Grants) -> Result<Self> {
        match grants.kv.contains(name) {
            true => Ok(Namespace(format!("shared:{name}").into())),
            false => Err(Error::denied(format!(
                "the plugin was not granted the key-value namespace {name:?}: `[plugins.{plugin}.grants] kv = [{name:?}]` \
                 would grant it"
            ))),
        }
    }

    /// As the store knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_granted_can_be_had_and_nothing_else() {
        let grants = Grants { kv: ["sessions".to_owned()].into(), ..Grants::default() };
        let shared = Namespace::shared("login", "sessions", &grants).expect("it was granted");
        assert_eq!(
            Namespace::shared("other", "sessions", &grants),
            Ok(shared.clone()),
            "it is the same for all"
        );
        assert_ne!(Namespace::own("sessions"), shared, "a plugin of that name has its own");
        let error = Namespace::shared("login", "carts", &grants).expect_err("it was not").to_string();
        assert!(error.contains("[plugins.login.grants] kv = [\"carts\"]"), "{error}");
        assert!(Namespace::shared("login", "own:login", &grants).is_err());
    }
}
