//! Buffers lent to whoever has bytes in hand; a worker keeps a few for the next.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// How much is read at once. Large, so that a flow needs few system calls; held only while bytes wait.
pub(crate) const SIZE: usize = 64 << 10;

/// Idle buffers that a worker keeps.
const KEPT: usize = 16;

thread_local! {
    static IDLE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes on their way, in a buffer that goes back to its worker when this is dropped.
pub(crate) struct Buffer {
    data: Box<[u8]>,
    start: u32,
    end: u32,
}

impl Buffer {
    /// An empty buffer.
    pub(crate) fn take() -> Self {
        let kept = IDLE.try_with(|idle| idle.borrow_mut().pop()).ok().flatten();
        Buffer { data: kept.unwrap_or_else(|| vec![0; SIZE].into()), start: 0, end: 0 }
    }

    /// What is in it.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.data.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Whether the last read filled it: more is likely to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.end as usize == self.data.len()
    }

    /// Bytes that it has room for from its first one on, with those that are in it.
    pub(crate) fn room(&self) -> usize {
        self.data.len() - self.start as usize
    }

    /// Adds bytes behind those that are in it.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.make_room((self.end - self.start) as usize + bytes.len());
        if let Some(room) = self.data.get_mut(self.end as usize..self.end as usize + bytes.len()) {
            room.copy_from_slice(bytes);
            self.end += u32::try_from(bytes.len()).unwrap_or(0);
        }
    }

    /// Makes room for `n` bytes from its first one on, with those that are in it: they move to its begin, and where that is
    /// not enough, to a larger buffer that is no worker's.
    pub(crate) fn make_room(&mut self, n: usize) {
        if self.start > 0 {
            self.data.copy_within(self.start as usize..self.end as usize, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if n > self.data.len() {
            let mut larger = vec![0; n].into_boxed_slice();
            if let (Some(to), Some(from)) =
                (larger.get_mut(..self.end as usize), self.data.get(..self.end as usize))
            {
                to.copy_from_slice(from);
            }
            give_back(std::mem::replace(&mut self.data, larger));
        }
    }

    /// Reads once, behind what is in it; there must be room. 0: the stream has ended.
    pub(crate) fn poll_fill<S>(&mut self, cx: &mut Context<'_>, from: &mut S) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        let mut room = ReadBuf::new(self.data.get_mut(self.end as usize..).unwrap_or_default());
        ready!(Pin::new(from).poll_read(cx, &mut room))?;
        let n = room.filled().len();
        self.end += u32::try_from(n).unwrap_or(0);
        Poll::Ready(Ok(n))
    }

    /// Forgets the first `n` bytes.
    pub(crate) fn advance(&mut self, n: usize) {
        self.start = self.end.min(self.start.saturating_add(u32::try_from(n).unwrap_or(u32::MAX)));
    }

    /// Reads once, over what was in it. 0: the stream has ended.
    pub(crate) fn poll_read<S>(&mut self, cx: &mut Context<'_>, from: &mut S) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + Unpin,
    {
        (self.start, self.end) = (0, 0);
        let mut room = ReadBuf::new(&mut self.data);
        ready!(Pin::new(from).poll_read(cx, &mut room))?;
        let n = room.filled().len();
        self.end = u32::try_from(n).unwrap_or(0);
        Poll::Ready(Ok(n))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.data));
    }
}

fn give_back(data: Box<[u8]>) {
    if data.len() != SIZE {
        return;
    }
    let _ = IDLE.try_with(|idle| {
        let mut idle = idle.borrow_mut();
        if idle.len() < KEPT {
            idle.push(data);
        }
    });
}

/// How many idle buffers this thread keeps.
#[cfg(test)]
pub(super) fn idle() -> usize {
    IDLE.with_borrow(Vec::len)
}
