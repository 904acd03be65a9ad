//! An accepted socket on its way to what serves it: PROXY header, TLS, then HTTP or layer 4.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use weir_plugin::Connection;

use super::CompiledListener;
use super::accept::Accepted;
use super::limits::{Census, ClientHold};
use crate::exchange;
use crate::net::{Deadline, Rewind, Stream};
use crate::spec::Serve;
use crate::worker::Worker;

/// Serves an accepted connection until it ends.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Arc<CompiledListener>,
    accepted: Accepted,
    census: Arc<Census>,
    id: u64,
) {
    let (name, peer) = (listener.spec.name.clone(), accepted.peer.clone());
    let (stream, connection, _client) = match open(&listener, accepted, &census, id).await {
        Ok(opened) => opened,
        Err(why) => {
            tracing::debug!(listener = %name, %peer, %why, "connection closed before its first request");
            return;
        }
    };
    let connection = Rc::new(connection);
    match listener.spec.serve {
        Serve::Http => exchange::serve(worker, listener, stream, connection).await,
        Serve::Tcp => {}
    }
}

/// All that comes before the first byte of what is served, in one bound of time.
async fn open(
    listener: &CompiledListener,
    accepted: Accepted,
    census: &Arc<Census>,
    id: u64,
) -> Result<(Rewind<Stream>, Connection, Option<ClientHold>), Refusal> {
    let Accepted { socket, peer, local } = accepted;
    let client = census.admit_client(&listener.spec, peer.ip()).map_err(|_| Refusal::TooMany)?;
    let (stream, tls) = match &listener.tls {
        None => (Rewind::new(Bytes::new(), Stream::Plain(socket)), None),
        Some(acceptor) => {
            let handshake = acceptor.accept(Rewind::new(Bytes::new(), socket));
            let mut deadline = Deadline::default();
            let (stream, tls) = deadline
                .bound(listener.spec.handshake_timeout, handshake)
                .await
                .map_err(|_| Refusal::Late)??;
            (Rewind::new(Bytes::new(), stream), Some(Arc::new(tls)))
        }
    };
    let connection = Connection { id, listener: listener.spec.name.clone(), peer, local, tls };
    Ok((stream, connection, client))
}

/// Why a connection was closed before anything was served on it.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the client has too many connections")]
    TooMany,
    #[error("the handshake took too long")]
    Late,
    #[error("the handshake failed: {0}")]
    Handshake(#[from] crate::tls::HandshakeError),
}
