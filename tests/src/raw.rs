//! A client and an upstream that speak bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::PATIENCE;
use crate::answer::{Answer, Wire, fields};

/// A stream of bytes to weir.
pub trait Transport: Read + Write + Send {}
impl<T: Read + Write + Send> Transport for T {}

/// A client that sends exactly what it is told.
pub struct RawClient {
    wire: Wire<Box<dyn Transport>>,
    socket: TcpStream,
}

impl RawClient {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let socket = dial(address);
        let stream = socket.try_clone().expect("a socket can be cloned");
        RawClient { wire: Wire::new(Box::new(stream)), socket }
    }

    /// Connects with TLS.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn connect_tls(address: SocketAddr, config: Arc<ClientConfig>, name: &str) -> std::io::Result<Self> {
        Self::connect_tls_behind(address, b"", config, name)
    }

    /// The same with plain bytes before the handshake.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn connect_tls_behind(
        address: SocketAddr,
        before: &[u8],
        config: Arc<ClientConfig>,
        name: &str,
    ) -> std::io::Result<Self> {
        let socket = dial(address);
        let mut stream = socket.try_clone()?;
        stream.write_all(before)?;
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        let mut session = ClientConnection::new(config, name).expect("a client configuration");
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(RawClient { wire: Wire::new(Box::new(StreamOwned::new(session, stream))), socket })
    }

    /// Sends bytes. That the other side has closed is no failure here: what it answered tells.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let stream = self.wire.inner();
        let _ = stream.write_all(bytes.as_ref()).and_then(|()| stream.flush());
        self
    }

    /// Closes the sending side.
    pub fn finish(&mut self) -> &mut Self {
        let _ = self.socket.shutdown(Shutdown::Write);
        self
    }

    /// The next response, to a request with this method; `None` if weir closed instead.
    pub fn try_answer(&mut self, method: &str) -> Option<Answer> {
        self.wire.answer(method)
    }

    /// The next response to a request with this method.
    ///
    /// # Panics
    /// When weir closes instead.
    pub fn answer(&mut self, method: &str) -> Answer {
        self.try_answer(method).expect("weir closed the connection without an answer")
    }

    /// Sends a request and returns the response.
    pub fn ask(&mut self, request: &str) -> Answer {
        self.send(request);
        let method = request.split(' ').next().unwrap_or_default().to_owned();
        self.answer(&method)
    }

    /// Waits until weir has sent this text, and takes nothing.
    pub fn wait_for(&mut self, text: &str) {
        self.wire.wait_for(text);
    }

    /// What has not been read as a response until weir closes.
    pub fn rest(&mut self) -> Vec<u8> {
        self.wire.take_all()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.wire
            .take(count)
            .unwrap_or_else(|rest| panic!("closed after {:?}", String::from_utf8_lossy(&rest)))
    }

    /// The bytes up to and including `end`.
    pub fn take_until(&mut self, end: &str) -> String {
        let taken = self.wire.take_until(end.as_bytes());
        let taken = taken.unwrap_or_else(|rest| panic!("closed after {:?}", String::from_utf8_lossy(&rest)));
        String::from_utf8_lossy(&taken).into_owned()
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

fn dial(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
    socket.set_nodelay(true).expect("a socket option");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    socket.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    socket
}

/// An upstream that records every byte and answers what a script says.
pub struct RawUpstream {
    address: SocketAddr,
    record: Arc<Record>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Record {
    connections: Mutex<Vec<Received>>,
    changed: Condvar,
}

/// What one connection to a [`RawUpstream`] brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Every byte read so far.
    pub bytes: Vec<u8>,
    /// Whether its script has ended (and the connection is closed).
    pub ended: bool,
}

/// A connection in the hands of a script.
pub struct Served {
    wire: Wire<Recorder>,
}

struct Recorder {
    socket: TcpStream,
    record: Arc<Record>,
    index: usize,
}

impl Read for Recorder {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.socket.read(buffer)?;
        self.record.lock()[self.index].bytes.extend_from_slice(&buffer[..n]);
        self.record.changed.notify_all();
        Ok(n)
    }
}

impl RawUpstream {
    /// Listens, and runs the script on each connection (numbered from 0) on a thread of its own.
    pub fn start(script: impl Fn(usize, &mut Served) + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 can be bound"), script)
    }

    /// The same on a socket that is listening already.
    pub fn start_on(
        listener: TcpListener,
        script: impl Fn(usize, &mut Served) + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a bound socket has an address");
        let record = Arc::new(Record::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let acceptor = std::thread::spawn({
            let (record, stopping) = (record.clone(), stopping.clone());
            move || accept(&listener, &record, &stopping, &Arc::new(script))
        });
        RawUpstream { address, record, stopping, acceptor: Some(acceptor) }
    }

    /// An upstream that answers every well-formed request with `200`, `content-length: 2` and `ok`, until weir closes.
    pub fn polite() -> Self {
        Self::start(|_, served| {
            while served.request().is_some() {
                served.send(OK);
            }
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What each connection brought so far.
    pub fn received(&self) -> Vec<Received> {
        self.record.lock().clone()
    }

    /// Waits until `wanted` is true of what the connections brought.
    pub fn wait(&self, what: &str, wanted: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let deadline = Instant::now() + PATIENCE;
        let mut connections = self.record.lock();
        loop {
            if wanted(&connections) {
                return connections.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the upstream never saw {what}, but {connections:?}");
            connections =
                self.record.changed.wait_timeout(connections, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until a connection brought this text.
    pub fn wait_for(&self, text: &str) {
        self.wait(text, |connections| {
            connections.iter().any(|c| c.bytes.windows(text.len()).any(|window| window == text.as_bytes()))
        });
    }

    /// The head of the request with this target, waited for if need be.
    pub fn head_of(&self, target: &str) -> String {
        let line = format!(" {target} HTTP/1.1\r\n");
        self.wait_for(&line);
        for connection in self.received() {
            let text = String::from_utf8_lossy(&connection.bytes).into_owned();
            if let Some(at) = text.find(&line) {
                let from = text[..at].rfind('\n').map_or(0, |end| end + 1);
                let head = &text[from..];
                return head.split_inclusive("\r\n\r\n").next().unwrap_or(head).to_owned();
            }
        }
        unreachable!("it has come")
    }

    /// Waits until every connection has ended, then returns what each brought. Call it when weir has stopped or
    /// closed them.
    pub fn ended(&self) -> Vec<Vec<u8>> {
        let connections = self.wait("the end of its connections", |all| all.iter().all(|c| c.ended));
        connections.into_iter().map(|c| c.bytes).collect()
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// The shortest whole response with a body.
pub const OK: &str = "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 2\r\n\r\nok";

type Script = dyn Fn(usize, &mut Served) + Send + Sync;

fn accept(
    listener: &TcpListener,
    record: &Arc<Record>,
    stopping: &AtomicBool,
    script: &Arc<impl Fn(usize, &mut Served) + Send + Sync + 'static>,
) {
    while let Ok((socket, _)) = listener.accept() {
        if stopping.load(Ordering::SeqCst) {
            return;
        }
        let _ = socket.set_nodelay(true);
        let _ = socket.set_read_timeout(Some(4 * PATIENCE));
        let index = {
            let mut connections = record.lock();
            connections.push(Received::default());
            connections.len() - 1
        };
        record.changed.notify_all();
        let recorder = Recorder { socket, record: record.clone(), index };
        let script: Arc<Script> = script.clone();
        std::thread::spawn(move || {
            let record = recorder.record.clone();
            let mut served = Served { wire: Wire::new(recorder) };
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| script(index, &mut served)));
            drop(served);
            record.lock()[index].ended = true;
            record.changed.notify_all();
            drop(outcome);
        });
    }
}

impl Record {
    fn lock(&self) -> MutexGuard<'_, Vec<Received>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    /// Reads a request head; `None` if weir closes before it is whole.
    pub fn head(&mut self) -> Option<String> {
        self.wire.take_until(b"\r\n\r\n").ok().map(|head| String::from_utf8_lossy(&head).into_owned())
    }

    /// Reads a request with its body, framed by `content-length` or chunks; `None` if weir closes before its end.
    pub fn request(&mut self) -> Option<String> {
        let mut text = self.head()?;
        let find = |name: &str| {
            fields(&text)
                .find(|(field, _)| field.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.to_owned())
        };
        let (length, coding) = (find("content-length"), find("transfer-encoding"));
        if coding.is_some() {
            loop {
                let line = String::from_utf8_lossy(&self.wire.take_until(b"\r\n").ok()?).into_owned();
                let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
                text.push_str(&line);
                if size == 0 {
                    break;
                }
                text.push_str(&String::from_utf8_lossy(&self.wire.take(size + 2).ok()?));
            }
            loop {
                let line = self.wire.take_until(b"\r\n").ok()?;
                text.push_str(&String::from_utf8_lossy(&line));
                if line == b"\r\n" {
                    break;
                }
            }
        } else if let Some(length) = length {
            text.push_str(&String::from_utf8_lossy(&self.wire.take(length.parse().ok()?).ok()?));
        }
        Some(text)
    }

    /// Reads the next chunk of a chunked body; `None` at its end (trailers are read and dropped) or if weir closes.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let line = String::from_utf8_lossy(&self.wire.take_until(b"\r\n").ok()?).into_owned();
        let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
        if size == 0 {
            while self.wire.take_until(b"\r\n").ok()? != b"\r\n" {}
            return None;
        }
        let mut data = self.wire.take(size + 2).ok()?;
        data.truncate(size);
        Some(data)
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.inner().socket.write_all(bytes.as_ref());
    }

    /// Reads exactly `count` bytes; what came if weir closes before.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.wire.take(count).unwrap_or_else(|rest| rest)
    }

    /// Reads until weir closes.
    pub fn rest(&mut self) -> Vec<u8> {
        self.wire.take_all()
    }

    /// Closes the sending side.
    pub fn finish(&mut self) {
        let _ = self.wire.inner().socket.shutdown(Shutdown::Write);
    }

    /// Closes with a reset.
    pub fn reset(&mut self) {
        let zero = rustix::net::sockopt::set_socket_linger(
            &self.wire.inner().socket,
            Some(std::time::Duration::ZERO),
        );
        zero.expect("a socket option");
    }
}
