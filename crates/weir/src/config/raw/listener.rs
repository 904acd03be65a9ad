//! `[[listeners]]`, `[limits]` and `[[tcp_routes]]`.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use weir_core::spec::{HostPattern, ListenAddress};

use super::{Bytes, ListenerTls, OnReload, OneOrMany, RoutePlugin, Text, Time, kib, secs};
use crate::config::value::Mode;

/// Where connections are accepted, and how.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listener {
    /// Shown in logs and named by routes. Default: the address as written.
    pub name: Option<String>,
    /// What to bind: "0.0.0.0:443", "[::]:443", ":443" (every IPv4 address), "unix:/run/weir.sock" or "systemd:NAME".
    #[schemars(extend("x-required" = true))]
    pub address: Option<Text<ListenAddress>>,
    /// What is spoken: "http" (HTTP/1.1, HTTP/2 and WebSocket) or "tcp" (bytes, by `tcp_routes`).
    pub protocol: ListenerProtocol,
    /// TLS: a certificate with its key, "self-signed" for a first try, or nothing for plain connections.
    pub tls: Option<ListenerTls>,
    /// The PROXY protocol, versions 1 and 2; it is not looked for by default.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Plugins that are asked about each connection (`on_connect`), in order, by name or as tables with settings.
    pub plugins: Vec<RoutePlugin>,
    /// How fresh connections spread over the workers: "connections" (to the one with the fewest) or "kernel".
    pub balance: AcceptBalance,
    /// Length of the kernel's queue of connections not yet accepted.
    pub backlog: u32,
    /// Permission bits of a Unix socket.
    pub mode: Text<Mode>,
    /// Limits of this listener; what is not given here is as in the top-level `limits`.
    pub limits: Limits,
}

impl Default for Listener {
    fn default() -> Self {
        Listener {
            name: None,
            address: None,
            protocol: ListenerProtocol::Http,
            tls: None,
            proxy_protocol: None,
            plugins: Vec::new(),
            balance: AcceptBalance::Connections,
            backlog: 4096,
            mode: Text(Mode(0o660)),
            limits: Limits::default(),
        }
    }
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerProtocol {
    /// HTTP/1.1, HTTP/2 and WebSocket.
    Http,
    /// Bytes, passed on by `tcp_routes`.
    Tcp,
}

/// How fresh connections spread over the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AcceptBalance {
    /// Where the kernel puts them.
    Kernel,
    /// To the worker with the fewest connections.
    Connections,
}

/// The PROXY protocol.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Senders that must send the header and are believed; from others it is not looked for.
    #[schemars(extend("x-required" = true))]
    pub trusted: OneOrMany<Text<IpNet>>,
}

/// Limits of connections and requests.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections open at once on a listener.
    #[schemars(range(min = 1))]
    pub max_connections: u32,
    /// Connections open at once from one client address. Default: as `max_connections`.
    #[schemars(range(min = 1))]
    pub max_connections_per_client: Option<u32>,
    /// From accept to the end of the TLS handshake, the PROXY header included.
    pub handshake_timeout: Time,
    /// From the first byte of a request head to its last, and from accept to the first byte.
    pub header_timeout: Time,
    /// Between two requests on a connection.
    pub keep_alive_timeout: Time,
    /// Requests on one connection before it is closed. 0: no bound.
    pub keep_alive_requests: u64,
    /// Between two reads of a request body, and between two writes of a response.
    pub idle_timeout: Time,
    /// From the request head to the end of the response. "0s": no bound. Not for WebSockets.
    pub request_timeout: Time,
    /// Size of a request head; over it 431.
    pub max_header_size: Bytes,
    /// Number of header fields; over it 431.
    #[schemars(range(min = 1, max = 4096))]
    pub max_headers: u32,
    /// Limits of HTTP/2 connections.
    pub http2: Http2,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_connections: 100_000,
            max_connections_per_client: None,
            handshake_timeout: secs(10),
            header_timeout: secs(10),
            keep_alive_timeout: secs(75),
            keep_alive_requests: 0,
            idle_timeout: secs(60),
            request_timeout: secs(0),
            max_header_size: kib(32),
            max_headers: 100,
            http2: Http2::default(),
        }
    }
}

/// Limits of HTTP/2 connections from clients.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http2 {
    /// Requests and WebSockets at once on one connection.
    #[schemars(range(min = 1))]
    pub max_streams: u32,
    /// Flow-control window of a request: bytes of its body under way.
    pub stream_window: Bytes,
    /// Flow-control window of a connection. Half of it is also what small DATA frames that nobody has read yet may cost beside
    /// their bytes, each as much as it is shorter than 256 bytes; over it the connection is closed.
    pub connection_window: Bytes,
    /// Requests that the client opened and reset before they were served; over it the connection is closed.
    #[schemars(range(min = 1))]
    pub max_pending_resets: u32,
    /// Requests that weir reset because of the client's errors; over it the connection is closed.
    #[schemars(range(min = 1))]
    pub max_error_resets: u32,
    /// An idle connection is pinged this often. "0s": never.
    pub ping_interval: Time,
    /// How long the answer to such a ping may take.
    pub ping_timeout: Time,
}

impl Default for Http2 {
    fn default() -> Self {
        Http2 {
            max_streams: 128,
            stream_window: kib(256),
            connection_window: kib(1024),
            max_pending_resets: 20,
            max_error_resets: 1024,
            ping_interval: secs(0),
            ping_timeout: secs(20),
        }
    }
}

/// Where connections of a listener with `protocol = "tcp"` go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TcpRoute {
    /// Shown in logs. Default: "tcp-1", "tcp-2" and so on by position.
    pub name: Option<String>,
    /// The listener, by name.
    #[schemars(extend("x-required" = true))]
    pub listener: Option<String>,
    /// Server names that clients ask for by TLS: "example.com", "*.example.com". Default: any, also none.
    pub sni: OneOrMany<Text<HostPattern>>,
    /// The upstream, by name.
    #[schemars(extend("x-required" = true))]
    pub upstream: Option<String>,
    /// Closed when no byte passed either way for so long.
    pub idle_timeout: Time,
    /// What becomes of its connections when it or its upstream changes: "pin" (they go on as they are until they end)
    /// or "close" (over the time of `reload.spread`).
    pub on_reload: OnReload,
}

impl Default for TcpRoute {
    fn default() -> Self {
        TcpRoute {
            name: None,
            listener: None,
            sni: OneOrMany::default(),
            upstream: None,
            idle_timeout: secs(3600),
            on_reload: OnReload::Pin,
        }
    }
}
