//! What the two processes say to each other, over a Unix socket: first a line of JSON that tells the listeners, with the
//! sockets as file descriptors beside it, from the old one; then [`Word`]s, a line each. A later weir may add to both.

use std::io::{self, BufRead, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};
use weir_core::server::Passed;
use weir_core::spec::ListenAddress;

/// The most file descriptors that go with one message, by the kernel.
const AT_ONCE: usize = 253;
/// The most sockets, and the most bytes that tell of them.
const MOST: (usize, usize) = (1 << 16, 16 << 20);
/// The longest word.
const LONGEST: u64 = 1 << 20;

/// What is passed.
#[derive(Debug, Serialize, Deserialize)]
struct Inventory {
    listeners: Vec<Listener>,
}

/// The sockets of one listener: so many of the file descriptors, in order.
#[derive(Debug, Serialize, Deserialize)]
struct Listener {
    name: String,
    place: Place,
    sockets: usize,
    file: Option<(u64, u64)>,
}

/// [`ListenAddress`] as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Tcp(SocketAddr),
    Unix { path: PathBuf, mode: u32 },
    Systemd(String),
}

/// What one tells the other after that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    /// The new one: it serves.
    Ready,
    /// The new one: it cannot, and why, in lines.
    Failed(Vec<String>),
    /// The old one: it does not accept any more, and is not asked by `weir status` any more.
    Go,
    /// The new one: it can be asked by `weir status`.
    Settled,
}

impl Word {
    /// As a line.
    pub(super) fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// From a line.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn parse(line: &str) -> io::Result<Word> {
        serde_json::from_str(line).map_err(io::Error::other)
    }

    /// The next one that comes.
    ///
    /// # Errors
    /// When none comes.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Word> {
        let mut line = String::new();
        from.take(LONGEST).read_line(&mut line)?;
        match line.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Word::parse(&line),
        }
    }
}

/// Sends sockets. Blocks for as long as the other side reads nothing, but for the timeout of the stream.
///
/// # Errors
/// When the other side is gone, or there are too many.
pub(super) fn send(mut stream: &UnixStream, passed: &[Passed]) -> io::Result<()> {
    let listeners = passed.iter().map(|passed| Listener {
        name: passed.listener.to_string(),
        place: match &passed.place {
            ListenAddress::Tcp(address) => Place::Tcp(*address),
            ListenAddress::Unix { path, mode } => Place::Unix { path: path.clone(), mode: *mode },
            ListenAddress::Inherited(name) => Place::Systemd(name.to_string()),
        },
        sockets: passed.sockets.len(),
        file: passed.file,
    });
    let mut text = serde_json::to_vec(&Inventory { listeners: listeners.collect() })?;
    text.push(b'\n');
    stream.write_all(&text)?;
    let sockets: Vec<BorrowedFd<'_>> =
        passed.iter().flat_map(|passed| &passed.sockets).map(AsFd::as_fd).collect();
    if text.len() > MOST.1 || sockets.len() > MOST.0 {
        return Err(io::Error::other("there are too many listening sockets"));
    }
    for some in sockets.chunks(AT_ONCE) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !beside.push(SendAncillaryMessage::ScmRights(some)) {
            return Err(io::Error::other("there is no room for file descriptors"));
        }
        // They go with a byte.
        sendmsg(stream, &[IoSlice::new(b"\n")], &mut beside, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives what [`send`] sends. The other side says nothing more until it is told something.
///
/// # Errors
/// When it is not whole.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Vec<Passed>> {
    let (mut text, mut sockets) = (Vec::new(), Vec::new());
    let inventory = loop {
        let whole = text.iter().position(|byte| *byte == b'\n');
        if let Some(inventory) = whole.and_then(|end| text.get(..end)) {
            let inventory: Inventory = serde_json::from_slice(inventory)?;
            let wanted: usize = inventory.listeners.iter().map(|listener| listener.sockets).sum();
            if sockets.len() == wanted {
                break inventory;
            }
            if sockets.len() > wanted || wanted > MOST.0 {
                return Err(io::Error::other("more sockets come than were announced"));
            }
        }
        if text.len() > MOST.1 {
            return Err(io::Error::other("what comes has no end"));
        }
        more(stream, &mut text, &mut sockets)?;
    };
    let mut sockets = sockets.into_iter();
    let passed = inventory.listeners.into_iter().map(|listener| Passed {
        listener: listener.name.into(),
        place: match listener.place {
            Place::Tcp(address) => ListenAddress::Tcp(address),
            Place::Unix { path, mode } => ListenAddress::Unix { path, mode },
            Place::Systemd(name) => ListenAddress::Inherited(name.into()),
        },
        sockets: sockets.by_ref().take(listener.sockets).collect(),
        file: listener.file,
    });
    Ok(passed.collect())
}

/// Reads some more bytes with the sockets that come with them.
fn more(stream: &UnixStream, text: &mut Vec<u8>, sockets: &mut Vec<OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(AT_ONCE))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 16 << 10];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = rustix::io::retry_on_intr(|| {
        recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut beside, flags)
    })?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = message {
            sockets.extend(some);
        }
    }
    if got.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    text.extend_from_slice(bytes.get(..got.bytes).unwrap_or_default());
    Ok(())
}
