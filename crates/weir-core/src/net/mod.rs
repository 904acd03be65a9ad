//! Sockets and streams.

pub mod deadline;
mod executor;
pub mod stream;

pub use deadline::Deadline;
pub(crate) use executor::LocalExecutor;
pub use stream::{Rewind, Socket, Stream};
