//! Monotonic time as a number that fits an atomic.

use std::sync::OnceLock;
use std::time::Instant;

/// Milliseconds since this process first asked, plus one: never 0, which elsewhere means "never".
pub(super) fn millis() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
}
