//! Bytes that the kernel moves from socket to socket through a pipe (splice(2)) without copying them.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;

use crate::net::Socket;

/// Asked of the kernel for each pipe: what one call can move.
const CAPACITY: usize = 1 << 20;

/// Less than this is not worth a pipe. The kernel gives two pages to a user whose pipes are too large together.
const LEAST: usize = 64 << 10;

/// Idle pipes that a worker keeps.
const KEPT: usize = 8;

/// Pipes that a worker has at once, idle ones among them. Those in use may hold their capacity in memory.
const MOST: usize = 64;

thread_local! {
    static IDLE: RefCell<Vec<(OwnedFd, OwnedFd)>> = const { RefCell::new(Vec::new()) };
    static OPEN: Cell<usize> = const { Cell::new(0) };
}

/// A pipe between two sockets. An empty one goes back to its worker when this is dropped.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Where it is read, where it is written. `None` only while it is dropped.
    ends: Option<(OwnedFd, OwnedFd)>,
    waiting: usize,
}

impl Pipe {
    /// An empty pipe. `None`: there can be no more of them; bytes can still be copied.
    pub(crate) fn take() -> Option<Self> {
        let kept = IDLE.try_with(|idle| idle.borrow_mut().pop()).ok().flatten();
        Some(Pipe { ends: Some(kept.or_else(Self::make)?), waiting: 0 })
    }

    fn make() -> Option<(OwnedFd, OwnedFd)> {
        let open = OPEN.get();
        if open >= MOST {
            return None;
        }
        let ends = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        let size = fcntl_setpipe_size(&ends.1, CAPACITY).or_else(|_| fcntl_getpipe_size(&ends.1)).ok()?;
        if size < LEAST {
            return None;
        }
        OPEN.set(open + 1);
        Some(ends)
    }

    /// Bytes in it.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Moves at most `limit` bytes from a socket into the pipe, which must be empty. 0: the socket has ended.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &Socket,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let Some((_, write)) = &self.ends else { return Poll::Ready(Ok(0)) };
        // Into a pipe that is not empty EAGAIN would not say which of the two has to be waited for.
        debug_assert_eq!(self.waiting, 0, "filled before it was drained");
        loop {
            ready!(from.poll_read_ready(cx))?;
            match from.try_io(Interest::READABLE, |socket| move_some(socket, write.as_fd(), limit)) {
                Ok(n) => {
                    self.waiting = n;
                    return Poll::Ready(Ok(n));
                }
                Err(e) if is_transient(&e) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Moves what is in the pipe to a socket; ready with how many bytes it took, at least one.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>, to: &Socket) -> Poll<io::Result<usize>> {
        let Some((read, _)) = &self.ends else { return Poll::Ready(Ok(0)) };
        loop {
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, |socket| move_some(read.as_fd(), socket, self.waiting)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(n) => {
                    self.waiting = self.waiting.saturating_sub(n);
                    return Poll::Ready(Ok(n));
                }
                Err(e) if is_transient(&e) => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }
}

/// One splice(2). The kernel takes at most what the pipe holds, whatever is asked for.
fn move_some(from: BorrowedFd<'_>, to: BorrowedFd<'_>, limit: usize) -> io::Result<usize> {
    let limit = limit.min(i32::MAX as usize);
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    #[cfg(test)]
    moved::CALLS.set(moved::CALLS.get() + 1);
    Ok(splice(from, None, to, None, limit, flags)?)
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else { return };
        let kept = self.waiting == 0
            && IDLE
                .try_with(|idle| {
                    let mut idle = idle.borrow_mut();
                    let room = idle.len() < KEPT;
                    if room {
                        idle.push(ends);
                    }
                    room
                })
                .unwrap_or(false);
        if !kept {
            let _ = OPEN.try_with(|open| open.set(open.get().saturating_sub(1)));
        }
    }
}

/// How often bytes were moved by this thread through a pipe.
#[cfg(test)]
pub(super) mod moved {
    thread_local! {
        pub(in crate::relay) static CALLS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }
}
