//! The plugin's settings: as they are written, and what they mean.

use serde::Deserialize;
use weir_guest::prelude::*;

use crate::kind::Kind;

/// `[plugins.NAME.settings]` of the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    types: Vec<Kind>,
    max_size: u64,
    max_pixels: Option<u64>,
    other: Other,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { types: Kind::PIXELS.to_vec(), max_size: 10 << 20, max_pixels: None, other: Other::Pass }
    }
}

/// What becomes of uploads that are no images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Other {
    Pass,
    Refuse,
}

/// What settings mean.
#[derive(Debug, Clone)]
pub struct Plan {
    /// At least one.
    pub types: Vec<Kind>,
    /// Bytes of an image, at least 1.
    pub max_size: u64,
    /// Width times height, at least 1; none: they are not looked at.
    pub max_pixels: Option<u64>,
    pub other: Other,
}

impl Settings {
    /// Checks everything. Errors say what would be right.
    pub fn resolve(self) -> Result<Plan> {
        let Settings { types, max_size, max_pixels, other } = self;
        if types.is_empty() {
            return Err(Failure::new("types: none would be accepted; name some, as `[\"png\", \"jpeg\"]`"));
        }
        if max_size == 0 {
            return Err(Failure::new("max_size: 0 bytes; at least 1"));
        }
        if max_pixels == Some(0) {
            return Err(Failure::new("max_pixels: 0 pixels; at least 1, or leave it out to accept any"));
        }
        Ok(Plan { types, max_size, max_pixels, other })
    }
}
