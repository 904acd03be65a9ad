//! What can be done to a relay, from its own hooks and from anywhere else.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{CloseReason, Direction, Opcode};
use crate::error::{Error, Result};

/// The longest name of a group, in bytes.
pub const LONGEST_GROUP: usize = 128;
/// The most groups that one relay is in.
pub const MOST_GROUPS: usize = 64;

/// The id of a relay, as plugins have it.
///
/// # Errors
/// [`Error::Invalid`].
pub fn relay_id(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::invalid(format!("\"{text}\" is no id of a relay")))
}

/// A live relay, on whatever worker it runs. What is asked of it happens soon, in the order in which it was asked.
pub trait Relay: Send + Sync + Debug {
    /// The id of its exchange: unique in this process.
    fn id(&self) -> u64;

    /// The name of its route.
    fn route(&self) -> Arc<str>;

    /// Sends a message of its own to one side, between two messages of the other side. Data was checked by
    /// [`Opcode::check`].
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] where more waits for that side already than `queue` of the route allows;
    /// [`crate::Error::Failed`] where it has ended, and where its frames pass unread.
    fn send(&self, to: Direction, opcode: Opcode, data: Bytes) -> Result<()>;

    /// Ends it, on both sides, after what was sent before.
    ///
    /// # Errors
    /// As [`Relay::send`].
    fn close(&self, close: CloseReason) -> Result<()>;

    /// Puts it into a group, whose name was checked by [`super::Access`]. It leaves all groups when it ends.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] for more than [`MOST_GROUPS`].
    fn join(&self, group: &str) -> Result<()>;

    /// Takes it out of a group. Whether it was in.
    fn leave(&self, group: &str) -> bool;

    /// Sets bounds of this relay in the place of those of its route; of two `max_age` the smaller counts.
    fn limit(&self, limits: RelayLimits);
}

/// Bounds of one relay; `None` leaves what the route says. A time of zero is no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayLimits {
    /// The most bytes of a message, without compression.
    pub max_message: Option<u64>,
    /// It ends where no message passes for so long.
    pub idle_timeout: Option<Duration>,
    /// It ends so long after it was opened, and no later than its route says: the smaller of both counts, of which
    /// zero is none.
    pub max_age: Option<Duration>,
    /// A ping goes to the client where it was silent for so long.
    pub ping_interval: Option<Duration>,
}

impl RelayLimits {
    /// Whether there can be such bounds.
    ///
    /// # Errors
    /// [`Error::Invalid`] where no message has room.
    pub fn check(&self) -> Result<()> {
        match self.max_message {
            Some(0) => Err(Error::invalid("`max_message` is at least one byte")),
            _ => Ok(()),
        }
    }
}
