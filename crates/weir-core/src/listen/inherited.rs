//! Sockets passed in by the service manager (`sd_listen_fds(3)`).

use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// The first passed file descriptor, by the protocol.
const FIRST: RawFd = 3;

/// Which file descriptors were passed in, and their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inherited {
    names: Vec<String>,
    count: usize,
}

impl Inherited {
    /// What this process was given.
    pub(crate) fn from_env() -> Self {
        let var = |name| std::env::var(name).ok();
        let pid = std::process::id();
        Self::parse(pid, var("LISTEN_PID").as_deref(), var("LISTEN_FDS").as_deref(), var("LISTEN_FDNAMES"))
    }

    /// Nothing was given unless `LISTEN_PID` names this process: the variables may be those of a parent.
    fn parse(this: u32, pid: Option<&str>, count: Option<&str>, names: Option<String>) -> Self {
        if pid.and_then(|p| p.parse().ok()) != Some(this) {
            return Inherited::default();
        }
        let count = count.and_then(|n| n.parse().ok()).filter(|n| *n <= 4096).unwrap_or(0);
        let names = names.map(|n| n.split(':').map(str::to_owned).collect()).unwrap_or_default();
        Inherited { names, count }
    }

    /// A duplicate of the socket of this name or index. The original stays open for as long as the process runs.
    ///
    /// # Errors
    /// When there is none, or it is not a listening stream socket.
    pub(crate) fn socket(&self, wanted: &str) -> io::Result<OwnedFd> {
        let index = self.index(wanted).ok_or_else(|| {
            let message = match self.count {
                0 => "no socket was passed in (LISTEN_PID and LISTEN_FDS are not set for this process)"
                    .to_owned(),
                n => format!("{n} sockets were passed in, none of this name or index"),
            };
            io::Error::new(io::ErrorKind::NotFound, message)
        })?;
        let socket = duplicate(FIRST, index)?;
        listens(&socket)?;
        Ok(socket)
    }

    fn index(&self, wanted: &str) -> Option<RawFd> {
        let by_name = self.names.iter().position(|name| name == wanted);
        let index = by_name.or_else(|| wanted.parse().ok())?;
        let all: Range<usize> = 0..self.count;
        if all.contains(&index) { RawFd::try_from(index).ok() } else { None }
    }
}

/// Whether a socket that another process has made is what it should be.
///
/// # Errors
/// When it is not a listening stream socket.
pub(crate) fn listens(socket: &OwnedFd) -> io::Result<()> {
    let listens = rustix::net::sockopt::socket_acceptconn(socket)?;
    if !listens || rustix::net::sockopt::socket_type(socket)? != rustix::net::SocketType::STREAM {
        return Err(io::Error::other("the socket that was passed in is not a listening stream socket"));
    }
    Ok(())
}

/// Duplicates an open file descriptor, close-on-exec.
///
/// # Errors
/// When it is not open, or no more files may be.
#[allow(unsafe_code)]
fn duplicate(first: RawFd, index: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the number is not negative, and it is only used for this one call, which duplicates it. By the
    // protocol the service manager opened it before this process began and nothing else here owns or closes it;
    // were it not open after all, the kernel answers EBADF and nothing else happens.
    let passed = unsafe { BorrowedFd::borrow_raw(first + index) };
    passed.try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn parse(pid: &str, count: &str, names: Option<&str>) -> Inherited {
        Inherited::parse(7, Some(pid), Some(count), names.map(str::to_owned))
    }

    #[test]
    fn only_what_was_meant_for_this_process_is_taken() {
        assert_eq!(parse("8", "2", None), Inherited::default());
        assert_eq!(Inherited::parse(7, None, Some("2"), None), Inherited::default());
        assert_eq!(parse("7", "junk", None).count, 0);
        assert_eq!(parse("7", "2", None).count, 2);
    }

    #[test]
    fn a_socket_is_found_by_name_or_index() {
        let given = parse("7", "3", Some("http:https:1"));
        assert_eq!(given.index("http"), Some(0));
        assert_eq!(given.index("https"), Some(1));
        assert_eq!(given.index("1"), Some(2), "a name goes before an index");
        assert_eq!(given.index("0"), Some(0));
        assert_eq!(given.index("3"), None);
        assert_eq!(given.index("admin"), None);
        assert_eq!(parse("7", "1", Some("a:b")).index("b"), None, "more names than sockets");
        assert!(
            Inherited::default().socket("0").unwrap_err().to_string().contains("no socket was passed in")
        );
    }

    #[test]
    fn a_duplicate_is_the_same_socket() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let copy = duplicate(listener.as_raw_fd(), 0).unwrap();
        assert_ne!(copy.as_raw_fd(), listener.as_raw_fd());
        let copy = std::net::TcpListener::from(copy);
        assert_eq!(copy.local_addr().unwrap(), listener.local_addr().unwrap());
    }
}
