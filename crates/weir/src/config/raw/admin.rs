//! `[admin]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OrFalse, Text};
use crate::config::value::Mode;

/// What weir tells about itself while it runs, to `weir status` for example.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// The Unix socket where it is asked; false for none. Default: one for each configuration, in
    /// $XDG_RUNTIME_DIR/weir, or in /run/weir if weir runs as root. Read at the start only.
    pub socket: Option<OrFalse<String>>,
    /// Who may ask, as permissions of that file. For a socket that is named.
    pub mode: Text<Mode>,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { socket: None, mode: Text(Mode(0o600)) }
    }
}
