//! `[reload]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the configuration is read again while weir runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Reload {
    /// Read it again when something that it was read from changes: the configuration, certificates and keys, secrets,
    /// scripts, pages. Else only when that is asked for.
    pub watch: bool,
    /// How many earlier configurations are kept, for `weir rollback`.
    #[schemars(range(max = 20))]
    pub keep: u32,
}

impl Default for Reload {
    fn default() -> Self {
        Reload { watch: true, keep: 3 }
    }
}
