//! Binding listeners.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::inherited::{self, Inherited};
use super::passed::Passed;
use crate::spec::{ListenAddress, Listener};

/// A bound listener.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Where it is bound; `None` for a Unix socket.
    pub(crate) address: Option<SocketAddr>,
    /// At least one a worker, listening and not blocking; of those beyond that, workers accept from several.
    pub(crate) sockets: Vec<OwnedFd>,
    /// The file of a Unix socket; removed when this is dropped.
    pub(crate) file: Option<SocketFile>,
}

/// The file of a Unix socket that was bound here, or by the process that passed it. Dropping it removes the file if it
/// is still that one.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    pub(crate) identity: (u64, u64),
    /// Another process may listen there, too: who is the last removes the file.
    shared: bool,
}

impl SocketFile {
    /// That of a socket which another process has bound, and may listen on.
    pub(crate) fn passed(path: PathBuf, identity: (u64, u64)) -> Self {
        SocketFile { path, identity, shared: true }
    }

    /// Says whether another process may listen there, too.
    pub(crate) fn share(&mut self, shared: bool) {
        self.shared = shared;
    }
}

/// Who may have the address already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    /// Nobody: another process there is an error.
    Nobody,
    /// A listener of this process, which has an address that this one is part of, or the other way round.
    Own,
}

/// Whether a place takes connections that go to an address which is bound.
pub(crate) fn overlaps(place: &ListenAddress, bound: Option<SocketAddr>) -> bool {
    let (ListenAddress::Tcp(place), Some(bound)) = (place, bound) else { return false };
    let (a, b) = (place.ip(), bound.ip());
    let meet = a == b || a.is_unspecified() || b.is_unspecified();
    place.port() == bound.port() && place.is_ipv4() == bound.is_ipv4() && meet
}

/// Binds a listener for so many workers.
///
/// # Errors
/// The kernel's.
pub(crate) fn bind(
    listener: &Listener,
    workers: usize,
    inherited: &Inherited,
    beside: Beside,
) -> io::Result<Bound> {
    let backlog = i32::try_from(listener.backlog).unwrap_or(i32::MAX);
    match &listener.address {
        ListenAddress::Tcp(address) => {
            let (address, sockets) = bind_tcp(*address, backlog, workers, beside)?;
            Ok(Bound { address: Some(address), sockets, file: None })
        }
        ListenAddress::Unix { path, mode } => {
            let (socket, file) = bind_unix(path, *mode, backlog)?;
            Ok(Bound { address: None, sockets: shared(socket.into(), workers)?, file: Some(file) })
        }
        ListenAddress::Inherited(wanted) => {
            let socket = Socket::from(inherited.socket(wanted)?);
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?.as_socket();
            if address.is_some() {
                socket.set_tcp_nodelay(true)?;
            }
            Ok(Bound { address, sockets: shared(socket.into(), workers)?, file: None })
        }
    }
}

/// One socket a worker on the same address.
///
/// The first is bound and listens before it is opened to others by `SO_REUSEPORT`: were it so from the start, a
/// second weir on the same address would silently get a share of the connections instead of `EADDRINUSE`.
fn bind_tcp(
    address: SocketAddr,
    backlog: i32,
    workers: usize,
    beside: Beside,
) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    let first = tcp_socket(address)?;
    if beside == Beside::Own {
        first.set_reuse_port(true)?;
    }
    first.bind(&address.into())?;
    first.listen(backlog)?;
    first.set_reuse_port(true)?;
    let unsupported = || io::Error::other("the kernel told no address of the bound socket");
    let address = first.local_addr()?.as_socket().ok_or_else(unsupported)?;
    let mut sockets = vec![first.into()];
    for _ in 1..workers {
        sockets.push(further(address, backlog)?);
    }
    Ok((address, sockets))
}

/// One more socket on an address that others with `SO_REUSEPORT` have.
fn further(address: SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    let socket = tcp_socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Takes the sockets that another process has passed for a listener: all of them, for each may have connections in its
/// queue. Where there are fewer than workers, further ones are bound beside them.
///
/// # Errors
/// When one of them is no listening stream socket, or the kernel's.
pub(crate) fn take_over(passed: Passed, listener: &Listener, workers: usize) -> io::Result<Bound> {
    let Passed { place, mut sockets, file, .. } = passed;
    sockets.iter().try_for_each(inherited::listens)?;
    let first = sockets.first().ok_or_else(|| io::Error::other("no socket of it was passed"))?;
    let address = local_address(first)?;
    let file = file.and_then(|identity| match place {
        ListenAddress::Unix { path, .. } => Some(SocketFile::passed(path, identity)),
        _ => None,
    });
    for socket in &sockets {
        rustix::io::ioctl_fionbio(socket, true)?;
    }
    let backlog = i32::try_from(listener.backlog).unwrap_or(i32::MAX);
    for n in 0..workers.saturating_sub(sockets.len()) {
        let own = match (&listener.address, address) {
            (ListenAddress::Tcp(_), Some(address)) => further(address, backlog).ok(),
            _ => None,
        };
        // It may be another user's, who alone may have a further one: then workers share what there is.
        let more = match (own, sockets.get(n)) {
            (Some(own), _) => own,
            (None, Some(socket)) => socket.try_clone()?,
            (None, None) => break,
        };
        sockets.push(more);
    }
    Ok(Bound { address, sockets, file })
}

/// Where a socket is bound; `None` for a Unix socket.
///
/// # Errors
/// The kernel's.
pub(crate) fn local_address(socket: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(socket).local_addr()?.as_socket())
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier process that are still in TIME_WAIT do not stand in the way.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        // So that `0.0.0.0:80` and `[::]:80` are two listeners and an IPv4 client never looks like an IPv6 one.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn bind_unix(path: &Path, mode: u32, backlog: i32) -> io::Result<(Socket, SocketFile)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // The file is made with the mode of the socket, less the umask: it is never open to more than was asked for.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode & 0o777))?;
    socket.bind(&SockAddr::unix(path)?)?;
    let made = std::fs::symlink_metadata(path)?;
    let file = SocketFile { path: path.to_owned(), identity: (made.dev(), made.ino()), shared: false };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode & 0o777))?;
    socket.listen(backlog)?;
    Ok((socket, file))
}

/// Removes a socket file that nobody listens on. Anything else in its place is left there.
fn remove_stale(path: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if !kind.is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file is there and is not a socket"));
    }
    match is_listened_on(path)? {
        true => Err(io::Error::from_raw_os_error(rustix::io::Errno::ADDRINUSE.raw_os_error())),
        false => std::fs::remove_file(path),
    }
}

/// Whether somebody listens at the file of a Unix socket.
fn is_listened_on(path: &Path) -> io::Result<bool> {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A full queue must not make this wait.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
        Err(e) => Err(e),
    }
}

/// One socket for every worker: the kernel wakes them all and the first takes the connection.
fn shared(socket: OwnedFd, workers: usize) -> io::Result<Vec<OwnedFd>> {
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(socket.try_clone()?);
    }
    sockets.push(socket);
    Ok(sockets)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours =
            std::fs::symlink_metadata(&self.path).is_ok_and(|m| (m.dev(), m.ino()) == self.identity);
        if self.shared && is_ours && is_listened_on(&self.path).unwrap_or(true) {
            return;
        }
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket file");
        }
    }
}
