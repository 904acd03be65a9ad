//! Listeners and TCP routes.

use std::sync::Arc;
use std::time::Duration;

use weir_core::spec::{self, ListenAddress};

use super::names::Names;
use super::reload::on_reload;
use super::{Lower, all, arc};
use crate::config::document::At;
use crate::config::raw;

impl Lower<'_> {
    /// One listener; `None` if it cannot be.
    pub fn listener(&mut self, raw: &raw::Listener, name: &Arc<str>, at: &At) -> Option<spec::Listener> {
        let mut address = raw.address.as_ref()?.0.clone();
        if let ListenAddress::Unix { path, mode } = &mut address {
            *mode = raw.mode.0.0;
            *path = self.path(&path.to_string_lossy(), &at.key("address"));
        }
        let http = raw.protocol == raw::ListenerProtocol::Http;
        // What the listener does not say itself is in the top-level `limits`.
        let own = at.key("limits");
        let limits = if self.document.find(&own).is_some() { own } else { At::default().key("limits") };
        let proxy_protocol = raw.proxy_protocol.as_ref().map(|p| {
            let trusted = all(&p.trusted);
            if trusted.is_empty() {
                self.error(&at.key("proxy_protocol").key("trusted"), "nobody is trusted", "an empty list")
                    .help("name the addresses of the load balancers that send the PROXY header");
            }
            spec::ProxyProtocol { trusted }
        });
        self.positive(raw.limits.handshake_timeout.0, &limits.key("handshake_timeout"));
        Some(spec::Listener {
            name: name.clone(),
            address,
            backlog: raw.backlog,
            serve: if http { spec::Serve::Http } else { spec::Serve::Tcp },
            tls: raw.tls.as_ref().and_then(|tls| self.listener_tls(tls, raw, &at.key("tls"))),
            proxy_protocol,
            balance: match raw.balance {
                raw::AcceptBalance::Kernel => spec::AcceptBalance::Kernel,
                raw::AcceptBalance::Connections => spec::AcceptBalance::Connections,
            },
            max_connections: raw.limits.max_connections as usize,
            max_connections_per_client: raw
                .limits
                .max_connections_per_client
                .unwrap_or(raw.limits.max_connections) as usize,
            handshake_timeout: raw.limits.handshake_timeout.0,
            http: self.http_limits(&raw.limits, &limits),
        })
    }

    fn http_limits(&mut self, raw: &raw::Limits, at: &At) -> spec::HttpLimits {
        self.positive(raw.header_timeout.0, &at.key("header_timeout"));
        self.positive(raw.keep_alive_timeout.0, &at.key("keep_alive_timeout"));
        self.positive(raw.idle_timeout.0, &at.key("idle_timeout"));
        let header_bytes = self.size(raw.max_header_size, 1 << 10, 16 << 20, &at.key("max_header_size"));
        let http2 = &raw.http2;
        let at = at.key("http2");
        self.positive(http2.ping_timeout.0, &at.key("ping_timeout"));
        // RFC 9113, section 6.5.2: at least the initial 65,535 octets, at most 2^31 - 1.
        let window =
            |lower: &mut Self, size, key| lower.size(size, 65_535, (1 << 31) - 1, &at.key(key)) as u32;
        spec::HttpLimits {
            header_timeout: raw.header_timeout.0,
            keep_alive_timeout: raw.keep_alive_timeout.0,
            keep_alive_requests: raw.keep_alive_requests,
            idle_timeout: raw.idle_timeout.0,
            request_timeout: raw.request_timeout.0,
            max_header_bytes: header_bytes as usize,
            max_headers: raw.max_headers as usize,
            http2: spec::Http2Limits {
                max_streams: http2.max_streams,
                stream_window: window(self, http2.stream_window, "stream_window"),
                connection_window: window(self, http2.connection_window, "connection_window"),
                max_pending_resets: http2.max_pending_resets as usize,
                max_error_resets: http2.max_error_resets as usize,
                ping_interval: http2.ping_interval.0,
                ping_timeout: http2.ping_timeout.0,
            },
        }
    }

    /// One TCP route; `None` if it cannot be.
    pub fn tcp_route(
        &mut self,
        raw: &raw::TcpRoute,
        name: &Arc<str>,
        names: &Names,
        at: &At,
    ) -> Option<spec::TcpRoute> {
        let listener = raw.listener.as_deref()?;
        let upstream = raw.upstream.as_deref()?;
        names.listener(listener, raw::ListenerProtocol::Tcp, &at.key("listener"), self);
        names.upstream(upstream, &at.key("upstream"), self);
        self.positive(raw.idle_timeout.0, &at.key("idle_timeout"));
        if raw.on_reload == raw::OnReload::Migrate {
            self.error(&at.key("on_reload"), "connections of `tcp_routes` have no plugin to go over to", "")
                .help("expected \"pin\", \"close\"");
        }
        Some(spec::TcpRoute {
            name: name.clone(),
            listener: arc(listener),
            sni: all(&raw.sni),
            upstream: arc(upstream),
            idle_timeout: raw.idle_timeout.0,
            on_reload: on_reload(raw.on_reload),
            identity: 0,
        })
    }

    /// Every wait has an end: a duration that cannot be zero.
    pub fn positive(&mut self, duration: Duration, at: &At) {
        if duration.is_zero() {
            self.error(at, "this wait must have an end", "zero").help("give a duration such as \"30s\"");
        }
    }

    /// A size within bounds.
    pub fn size(&mut self, size: raw::Bytes, min: u64, max: u64, at: &At) -> u64 {
        use crate::config::value::{Leaf, Size};
        let n = size.0.0;
        if n < min || n > max {
            let label = format!("expected {} to {}", Size(min).show(), Size(max).show());
            self.error(at, format!("{} is out of bounds", size.0.show()), label);
        }
        n.clamp(min, max)
    }
}
