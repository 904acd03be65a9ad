//! How the configuration is read again.

use super::Lower;
use crate::config::document::At;
use crate::config::raw;
use crate::reload::{Allowed, Settings};

impl Lower<'_> {
    /// `[reload]`.
    pub fn reload(&mut self, raw: &raw::Reload) -> Settings {
        let at = At::default().key("reload");
        let rollback = raw.rollback.as_ref().and_then(|rollback| {
            let at = at.key("rollback");
            self.positive(rollback.within.0, &at.key("within"));
            if raw.keep == 0 {
                self.key_error(&at, "nothing is kept that a change could be taken back to", "")
                    .help("`reload.keep` is 0; 1 is enough");
            }
            let errors = rollback.errors?.0;
            Some(Allowed { errors, within: rollback.within.0, requests: u64::from(rollback.requests) })
        });
        Settings { watch: raw.watch, keep: raw.keep as usize, rollback }
    }
}
