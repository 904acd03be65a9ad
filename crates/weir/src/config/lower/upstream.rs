//! Upstream groups.

use weir_core::spec::{self, EndpointAddress};

use super::{Lower, arc};
use crate::config::document::At;
use crate::config::raw;
use crate::config::value::{DEMO, Leaf};

impl Lower<'_> {
    /// One upstream group, and whether it is the demo server.
    pub fn upstream(&mut self, name: &str, raw: &raw::Upstream, at: &At) -> (spec::Upstream, bool) {
        let endpoints = self.endpoints(raw, &at.key("endpoints"));
        let demo = endpoints.iter().any(|e| e.address == DEMO);
        if demo && endpoints.len() > 1 {
            self.error(&at.key("endpoints"), "\"demo:\" is the only endpoint of its upstream", "");
        }
        self.positive(raw.timeouts.connect.0, &at.key("timeouts").key("connect"));
        self.positive(raw.timeouts.response.0, &at.key("timeouts").key("response"));
        self.positive(raw.timeouts.idle.0, &at.key("timeouts").key("idle"));
        self.positive(raw.pool.idle_timeout.0, &at.key("pool").key("idle_timeout"));
        self.positive(raw.resolve_every.0, &at.key("resolve_every"));
        let spec = spec::Upstream {
            name: arc(name),
            endpoints,
            balance: self.balance(raw, at),
            protocol: match raw.protocol {
                raw::Protocol::Auto => spec::Protocol::Auto,
                raw::Protocol::Http1 => spec::Protocol::Http1,
                raw::Protocol::Http2 => spec::Protocol::Http2,
            },
            tls: self.upstream_tls(&raw.tls, &at.key("tls")),
            timeouts: spec::UpstreamTimeouts {
                connect: raw.timeouts.connect.0,
                response: raw.timeouts.response.0,
                idle: raw.timeouts.idle.0,
            },
            max_idle: raw.pool.max_idle as usize,
            idle_timeout: raw.pool.idle_timeout.0,
            retry: spec::Retry {
                attempts: raw.retry.attempts,
                statuses: raw.retry.statuses.clone(),
                non_idempotent: raw.retry.non_idempotent,
                budget: raw.retry.budget,
                budget_min: raw.retry.budget_min,
            },
            skip_refused: raw.skip_refused.0,
            resolve_every: raw.resolve_every.0,
            replay_body: self.size(raw.replay_body, 0, 64 << 20, &at.key("replay_body")) as usize,
        };
        (spec, demo)
    }

    fn endpoints(&mut self, raw: &raw::Upstream, at: &At) -> Vec<spec::EndpointSpec> {
        let mut endpoints: Vec<spec::EndpointSpec> = Vec::new();
        for (i, endpoint) in raw.endpoints.iter().enumerate() {
            let at = at.index(i);
            let (mut address, weight) = match endpoint {
                raw::Endpoint::Address(address) => (address.0.clone(), 1),
                raw::Endpoint::Weighted(w) => match &w.address {
                    Some(address) => (address.0.clone(), w.weight),
                    None => continue,
                },
            };
            if let EndpointAddress::Unix(path) = &mut address {
                *path = self.path(&path.to_string_lossy(), &at);
            }
            if let Some(first) = endpoints.iter().position(|e| e.address == address) {
                let place = self.document.locate(&self::At::index(&at.parent(), first));
                self.error(&at, format!("the endpoint {} is there twice", address.show()), "again")
                    .context(place, "first")
                    .help("to send it more requests, give it a weight: { address = \"...\", weight = 2 }");
            }
            endpoints.push(spec::EndpointSpec { address, weight });
        }
        if raw.endpoints.is_empty() {
            self.error(at, "an upstream needs at least one endpoint", "")
                .help("for example endpoints = [\"10.0.0.1:8080\"]");
        }
        endpoints
    }

    fn balance(&mut self, raw: &raw::Upstream, at: &At) -> spec::Balance {
        if raw.hash.is_some() && raw.balance != raw::Balance::Hash {
            self.key_error(&at.key("hash"), "`hash` has no effect here", "")
                .help("it goes with balance = \"hash\"");
        }
        let has_sticky = self.document.find(&at.key("sticky")).is_some();
        if has_sticky && raw.balance != raw::Balance::Sticky {
            self.key_error(&at.key("sticky"), "`sticky` has no effect here", "")
                .help("it goes with balance = \"sticky\"");
        }
        match raw.balance {
            raw::Balance::RoundRobin => spec::Balance::RoundRobin,
            raw::Balance::LeastRequests => spec::Balance::LeastRequests,
            raw::Balance::Random => spec::Balance::Random,
            raw::Balance::Hash => match &raw.hash {
                Some(key) => spec::Balance::Hash(key.0.clone()),
                None => {
                    self.error(&at.key("balance"), "of what is the hash taken?", "needs a key `hash`")
                        .help("for example hash = \"client\" or hash = \"header:x-user\"");
                    spec::Balance::Random
                }
            },
            raw::Balance::Sticky => spec::Balance::Sticky(self.sticky(&raw.sticky, &at.key("sticky"))),
        }
    }

    fn sticky(&mut self, raw: &raw::Sticky, at: &At) -> spec::StickyCookie {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if raw.cookie.is_empty() || !raw.cookie.bytes().all(token) {
            self.error(&at.key("cookie"), format!("`{}` cannot be the name of a cookie", raw.cookie), "")
                .help("letters, digits, `-` and `_`");
        }
        let visible = |b: u8| (0x20..0x7f).contains(&b) && b != b';';
        if !raw.path.starts_with('/') || !raw.path.bytes().all(visible) {
            self.error(&at.key("path"), format!("`{}` cannot be the path of a cookie", raw.path), "")
                .help("a path starts with `/`");
        }
        spec::StickyCookie {
            name: arc(&raw.cookie),
            max_age: raw.max_age.as_ref().map(|t| t.0),
            path: arc(&raw.path),
            same_site: match raw.same_site {
                raw::SameSite::Lax => spec::SameSite::Lax,
                raw::SameSite::Strict => spec::SameSite::Strict,
                raw::SameSite::None => spec::SameSite::None,
            },
        }
    }
}
