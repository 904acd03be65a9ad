//! `weir run`: from a configuration to a running proxy, and to its end.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use weir_core::spec::Spec;

use crate::telemetry;

/// Exit code: the command line or the configuration is wrong.
pub const EXIT_CONFIG: u8 = 2;

/// What a configuration comes to: everything that `run` needs.
#[derive(Debug, Default)]
pub struct Plan {
    /// What the data plane is asked for.
    pub spec: Spec,
    /// What the logs are asked for.
    pub telemetry: telemetry::Settings,
    /// Names of upstream groups that mean the embedded demo upstream: it is started if there is any, and its
    /// address takes the place of the endpoints of these groups.
    pub demo: Vec<Arc<str>>,
    /// What the configuration was read from, as a person would name it: `config/weir.toml`.
    pub source: String,
    /// By listener name: where its address is set. Named in the error when it cannot be bound.
    pub origins: HashMap<Arc<str>, Origin>,
    /// Names of listeners whose certificate was made at start: their fingerprint is printed.
    pub self_signed: Vec<Arc<str>>,
}

/// Where something is set in the configuration.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key, for example `listeners.web.address`.
    pub key: String,
}

/// Serves until it is told to stop. The exit code says how it ended; see [`Plan`] for what it needs.
pub fn run(_plan: Plan) -> ExitCode {
    ExitCode::from(1)
}
