//! Listeners and their limits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{OnReload, ServerTls, StringMatch};

/// Where connections are accepted, and how.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Unique; shown in logs and named by routes.
    pub name: Arc<str>,
    /// What to bind.
    pub address: ListenAddress,
    /// Length of the kernel's queue of connections not yet accepted. Default 4096.
    pub backlog: u32,
    /// What is spoken on it.
    pub serve: Serve,
    /// TLS; `None` serves plain connections.
    pub tls: Option<ServerTls>,
    /// The PROXY protocol; `None` does not look for it.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How fresh connections spread over the workers.
    pub balance: AcceptBalance,
    /// Connections open at once, over all workers. Default 100,000.
    pub max_connections: usize,
    /// Connections open at once from one client address. Default: as `max_connections`.
    pub max_connections_per_client: usize,
    /// From accept to the end of the TLS handshake, the PROXY header included. Default 10 s.
    pub handshake_timeout: Duration,
    /// Limits of HTTP connections.
    pub http: HttpLimits,
}

/// What to bind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address; port 0 lets the kernel choose.
    Tcp(SocketAddr),
    /// A Unix socket with these permission bits. A stale socket file is replaced, a live one is an error.
    Unix {
        /// The socket file.
        path: PathBuf,
        /// Permission bits, for example `0o660`.
        mode: u32,
    },
    /// A socket passed in by the service manager (`LISTEN_FDS`), by its name in `LISTEN_FDNAMES` or its index.
    Inherited(Arc<str>),
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serve {
    /// HTTP/1.1, HTTP/2 (ALPN, or prior knowledge on plain connections) and WebSocket.
    Http,
    /// Bytes: layer 4 routes. Without `tls`, a client that speaks TLS is routed by its SNI and passed through.
    Tcp,
}

/// The PROXY protocol, versions 1 and 2.
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    /// Senders that must send the header, and are believed. From any other address it is not looked for.
    pub trusted: Vec<IpNet>,
}

/// How fresh connections spread over the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptBalance {
    /// Where the kernel puts them.
    Kernel,
    /// A fresh socket goes to the worker with the fewest connections before its first byte is read.
    Connections,
}

/// Limits of HTTP connections. Every one of them is a configuration key.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// From the first byte of a request head to its last; and from accept to the first byte. Default 10 s.
    pub header_timeout: Duration,
    /// Between two requests on a connection. Default 75 s.
    pub keep_alive_timeout: Duration,
    /// Requests on one connection before it is closed. Default 0: no bound.
    pub keep_alive_requests: u64,
    /// Between two reads of a request body, and between two successful writes to the client. Default 60 s.
    pub idle_timeout: Duration,
    /// From the request head to the end of the response; 0: no bound (default). Not for WebSockets.
    pub request_timeout: Duration,
    /// Size of a request head. Default 32 KiB.
    pub max_header_bytes: usize,
    /// Number of header fields. Default 100.
    pub max_headers: usize,
    /// HTTP/2 limits.
    pub http2: Http2Limits,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            keep_alive_requests: 0,
            idle_timeout: Duration::from_secs(60),
            request_timeout: Duration::ZERO,
            max_header_bytes: 32 << 10,
            max_headers: 100,
            http2: Http2Limits::default(),
        }
    }
}

/// Limits of HTTP/2 connections from clients (RFC 9113).
#[derive(Clone, Debug)]
pub struct Http2Limits {
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`. Default 128.
    pub max_streams: u32,
    /// Flow-control window of a stream. Default 256 KiB.
    pub stream_window: u32,
    /// Flow-control window of a connection. Default 1 MiB.
    pub connection_window: u32,
    /// Streams that the client opened and reset before they were served; over it GOAWAY. Default 20.
    pub max_pending_resets: usize,
    /// Streams that weir reset because of the client's errors; over it GOAWAY. Default 1024.
    pub max_error_resets: usize,
    /// Ping an idle connection this often; 0 never (default).
    pub ping_interval: Duration,
    /// How long to wait for the answer to such a ping. Default 20 s.
    pub ping_timeout: Duration,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Http2Limits {
            max_streams: 128,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            max_pending_resets: 20,
            max_error_resets: 1024,
            ping_interval: Duration::ZERO,
            ping_timeout: Duration::from_secs(20),
        }
    }
}

/// A layer 4 route.
#[derive(Clone, Debug)]
pub struct TcpRoute {
    /// Unique among TCP routes; shown in logs.
    pub name: Arc<str>,
    /// The listener, by name.
    pub listener: Arc<str>,
    /// Server names (exact or `*.example.com`); empty: any, also clients without SNI.
    pub sni: Vec<StringMatch>,
    /// The upstream group, by name.
    pub upstream: Arc<str>,
    /// Closed when no byte passed either way for so long. Default 1 h.
    pub idle_timeout: Duration,
    /// What becomes of its connections when it changes.
    pub on_reload: OnReload,
    /// The same for as long as the route and its upstream are configured as they were.
    pub identity: u64,
}
