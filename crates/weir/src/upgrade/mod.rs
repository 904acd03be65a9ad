//! Another binary while weir runs. The process that serves starts the program that is now where it was itself started
//! from, passes it every listening socket, and waits until it says that it serves; then it lets go of what is under way.
//! Whatever goes wrong before that changes nothing: the new process is killed, the old one serves on.
//!
//! In reading order: `program` (what is started), `wire` (what the two say to each other), `successor` (the old
//! process' side), `predecessor` (the new one's).

mod predecessor;
mod program;
mod successor;
mod wire;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use weir_core::server::Passed;

pub use predecessor::Predecessor;
pub use program::Program;
pub use successor::Successor;

/// The variable that tells a new process where it gets the sockets.
pub const VARIABLE: &str = "WEIR_UPGRADE_SOCKET";

/// How an upgrade is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How long what is under way may go on in the old process.
    pub drain: Duration,
    /// How long the new one may take until it serves.
    pub timeout: Duration,
}

/// Starts the next process.
#[derive(Clone, Debug)]
pub struct Upgrader {
    /// What is started.
    pub program: Program,
    /// Folders where the two may meet, the best first. What is made there is for this user only.
    pub folders: Vec<PathBuf>,
}

impl Upgrader {
    /// Starts the next process and passes it these sockets. When it returns, it serves beside this one, and waits for
    /// [`Successor::go`]; dropped before that, it is killed.
    ///
    /// Cancel safety: dropped before its end, the process is killed and nothing was changed.
    ///
    /// # Errors
    /// What went wrong, in lines. The process is gone then.
    pub async fn begin(&self, passed: Vec<Passed>, timeout: Duration) -> Result<Successor, Vec<String>> {
        successor::begin(self, passed, timeout).await
    }
}
