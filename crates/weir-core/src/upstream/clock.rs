//! Monotonic time as a number that fits an atomic.

use crate::net::deadline::Coarse;

/// Milliseconds of the coarse clock, plus one: never 0, which elsewhere means "never".
pub(super) fn millis() -> u64 {
    Coarse::now().millis() + 1
}
