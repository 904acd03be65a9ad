//! What every kind of load needs: the proxy's addresses, connections to it, and whether an answer is right.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use http::HeaderMap;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::certificates::{Known, NAME};
use crate::count::{Kind, Sockets, Tally};

/// How long anything may take before it counts as failed. Long: a busy machine is not to blame the proxy for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The response header whose value a configuration sets.
pub(crate) const CONFIG: &str = "x-config";
/// The response header whose value a script sets.
pub(crate) const SCRIPT: &str = "x-script";
/// How the values of broken changes begin, which are never to be seen.
pub(crate) const BROKEN: &str = "broken-";

/// A connection, plain or TLS.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A listener of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// Plain.
    Web,
    /// TLS with HTTP/1.1.
    Tls,
    /// TLS with HTTP/2.
    Tls2,
    /// Plain, and now and then at another port.
    Side,
}

/// What all tasks of a soak share.
#[derive(Debug)]
pub(crate) struct Soak {
    web: SocketAddr,
    tls: SocketAddr,
    /// Where the listener that moves is, and where it was.
    side: Mutex<[SocketAddr; 2]>,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
    fresh: Arc<ClientConfig>,
    /// The certificates that may be served.
    pub(crate) known: Arc<Known>,
    tallies: [Tally; Kind::ALL.len()],
    /// What became of WebSockets.
    pub(crate) sockets: Sockets,
    /// The newest values of both headers that were seen to be served.
    pub(crate) serving: [AtomicU64; 2],
    /// Answers with the value of a broken change.
    applied: AtomicU64,
    stop: watch::Sender<bool>,
}

impl Soak {
    /// A soak of what listens there.
    pub(crate) fn new(web: SocketAddr, tls: SocketAddr, side: SocketAddr) -> Result<Arc<Self>> {
        let known = Known::new();
        Ok(Arc::new(Soak {
            web,
            tls,
            side: Mutex::new([side, side]),
            http1: known.client("http/1.1", true)?,
            http2: known.client("h2", true)?,
            fresh: known.client("http/1.1", false)?,
            known,
            tallies: Default::default(),
            sockets: Sockets::default(),
            serving: Default::default(),
            applied: AtomicU64::new(0),
            stop: watch::channel(false).0,
        }))
    }

    /// Requests of this kind.
    pub(crate) fn tally(&self, kind: Kind) -> &Tally {
        &self.tallies[kind as usize]
    }

    /// Asks all load to end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Whether the load is to end.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the load is to end. Cancel safe.
    pub(crate) async fn stopped(&self) {
        // The sender is in here as well.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Sleeps, but not past the stop.
    pub(crate) async fn pause(&self, time: Duration) {
        let _ = tokio::time::timeout(time, self.stopped()).await;
    }

    /// The moving listener is somewhere else.
    pub(crate) fn move_side(&self, address: SocketAddr) {
        let mut side = self.side.lock().unwrap_or_else(PoisonError::into_inner);
        *side = [address, side[0]];
    }

    /// Connects to a listener.
    pub(crate) async fn connect(&self, door: Door) -> io::Result<Box<dyn Stream>> {
        within("connecting", async {
            let stream: Box<dyn Stream> = match door {
                Door::Web => Box::new(tcp(self.web).await?),
                Door::Tls => Box::new(self.handshake(&self.http1).await?),
                Door::Tls2 => Box::new(self.handshake(&self.http2).await?),
                Door::Side => Box::new(self.connect_side().await?),
            };
            Ok(stream)
        })
        .await
    }

    /// A fresh TLS connection that resumes nothing.
    pub(crate) async fn connect_fresh(&self) -> io::Result<TlsStream<TcpStream>> {
        within("connecting", self.handshake(&self.fresh)).await
    }

    async fn handshake(&self, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        TlsConnector::from(config.clone()).connect(name, tcp(self.tls).await?).await
    }

    /// While the listener moves one of its two addresses accepts: never none, but which one changes meanwhile.
    async fn connect_side(&self) -> io::Result<TcpStream> {
        let mut tries = 0..3;
        loop {
            let [is, was] = *self.side.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(stream) = tcp(is).await {
                return Ok(stream);
            }
            match tcp(was).await {
                Err(_) if tries.next().is_some() => {}
                connected => return connected,
            }
        }
    }

    /// Whether the head of an answer is as it must be, and whether it is by what served before `since`.
    ///
    /// # Errors
    /// When a header is missing, or of a change that was broken.
    pub(crate) fn check(&self, headers: &HeaderMap, since: [u64; 2]) -> Result<bool, String> {
        let mut stale = false;
        for (name, since) in [CONFIG, SCRIPT].into_iter().zip(since) {
            let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if value.starts_with(BROKEN) {
                self.applied.fetch_add(1, Relaxed);
                return Err(format!("a broken change was applied: {name}: {value}"));
            }
            let value: u64 = value.parse().map_err(|_| format!("{name}: `{value}` is not a number"))?;
            stale |= value < since;
        }
        Ok(stale)
    }

    /// Answers and handshakes so far that came of a broken change.
    pub(crate) fn of_broken(&self) -> u64 {
        self.applied.load(Relaxed) + self.known.strangers()
    }

    /// What serves now, for [`check`](Self::check).
    pub(crate) fn since(&self) -> [u64; 2] {
        [self.serving[0].load(Relaxed), self.serving[1].load(Relaxed)]
    }
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Ends with an error when something takes longer than [`PATIENCE`].
pub(crate) async fn within<T>(what: &str, doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = || Err(io::Error::new(io::ErrorKind::TimedOut, format!("{what} took over {PATIENCE:?}")));
    tokio::time::timeout(PATIENCE, doing).await.unwrap_or_else(|_| late())
}

/// As many open files as the system lets a process have; each WebSocket needs two, in the soak and in the proxy.
pub(crate) fn raise_open_files(websockets: usize) -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("the limit of open files cannot be raised")?;
    let needed = 2 * websockets as u64 + 500;
    match limit.maximum {
        Some(most) if most < needed => {
            anyhow::bail!("{websockets} WebSockets need {needed} open files, `ulimit -Hn` allows {most}")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rustls::ServerConfig;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::certificates::Pair;

    #[test]
    fn an_answer_of_a_broken_change_is_seen() {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let soak = Soak::new(nowhere, nowhere, nowhere).unwrap();
        let check = |config, script| {
            let mut headers = HeaderMap::new();
            headers.insert(CONFIG, HeaderValue::from_static(config));
            headers.insert(SCRIPT, HeaderValue::from_static(script));
            soak.check(&headers, [5, 6])
        };
        assert_eq!((check("5", "6"), check("4", "6"), check("9", "5")), (Ok(false), Ok(true), Ok(true)));
        assert!(check("x", "6").is_err() && soak.of_broken() == 0);
        assert!(check("5", "broken-10").is_err() && check("broken-20", "6").is_err());
        assert_eq!(soak.of_broken(), 2);
        assert!(soak.check(&HeaderMap::new(), [0, 0]).is_err(), "headers are missing");
    }

    #[tokio::test]
    async fn a_certificate_that_must_not_be_served_is_seen() {
        let pair = Pair::new().unwrap();
        let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let server = server.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let acceptor = TlsAcceptor::from(Arc::new(server));
            while let Ok((stream, _)) = listener.accept().await {
                let _ = acceptor.accept(stream).await;
            }
        });
        let soak = Soak::new(address, address, address).unwrap();
        assert!(soak.connect_fresh().await.is_err());
        assert_eq!(soak.of_broken(), 1);
        soak.known.allow(pair.fingerprint);
        soak.connect_fresh().await.expect("this one may be served");
        assert_eq!(soak.of_broken(), 1);
    }
}
