//! The kinds of byte streams that weir reads and writes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::Tunnel;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// TCP, `TCP_NODELAY` set.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

/// A socket some of whose bytes were read already and are given again.
#[derive(Debug)]
pub struct Rewind<S = Socket> {
    prefix: Bytes,
    inner: S,
}

/// A byte stream to a client or an upstream: plain, in TLS, or on a connection of HTTP/2.
#[derive(Debug)]
pub enum Stream {
    /// A plain socket.
    Plain(Socket),
    /// TLS with a client.
    ServerTls(Box<tokio_rustls::server::TlsStream<Rewind>>),
    /// TLS with an upstream.
    ClientTls(Box<tokio_rustls::client::TlsStream<Socket>>),
    /// A stream of an HTTP/2 connection to either.
    Http2(Box<Tunnel>),
}

impl<S> Rewind<S> {
    /// `inner`, but `prefix` is read first.
    pub fn new(prefix: Bytes, inner: S) -> Self {
        Rewind { prefix, inner }
    }

    /// What is left of the prefix, and the stream behind it.
    pub fn into_parts(self) -> (Bytes, S) {
        (self.prefix, self.inner)
    }

    /// The stream behind the prefix.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl Stream {
    /// The socket, if no TLS is spoken on it: its bytes may be moved by the kernel.
    pub fn as_plain(&self) -> Option<&Socket> {
        match self {
            Stream::Plain(socket) => Some(socket),
            _ => None,
        }
    }

    /// The socket under it, if it has one for itself.
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Stream::Plain(socket) => Some(socket),
            Stream::ServerTls(tls) => Some(tls.get_ref().0.inner()),
            Stream::ClientTls(tls) => Some(tls.get_ref().0),
            Stream::Http2(_) => None,
        }
    }
}

impl Socket {
    /// As [`TcpStream::poll_read_ready`].
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tcp(s) => s.poll_read_ready(cx),
            Socket::Unix(s) => s.poll_read_ready(cx),
        }
    }

    /// As [`TcpStream::poll_write_ready`].
    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Socket::Tcp(s) => s.poll_write_ready(cx),
            Socket::Unix(s) => s.poll_write_ready(cx),
        }
    }

    /// As [`TcpStream::try_io`]: runs a system call on a socket that is ready; `WouldBlock` clears the readiness.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Socket::Tcp(s) => s.try_io(interest, || call(s.as_fd())),
            Socket::Unix(s) => s.try_io(interest, || call(s.as_fd())),
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(s: TcpStream) -> Self {
        Stream::Plain(Socket::Tcp(s))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(s) => Pin::new(s).poll_read(cx, buf),
            Socket::Unix(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let n = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..n]);
        self.prefix.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::ServerTls(s) => Pin::new(&mut **s).poll_read(cx, buf),
            Stream::ClientTls(s) => Pin::new(&mut **s).poll_read(cx, buf),
            Stream::Http2(s) => Pin::new(&mut **s).poll_read(cx, buf),
        }
    }
}

/// Forwards `AsyncWrite` to what `$each` makes of a variant.
macro_rules! forward_write {
    ($self:ident => $($pattern:pat => $each:expr),+) => {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
            let $self = self.get_mut();
            match $self { $($pattern => Pin::new($each).poll_write(cx, data)),+ }
        }
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            data: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let $self = self.get_mut();
            match $self { $($pattern => Pin::new($each).poll_write_vectored(cx, data)),+ }
        }
        fn is_write_vectored(&self) -> bool {
            true
        }
        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let $self = self.get_mut();
            match $self { $($pattern => Pin::new($each).poll_flush(cx)),+ }
        }
        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let $self = self.get_mut();
            match $self { $($pattern => Pin::new($each).poll_shutdown(cx)),+ }
        }
    };
}

impl AsyncWrite for Socket {
    forward_write!(this => Socket::Tcp(s) => s, Socket::Unix(s) => s);
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    forward_write!(this => Rewind { inner, .. } => inner);
}

impl AsyncWrite for Stream {
    forward_write!(this =>
        Stream::Plain(s) => s,
        Stream::ServerTls(s) => &mut **s,
        Stream::ClientTls(s) => &mut **s,
        Stream::Http2(s) => &mut **s
    );
}
