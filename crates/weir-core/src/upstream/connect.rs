//! Fresh connections to endpoints.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep};

use super::endpoint::Endpoint;
use super::group::Group;
use crate::error::{Error, Kind};
use crate::net::{Deadline, Socket, Stream};
use crate::spec::EndpointAddress;
use crate::tls::Connector;

/// How long an address has for itself before the next one is tried beside it (RFC 8305, section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// A fresh stream to an endpoint for bytes (layer 4, or an HTTP/1.1 upgrade: ALPN then says `http/1.1`).
///
/// # Errors
/// As [`lease`](super::lease).
pub async fn connect(group: &Group, endpoint: &Endpoint, deadline: &mut Deadline) -> Result<Stream, Error> {
    let connector = group.tls().map(|tls| &tls.bytes);
    // On the heap: the task of a connection should have no room for what most of its requests do not need.
    Box::pin(open(group, endpoint, connector, deadline)).await.map(|(stream, _)| stream)
}

/// A fresh stream for requests. True: ALPN chose `h2`.
pub(super) async fn connect_for_requests(
    group: &Group,
    endpoint: &Endpoint,
    deadline: &mut Deadline,
) -> Result<(Stream, bool), Error> {
    let connector = group.tls().map(|tls| &tls.requests);
    open(group, endpoint, connector, deadline).await
}

/// Connects within the group's connect timeout, and notes whether the endpoint takes connections.
async fn open(
    group: &Group,
    endpoint: &Endpoint,
    connector: Option<&Connector>,
    deadline: &mut Deadline,
) -> Result<(Stream, bool), Error> {
    let opened = deadline.bound(group.spec.timeouts.connect, async {
        let socket = dial(endpoint).await.map_err(|error| dial_error(group, endpoint, error))?;
        let Some(connector) = connector else { return Ok((Stream::Plain(socket), false)) };
        let name = group
            .server_name(endpoint)
            .ok_or_else(|| Error::new(Kind::Internal, "the endpoint has no name that TLS could verify"))?;
        let shaken = connector.connect(socket, name).await;
        shaken.map_err(|e| Error::because(Kind::UpstreamTls, "the TLS handshake with the endpoint failed", e))
    });
    match opened.await {
        Ok(Ok(opened)) => {
            endpoint.welcome();
            Ok(opened)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            let error = too_late(deadline);
            if error.kind() == Kind::ConnectTimeout {
                endpoint.skip(group.spec.skip_refused);
            }
            Err(error)
        }
    }
}

/// Whose time was over: that of the connection, or that of the whole exchange, which blames no endpoint.
pub(super) fn too_late(deadline: &Deadline) -> Error {
    match deadline.is_over_cap() {
        true => Error::new(Kind::ExchangeTimeout, "the request timeout is over"),
        false => Error::new(Kind::ConnectTimeout, "the endpoint did not take the connection in time"),
    }
}

async fn dial(endpoint: &Endpoint) -> io::Result<Socket> {
    if let EndpointAddress::Unix(path) = &endpoint.spec.address {
        return UnixStream::connect(path).await.map(Socket::Unix);
    }
    let addresses = endpoint.health.addresses().clone();
    let stream = match &**addresses {
        [] => return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, Unresolved)),
        [only] => TcpStream::connect(only).await?,
        several => first_of(several, fastrand::usize(..several.len())).await?,
    };
    stream.set_nodelay(true)?;
    Ok(Socket::Tcp(stream))
}

/// The name has no address yet.
#[derive(Debug, thiserror::Error)]
#[error("its name is not resolved")]
struct Unresolved;

/// The first connection that comes about. Addresses are tried in order from `start` on, the next one as soon as one
/// fails or the last one has had its head start.
async fn first_of(addresses: &[SocketAddr], start: usize) -> io::Result<TcpStream> {
    type Attempt = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;
    let mut order = addresses.iter().skip(start).chain(addresses.iter().take(start)).copied().peekable();
    let mut under_way: Vec<Attempt> = Vec::new();
    let mut head_start = pin!(sleep(Duration::ZERO));
    let mut next_is_due = true;
    let mut failure = None;
    poll_fn(|cx| {
        loop {
            if next_is_due && let Some(address) = order.next() {
                under_way.push(Box::pin(TcpStream::connect(address)));
                head_start.as_mut().reset(Instant::now() + HEAD_START);
            }
            next_is_due = false;
            let mut index = 0;
            while let Some(attempt) = under_way.get_mut(index) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        drop(under_way.swap_remove(index));
                        failure = Some(error);
                        next_is_due = true;
                    }
                    Poll::Pending => index += 1,
                }
            }
            if order.peek().is_some() && (next_is_due || head_start.as_mut().poll(cx).is_ready()) {
                next_is_due = true;
                continue;
            }
            if under_way.is_empty()
                && let Some(error) = failure.take()
            {
                return Poll::Ready(Err(error));
            }
            return Poll::Pending;
        }
    })
    .await
}

/// Says what a failed connection means, and has the endpoint skipped where it is the endpoint's doing.
fn dial_error(group: &Group, endpoint: &Endpoint, error: io::Error) -> Error {
    use io::ErrorKind::{
        AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable, NotFound, TimedOut,
    };
    use rustix::io::Errno;
    if error.get_ref().is_some_and(|inner| inner.is::<Unresolved>()) {
        return Error::because(Kind::NoEndpoint, "the endpoint has no address", error);
    }
    let errno = Errno::from_io_error(&error);
    if matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) {
        return Error::because(
            Kind::Overloaded,
            "no socket can be opened: files or memory are used up",
            error,
        );
    }
    let (detail, its_doing) = match error.kind() {
        ConnectionRefused => ("the endpoint refused the connection", true),
        NotFound => ("there is no such Unix socket", true),
        HostUnreachable | NetworkUnreachable => ("the endpoint cannot be reached", true),
        TimedOut => ("the endpoint did not answer the kernel's connection attempts", true),
        AddrNotAvailable => ("no local port is left for another connection to the endpoint", false),
        // A Unix socket whose queue is full (a TCP connection in progress never shows this).
        _ if errno == Some(Errno::AGAIN) => ("the endpoint's queue of connections is full", true),
        _ => ("the connection failed", false),
    };
    if its_doing {
        endpoint.skip(group.spec.skip_refused);
    }
    Error::because(Kind::Connect, detail, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Balance;
    use crate::upstream::group::tests::upstream;
    use tokio::net::{TcpListener, UnixListener};

    fn group(endpoints: &[&str]) -> Group {
        Group::new(&upstream(endpoints, Balance::RoundRobin), None).expect("a good group")
    }

    /// An address that refuses connections, and keeps the port taken so that nobody else gets it.
    fn refusing() -> (SocketAddr, std::os::fd::OwnedFd) {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
        let address = socket.local_addr().ok().and_then(|a| a.as_socket()).expect("an address");
        (address, socket.into())
    }

    #[tokio::test]
    async fn a_refused_connection_is_said_and_the_endpoint_skipped() {
        let (address, _held) = refusing();
        let group = group(&[&address.to_string()]);
        let error =
            connect(&group, &group.endpoints[0], &mut Deadline::default()).await.expect_err("refused");
        assert_eq!(error.kind(), Kind::Connect);
        assert_eq!(error.detail(), "the endpoint refused the connection");
        assert!(!group.endpoints[0].is_available());
    }

    #[tokio::test]
    async fn a_connection_ends_the_skip() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let group = group(&[&address.to_string()]);
        group.endpoints[0].skip(Duration::from_secs(3600));
        let stream = connect(&group, &group.endpoints[0], &mut Deadline::default()).await.expect("connected");
        let Some(Socket::Tcp(socket)) = stream.as_plain() else { panic!("not plain TCP") };
        assert!(socket.nodelay().expect("an option"));
        assert!(group.endpoints[0].is_available());
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried_from_any_start() {
        let (refused, _held) = refusing();
        let (also_refused, _also_held) = refusing();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let good = listener.local_addr().expect("an address");
        for start in 0..3 {
            let stream = first_of(&[refused, good, also_refused], start).await.expect("connected");
            assert_eq!(stream.peer_addr().expect("an address"), good);
        }
        let error = first_of(&[refused, also_refused], 1).await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    /// TLS to an endpoint that takes the connection and then says nothing.
    async fn waited_for(group: &Group, deadline: &mut Deadline) -> Error {
        connect_for_requests(group, &group.endpoints[0], deadline).await.expect_err("silence")
    }

    #[tokio::test]
    async fn a_silent_endpoint_is_skipped_unless_the_exchange_had_no_time_left() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut spec =
            upstream(&[&listener.local_addr().expect("an address").to_string()], Balance::RoundRobin);
        spec.tls = Some(crate::spec::UpstreamTls {
            roots: std::sync::Arc::new(rustls::RootCertStore::empty()),
            verify: false,
            server_name: None,
            client_certificate: None,
            min_version: crate::spec::TlsVersion::Tls12,
        });
        let group = Group::new(&spec, None).expect("a good group");
        let mut deadline = Deadline::default();
        deadline.set_cap(Duration::from_nanos(1));
        assert_eq!(waited_for(&group, &mut deadline).await.kind(), Kind::ExchangeTimeout);
        assert!(group.endpoints[0].is_available());
        spec.timeouts.connect = Duration::from_millis(1);
        let group = Group::new(&spec, None).expect("a good group");
        assert_eq!(waited_for(&group, &mut Deadline::default()).await.kind(), Kind::ConnectTimeout);
        assert!(!group.endpoints[0].is_available());
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_no_endpoint() {
        let group = group(&["app.invalid:80"]);
        let error =
            connect(&group, &group.endpoints[0], &mut Deadline::default()).await.expect_err("unresolved");
        assert_eq!(error.kind(), Kind::NoEndpoint);
        assert!(!group.endpoints[0].health.is_skipped());
    }

    #[tokio::test]
    async fn unix_sockets_are_connected_to_and_missed() {
        let path = std::env::temp_dir().join(format!("weir-connect-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let group = group(&[&format!("unix:{}", path.display())]);
        let error =
            connect(&group, &group.endpoints[0], &mut Deadline::default()).await.expect_err("missing");
        assert_eq!(error.detail(), "there is no such Unix socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        let connected = connect(&group, &group.endpoints[0], &mut Deadline::default()).await;
        drop((listener, std::fs::remove_file(&path)));
        assert!(connected.is_ok());
    }

    #[test]
    fn a_lack_of_ports_or_files_is_not_the_endpoints_doing() {
        let group = group(&["10.0.0.1:80"]);
        let said = |errno: rustix::io::Errno| dial_error(&group, &group.endpoints[0], errno.into());
        let ports = said(rustix::io::Errno::ADDRNOTAVAIL);
        assert_eq!(ports.detail(), "no local port is left for another connection to the endpoint");
        assert_eq!(said(rustix::io::Errno::MFILE).kind(), Kind::Overloaded);
        assert!(group.endpoints[0].is_available());
        assert_eq!(said(rustix::io::Errno::HOSTUNREACH).kind(), Kind::Connect);
        assert!(!group.endpoints[0].is_available());
    }
}
