//! HTTP/2 (RFC 9113) towards clients, by hyper. Towards upstreams it is in [`crate::upstream`].

mod extended;
pub(crate) mod server;
mod streams;
