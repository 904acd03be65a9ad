//! Sockets and streams.

pub mod deadline;
pub mod stream;

pub use deadline::Deadline;
pub use stream::{Rewind, Socket, Stream};
