//! The plugin's settings: as they are written, and what they mean.

use serde::Deserialize;
use serde_json::Value;
use weir_guest::prelude::*;

use crate::api::Api;

/// `[plugins.NAME.settings]` of the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    document: Value,
    #[serde(default = "enforce")]
    request: Mode,
    #[serde(default = "off")]
    response: Mode,
    #[serde(default = "refuse")]
    unknown: Unknown,
    #[serde(default = "one_mebibyte")]
    max_body: usize,
    base: Option<String>,
    #[serde(default = "yes")]
    formats: bool,
}

fn enforce() -> Mode {
    Mode::Enforce
}

fn off() -> Mode {
    Mode::Off
}

fn refuse() -> Unknown {
    Unknown::Refuse
}

fn one_mebibyte() -> usize {
    1 << 20
}

fn yes() -> bool {
    true
}

/// What becomes of a request or a response that is not as the document says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// It goes on, and is logged and counted.
    Report,
    /// It is not looked at.
    Off,
}

/// What becomes of a request for a path that the document does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    Pass,
    Refuse,
}

/// What settings mean.
pub struct Plan {
    pub api: Api,
    pub request: Mode,
    pub response: Mode,
    pub unknown: Unknown,
    /// Bytes of a body that is looked at, at least 1.
    pub max_body: usize,
}

impl Settings {
    /// Checks everything. Errors say what would be right, and of the document where, as a JSON pointer.
    pub fn resolve(self) -> Result<Plan> {
        let Settings { document, request, response, unknown, max_body, base, formats } = self;
        if request == Mode::Off && response == Mode::Off {
            return Err(Failure::new("nothing to check: `request` and `response` are both \"off\""));
        }
        if max_body == 0 {
            return Err(Failure::new("max_body: 0 bytes; at least 1"));
        }
        if let Some(base) = base.as_deref().filter(|base| !base.is_empty() && !base.starts_with('/')) {
            return Err(Failure::new(format!("base: `{base}` is no path; it begins with `/`, as `/v1`")));
        }
        let document = match document {
            Value::String(text) => json_schema::read(text.as_bytes())
                .map_err(|error| Failure::new(format!("document: no JSON: {error}")))?,
            table => table,
        };
        let api =
            Api::new(document, base, formats).map_err(|error| Failure::new(format!("document{error}")))?;
        Ok(Plan { api, request, response, unknown, max_body })
    }
}
