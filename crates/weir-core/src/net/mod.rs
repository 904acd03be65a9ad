//! Sockets and streams.

pub mod deadline;
#[cfg(test)]
mod executor;
pub mod stream;
mod turns;

pub use deadline::Deadline;
#[cfg(test)]
pub(crate) use executor::LocalExecutor;
pub use stream::{Rewind, Socket, Stream};
pub(crate) use turns::InTurns;
