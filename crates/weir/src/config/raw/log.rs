//! `[access_log]` and `[log]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Bytes, kib};

/// One line for each request and connection that has ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// A file, "-" for standard output, "stderr", or "off".
    pub path: String,
    /// "json", "combined", or a line of text with placeholders.
    pub format: String,
    /// Bytes that may wait to be written; what does not fit is dropped and counted.
    pub buffer: Bytes,
}

impl Default for AccessLog {
    fn default() -> Self {
        AccessLog { path: "-".into(), format: "json".into(), buffer: kib(4096) }
    }
}

/// What weir writes about itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// "error", "warn", "info", "debug", "trace", or by module: "info,weir_core::tls=debug". `RUST_LOG` overrides it.
    pub level: String,
    /// "text" or "json".
    pub format: LogFormat,
    /// A file, "stderr", or "-" for standard output.
    pub path: String,
    /// Bytes that may wait to be written; what does not fit is dropped and counted.
    pub buffer: Bytes,
}

impl Default for Log {
    fn default() -> Self {
        Log { level: "info".into(), format: LogFormat::Text, path: "stderr".into(), buffer: kib(1024) }
    }
}

/// How weir's own log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}
