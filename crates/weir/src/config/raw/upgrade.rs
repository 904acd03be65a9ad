//! `[upgrade]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Time, secs};

/// How another binary takes over while weir runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upgrade {
    /// How long connections may go on in the old process; WebSockets and other relays are closed then.
    pub drain: Time,
    /// How long the new process may take until it serves, 4 minutes at the most. One that takes longer is killed.
    pub timeout: Time,
}

impl Default for Upgrade {
    fn default() -> Self {
        Upgrade { drain: secs(3600), timeout: secs(60) }
    }
}
