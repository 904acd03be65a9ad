//! Lines in weir's log, each with the plugin's name and the request's id.

use crate::sys::log;

/// A line for who works on the plugin.
pub fn debug(message: impl AsRef<str>) {
    log::debug(message.as_ref());
}

/// A line that tells what happens.
pub fn info(message: impl AsRef<str>) {
    log::info(message.as_ref());
}

/// A line for what may be wrong.
pub fn warn(message: impl AsRef<str>) {
    log::warn(message.as_ref());
}

/// A line for what is wrong.
pub fn error(message: impl AsRef<str>) {
    log::error(message.as_ref());
}
