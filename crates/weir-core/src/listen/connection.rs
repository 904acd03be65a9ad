//! An accepted socket on its way to what serves it: PROXY header, TLS, plugins of the listener, then HTTP or layer 4.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use weir_plugin::{Connection, Plugin};

use super::accept::Accepted;
use super::limits::Hold;
use super::proxy_protocol::{self, Origin};
use super::{CompiledListener, layer4, on_connect};
use crate::exchange;
use crate::net::{Deadline, Rewind, Stream};
use crate::spec::Serve;
use crate::worker::Worker;

/// Serves an accepted connection until it ends, or a relay goes on with it. `plugins` are asked first.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Arc<CompiledListener>,
    plugins: Option<Arc<[Arc<dyn Plugin>]>>,
    accepted: Accepted,
    hold: Rc<Hold>,
    id: u64,
) {
    let (name, peer) = (listener.spec.name.clone(), accepted.peer.clone());
    let (mut stream, connection) = match open(&listener, accepted, &hold, id).await {
        Ok(opened) => opened,
        Err(why) => {
            tracing::debug!(listener = %name, %peer, %why, "connection closed before its first request");
            return;
        }
    };
    let connection = Rc::new(connection);
    let census = hold.census().clone();
    if let Some(plugins) = plugins {
        // Boxed, so that no room is taken for it where there are none, or when they have been asked.
        let (serve, stage) = (listener.spec.serve, census.follow_stage());
        let asked = on_connect::ask(&worker, plugins, &connection, stream, serve, stage);
        stream = match Box::pin(asked).await {
            Ok(stream) => stream,
            Err(why) => {
                let Connection { listener, peer, .. } = &*connection;
                tracing::debug!(connection = id, %listener, %peer, %why, "connection closed before its first request");
                return;
            }
        };
    }
    // What comes next may leave the connection to a task of its own, which has a hold then.
    drop(hold);
    match listener.spec.serve {
        Serve::Http => exchange::serve(worker, census, listener, stream, connection).await,
        // Boxed, so that connections that are served otherwise have no room taken for it.
        Serve::Tcp => Box::pin(layer4::serve(worker, &census, listener, stream, connection)).await,
    }
}

/// All that comes before the first byte of what is served, in one bound of time.
async fn open(
    listener: &CompiledListener,
    accepted: Accepted,
    hold: &Hold,
    id: u64,
) -> Result<(Rewind<Stream>, Connection), Refusal> {
    let Accepted { mut socket, mut peer, mut local } = accepted;
    let mut deadline = Deadline::default();
    deadline.set(listener.spec.handshake_timeout);
    let mut first = Bytes::new();
    let proxied = listener.spec.proxy_protocol.as_ref();
    if proxied.is_some_and(|spec| proxy_protocol::is_trusted(spec, &peer)) {
        let header = proxy_protocol::read(&mut socket);
        let (origin, rest) = deadline.run(header).await.map_err(|_| Refusal::Late)??;
        first = rest;
        if let Origin::Forwarded { source, destination } = origin {
            (peer, local) = (source, destination);
        }
    }
    hold.count_client(&listener.spec, peer.ip()).map_err(|_| Refusal::TooMany)?;
    let (stream, tls) = match &listener.tls {
        None => (Rewind::new(first, Stream::Plain(socket)), None),
        Some(acceptor) => {
            let handshake = acceptor.accept(Rewind::new(first, socket));
            let (stream, tls) = deadline.run(handshake).await.map_err(|_| Refusal::Late)??;
            (Rewind::new(Bytes::new(), stream), Some(Arc::new(tls)))
        }
    };
    Ok((stream, Connection { id, listener: listener.spec.name.clone(), peer, local, tls }))
}

/// Why a connection was closed before anything was served on it.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the client has too many connections")]
    TooMany,
    #[error("the handshake took too long")]
    Late,
    #[error("{0}")]
    Proxy(#[from] proxy_protocol::Failure),
    #[error("the handshake failed: {0}")]
    Handshake(#[from] crate::tls::HandshakeError),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that an async function makes.
    fn size<A, B, C, D, E, F, G>(_: impl FnOnce(A, B, C, D, E, F) -> G) -> usize {
        size_of::<G>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        let size = size(serve);
        assert!(size <= 1280, "the task of a connection takes {size} bytes");
    }
}
