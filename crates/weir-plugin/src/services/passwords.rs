//! Hashes of passwords.

use std::fmt::Debug;
use std::pin::Pin;

use crate::error::Result;

/// Compares passwords with hashes of them. That takes tens of milliseconds by design.
pub trait Passwords: Debug + Send + Sync {
    /// Whether a password (at most 1024 bytes) is the one of a hash: Argon2 as a PHC string (`$argon2id$v=19$…`) or
    /// bcrypt (`$2a$`, `$2b$`, `$2y$`; of the password the first 72 bytes count). Runs beside the workers; few at
    /// once, the others wait. Dropping the future gives the wait up, not the work.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] where the hash is none, or asks for more time or memory than there may be;
    /// [`crate::Error::TooLarge`] for the password; [`crate::Error::Failed`] where too many wait.
    fn verify(&self, hash: String, password: Vec<u8>) -> Pin<Box<dyn Future<Output = Result<bool>>>>;
}
