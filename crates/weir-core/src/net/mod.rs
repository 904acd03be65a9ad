//! Sockets and streams.

pub mod deadline;
#[cfg(test)]
mod executor;
pub mod stream;
pub mod tunnel;
mod turns;

pub use deadline::Deadline;
#[cfg(test)]
pub(crate) use executor::LocalExecutor;
pub use stream::{Rewind, Socket, Stream};
pub use tunnel::Tunnel;
pub(crate) use turns::InTurns;
