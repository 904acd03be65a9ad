//! Time.

use std::time::Duration;

use crate::Error;
use crate::sys::time;

/// Seconds since 1970-01-01 UTC.
#[must_use]
pub fn now() -> f64 {
    time::now()
}

/// Time since some begin; never goes back.
#[must_use]
pub fn monotonic() -> Duration {
    Duration::try_from_secs_f64(time::monotonic()).unwrap_or_default()
}

/// Waits. Others on the worker go on; the hook's deadline does, too.
pub fn sleep(time: Duration) -> Result<(), Error> {
    time::sleep(time.as_secs_f64())
}
