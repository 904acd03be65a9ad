//! One request and its response.

use std::rc::Rc;
use std::sync::Arc;

use weir_plugin::Connection;

use crate::listen::CompiledListener;
use crate::net::{Rewind, Stream};
use crate::worker::Worker;

/// Serves HTTP on an accepted connection until it ends: HTTP/2 where ALPN says so or the client opens with its
/// preface, else HTTP/1.1.
pub async fn serve(
    _worker: Rc<Worker>,
    _listener: Arc<CompiledListener>,
    _stream: Rewind<Stream>,
    _connection: Rc<Connection>,
) {
    unimplemented!()
}
