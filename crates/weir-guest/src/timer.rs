//! Timers of this instance: they are gone with it, for example when the plugin is reloaded.

use std::time::Duration;

use crate::Error;
use crate::sys::timer;

/// Has [`OnTimer::on_timer`](crate::OnTimer::on_timer) called with this name after this time; a timer of this name that was
/// set before is moved. At most 1000 timers, with names of at most 128 bytes. Errors: `Invalid` for the time, `TooLarge`,
/// `Denied` for a plugin without [`OnTimer`](crate::OnTimer).
pub fn set(name: &str, after: Duration) -> Result<(), Error> {
    timer::set(name, after.as_secs_f64())
}

/// Takes a timer away. Whether it was set.
pub fn cancel(name: &str) -> bool {
    timer::cancel(name)
}
