//! The accept loop of one listener on one worker.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::spawn_local;
use weir_plugin::Peer;

use super::CompiledListener;
use super::connection;
use super::limits::{Census, Hold, Loads};
use crate::net::Socket;
use crate::snapshot::Snapshot;
use crate::spec::AcceptBalance;
use crate::worker::{Stage, Worker};

/// Connections taken in a row before others on the worker have their turn.
const BURST: usize = 32;

/// How long nothing is accepted after the kernel ran out of something.
const BACK_OFF: Duration = Duration::from_millis(50);

/// Sockets on their way to a worker; when so many wait, the worker that accepted serves for itself.
pub(crate) const HANDOVER_QUEUE: usize = 1024;

/// An accepted socket of which nothing was read yet.
#[derive(Debug)]
pub(crate) struct Accepted<S = Socket> {
    pub(crate) socket: S,
    /// The other end by the socket.
    pub(crate) peer: Peer,
    /// This end by the socket.
    pub(crate) local: Peer,
}

/// A socket that is handed to another worker, already counted as one of that worker's.
pub(crate) type Handover = (Accepted<OwnedFd>, Hold);

/// A listening socket of one worker.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) census: Arc<Census>,
    /// Where it is bound; `None` for a Unix socket.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) socket: OwnedFd,
}

/// The workers as one of them sees them.
#[derive(Clone)]
pub(crate) struct Crew {
    pub(crate) loads: Arc<Loads>,
    /// By worker.
    pub(crate) handover: Arc<[mpsc::Sender<Handover>]>,
}

/// Accepts until the listener's stage is past [`Stage::Serving`], then what is still in the queue, and closes the
/// socket.
///
/// # Errors
/// When the event loop cannot watch the socket.
pub(crate) fn listen(
    worker: Rc<Worker>,
    crew: Crew,
    listening: Listening,
) -> io::Result<impl Future<Output = ()>> {
    let Listening { census, address, socket } = listening;
    let socket = match address {
        Some(_) => Listener::Tcp(TcpListener::from_std(socket.into())?),
        None => Listener::Unix(UnixListener::from_std(socket.into())?),
    };
    Ok(Door { worker, crew, census, address, told: None }.run(socket))
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// One listener on one worker.
struct Door {
    worker: Rc<Worker>,
    crew: Crew,
    census: Arc<Census>,
    address: Option<SocketAddr>,
    /// When it was last logged that the kernel had run out of something.
    told: Option<Instant>,
}

impl Listener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Peer)>> {
        match self {
            Listener::Tcp(l) => l.poll_accept(cx).map_ok(|(s, peer)| (Socket::Tcp(s), Peer::Ip(peer))),
            Listener::Unix(l) => l.poll_accept(cx).map_ok(|(s, _)| (Socket::Unix(s), Peer::Unix)),
        }
    }

    /// What the kernel has accepted by now, one after the other, then nothing.
    fn rest(self) -> io::Result<impl FnMut() -> io::Result<(OwnedFd, Peer)>> {
        let rest: Box<dyn FnMut() -> io::Result<(OwnedFd, Peer)>> = match self {
            Listener::Tcp(l) => {
                let l = l.into_std()?;
                Box::new(move || l.accept().map(|(s, peer)| (s.into(), Peer::Ip(peer))))
            }
            Listener::Unix(l) => {
                let l = l.into_std()?;
                Box::new(move || l.accept().map(|(s, _)| (s.into(), Peer::Unix)))
            }
        };
        Ok(rest)
    }
}

impl Door {
    async fn run(mut self, listener: Listener) {
        let mut stage = self.census.follow_stage();
        loop {
            let error = tokio::select! {
                biased;
                _ = stage.wait_for(|stage| *stage > Stage::Serving) => break,
                error = poll_fn(|cx| self.poll_accept(&listener, cx)) => error,
            };
            self.tell(&error);
            tokio::select! {
                _ = stage.wait_for(|stage| *stage > Stage::Serving) => break,
                () = tokio::time::sleep(BACK_OFF) => {}
            }
        }
        if self.census.heir().is_some() {
            return;
        }
        // Closing the socket would reset the connections that the kernel has already made.
        let Ok(mut rest) = listener.rest() else { return };
        loop {
            match rest() {
                Ok((socket, peer)) => {
                    if let Ok(socket) = adopt(socket, &peer) {
                        self.place(socket, peer);
                    }
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// Takes connections as they come. Ready when the kernel has run out of something.
    fn poll_accept(&mut self, listener: &Listener, cx: &mut Context<'_>) -> Poll<io::Error> {
        for _ in 0..BURST {
            match ready!(listener.poll_accept(cx)) {
                Ok((socket, peer)) => self.place(socket, peer),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => return Poll::Ready(error),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The address that the client connected to: the kernel is only asked where the listener has no single one.
    fn local(&self, socket: &Socket) -> Peer {
        match (self.address, socket) {
            (Some(address), Socket::Tcp(s)) if address.ip().is_unspecified() => {
                Peer::Ip(s.local_addr().unwrap_or(address))
            }
            (Some(address), _) => Peer::Ip(address),
            (None, _) => Peer::Unix,
        }
    }

    /// Serves a connection here or on a less busy worker, or closes it if there are too many.
    fn place(&self, socket: Socket, peer: Peer) {
        let mut census = &self.census;
        while let Some(heir) = census.heir() {
            census = heir;
        }
        let snapshot = census.snapshot(&self.worker);
        let Some(listener) = snapshot.listeners.get(&census.listener) else { return };
        let here = self.worker.index;
        let chosen = match listener.spec.balance {
            AcceptBalance::Connections if census.stage() == Stage::Serving => self.crew.loads.lightest(here),
            _ => here,
        };
        let permit = self.crew.handover.get(chosen).filter(|_| chosen != here);
        let permit = permit.and_then(|to| to.try_reserve().ok());
        let target = if permit.is_some() { chosen } else { here };
        let Some(hold) = census.admit(listener.spec.max_connections, &self.crew.loads, target) else {
            let refused = census.refused();
            tracing::debug!(listener = %census.listener, %peer, refused, "too many connections");
            return;
        };
        let local = self.local(&socket);
        match permit {
            Some(permit) => match disown(socket) {
                Ok(socket) => permit.send((Accepted { socket, peer, local }, hold)),
                Err(error) => tracing::debug!(%error, "cannot hand a connection over"),
            },
            None => start(&self.worker, &snapshot, listener.clone(), Accepted { socket, peer, local }, hold),
        }
    }

    /// Logs at most once a second that nothing could be accepted.
    fn tell(&mut self, error: &io::Error) {
        if self.told.is_none_or(|told| told.elapsed() >= Duration::from_secs(1)) {
            self.told = Some(Instant::now());
            tracing::error!(listener = %self.census.listener, %error, "cannot accept connections, waiting");
        }
    }
}

/// Serves what other workers hand over, for as long as they live.
pub(crate) async fn receive(worker: Rc<Worker>, mut from: mpsc::Receiver<Handover>) {
    while let Some((accepted, hold)) = from.recv().await {
        let snapshot = hold.census().snapshot(&worker);
        let Some(listener) = snapshot.listeners.get(&hold.census().listener) else { continue };
        let Accepted { socket, peer, local } = accepted;
        match adopt(socket, &peer) {
            Ok(socket) => {
                start(&worker, &snapshot, listener.clone(), Accepted { socket, peer, local }, hold);
            }
            Err(error) => tracing::debug!(%error, "cannot take a connection over"),
        }
    }
}

/// Makes this thread's event loop watch a socket.
fn adopt(socket: OwnedFd, peer: &Peer) -> io::Result<Socket> {
    Ok(match peer {
        Peer::Ip(_) => {
            let socket = std::net::TcpStream::from(socket);
            socket.set_nonblocking(true)?;
            Socket::Tcp(TcpStream::from_std(socket)?)
        }
        Peer::Unix => {
            let socket = std::os::unix::net::UnixStream::from(socket);
            socket.set_nonblocking(true)?;
            Socket::Unix(UnixStream::from_std(socket)?)
        }
    })
}

/// Takes a socket out of this thread's event loop.
fn disown(socket: Socket) -> io::Result<OwnedFd> {
    Ok(match socket {
        Socket::Tcp(s) => s.into_std()?.into(),
        Socket::Unix(s) => s.into_std()?.into(),
    })
}

fn start(
    worker: &Rc<Worker>,
    snapshot: &Snapshot,
    listener: Arc<CompiledListener>,
    accepted: Accepted,
    hold: Hold,
) {
    let id = worker.next_id();
    let plugins = snapshot.connect_plugins.get(&listener.spec.name).cloned();
    let hold = Rc::new(hold);
    let open = worker.open(id, hold.clone());
    let worker = worker.clone();
    spawn_local(async move {
        let _open = open;
        connection::serve(worker, listener, plugins, accepted, hold, id).await;
    });
}

/// Whether an error of accept(2) is that of the connection which would have been accepted: the next may do.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::PERM
                | Errno::PROTO
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH
        )
    )
}
