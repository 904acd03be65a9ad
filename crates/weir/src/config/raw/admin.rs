//! `[admin]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_core::spec::ListenAddress;

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
    /// An address where it is asked, too, by whoever knows the token. It speaks plain HTTP: an address that others reach
    /// belongs behind TLS. Read at the start only.
    pub address: Option<Text<ListenAddress>>,
    /// The token for that: "env:NAME" or "file:PATH", at least 16 characters.
    pub token: Option<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Admin { socket: None, mode: Text(Mode(0o600)), address: None, token: None }
    }
}
