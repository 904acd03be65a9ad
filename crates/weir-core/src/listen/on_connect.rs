//! The hook `on_connect`: plugins that see a connection before anything is read of what the client asks.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use weir_plugin::{ConnectVerdict, Connection, OnFailure, Plugin, PluginError};

use crate::exchange::bounded;
use crate::net::{Rewind, Stream};
use crate::spec::Serve;
use crate::worker::{Stage, Worker};

/// What is read of a client while plugins wait, in bytes, to see whether it leaves: as much as most first requests
/// have. A client that sends more is not looked at any longer.
const AHEAD: usize = 16 << 10;

/// How long the end of a refused connection may take. What says so is a few bytes, for which a fresh connection has room.
const CLOSE: Duration = Duration::from_secs(1);

/// Why a connection is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the plugin {0} refused it")]
    Refused(String),
    #[error("the plugin {0} failed")]
    Failed(String),
    #[error(transparent)]
    NotStarted(#[from] PluginError),
    #[error("the client left")]
    Gone,
    #[error("the listener stops")]
    Draining,
}

/// Asks plugins in order whether a connection may stay. What is not to stay is closed, and so is everything once the
/// listener's `stage` is past serving.
///
/// # Errors
/// Why it is closed.
pub(super) async fn ask(
    worker: &Worker,
    plugins: Arc<[Arc<dyn Plugin>]>,
    connection: &Rc<Connection>,
    stream: Rewind<Stream>,
    serve: Serve,
    mut stage: watch::Receiver<Stage>,
) -> Result<Rewind<Stream>, Refusal> {
    let mut client = Client::new(stream, serve);
    let decided = {
        let mut asking = pin!(decide(worker, &plugins, connection));
        let mut draining = pin!(stage.wait_for(|stage| *stage >= Stage::Draining));
        poll_fn(|cx| {
            if let Poll::Ready(decided) = asking.as_mut().poll(cx) {
                return Poll::Ready(decided);
            }
            if draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Refusal::Draining));
            }
            client.poll_gone(cx).map(|()| Err(Refusal::Gone))
        })
        .await
    };
    match decided {
        Ok(()) => Ok(Rewind::new(client.read.freeze(), client.stream)),
        Err(why) => {
            // That it cannot be told the client any more is no matter.
            let _ = tokio::time::timeout(CLOSE, client.stream.shutdown()).await;
            Err(why)
        }
    }
}

/// Asks plugins in order, up to the first that refuses.
async fn decide(
    worker: &Worker,
    plugins: &[Arc<dyn Plugin>],
    connection: &Rc<Connection>,
) -> Result<(), Refusal> {
    for plugin in plugins.iter().filter(|plugin| plugin.hooks().connect) {
        let running = match (worker.instances.get(plugin).await, plugin.policy().on_failure) {
            (Ok(running), _) => running,
            (Err(_), OnFailure::Open) => continue,
            (Err(error), OnFailure::Closed) => return Err(error.into()),
        };
        let verdict = bounded(&running, running.instance.on_connect(connection.clone())).await;
        let plugin = running.name.as_str();
        match verdict.unwrap_or_else(ConnectVerdict::Fail) {
            ConnectVerdict::Accept => {}
            ConnectVerdict::Refuse => return Err(Refusal::Refused(plugin.to_owned())),
            ConnectVerdict::Fail(message) => {
                let Connection { id, listener, peer, .. } = &**connection;
                tracing::error!(plugin, hook = "on_connect", %listener, connection = id, %peer, "{message}");
                if running.policy.on_failure == OnFailure::Closed {
                    return Err(Refusal::Failed(plugin.to_owned()));
                }
            }
        }
    }
    Ok(())
}

/// The client's side while plugins are asked.
struct Client {
    stream: Stream,
    /// Read ahead.
    read: BytesMut,
    /// Whether a client that closes its half has left: not on layer 4, where it may only want to listen.
    eof_is_gone: bool,
    /// Whether there is nothing more to look for.
    blind: bool,
}

impl Client {
    fn new(stream: Rewind<Stream>, serve: Serve) -> Self {
        let (prefix, stream) = stream.into_parts();
        Client { stream, read: BytesMut::from(&prefix[..]), eof_is_gone: serve == Serve::Http, blind: false }
    }

    /// Ready when the client has left, as far as can be told.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.blind && self.read.len() < AHEAD {
            let mut bytes = [0; 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.read.extend_from_slice(buffer.filled());
                }
                Poll::Ready(Ok(())) if self.eof_is_gone => return Poll::Ready(()),
                Poll::Ready(Ok(())) => self.blind = true,
            }
        }
        Poll::Pending
    }
}
