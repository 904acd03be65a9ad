//! HTTP/1.1 towards upstreams.

use std::rc::Rc;

use crate::net::Stream;

/// Where a connection goes when its response was read to the end.
pub trait Home {
    /// Takes an idle connection that can carry another request.
    fn put(&self, connection: Connection);
}

/// A connection to an upstream with no exchange on it.
pub struct Connection {
    stream: Stream,
    home: Option<Rc<dyn Home>>,
}

impl Connection {
    /// A fresh connection. Without a home it is closed after one exchange.
    pub fn new(stream: Stream, home: Option<Rc<dyn Home>>) -> Self {
        Connection { stream, home }
    }

    /// Whether the upstream has closed it or sent something unasked. Costs no system call while nothing came.
    pub fn is_stale(&mut self) -> bool {
        let _ = (&self.stream, &self.home);
        unimplemented!()
    }
}
