//! TLS on both sides.

use weir_core::spec;

use super::Lower;
use crate::config::document::At;
use crate::config::raw;

impl Lower<'_> {
    /// TLS of a listener.
    pub fn listener_tls(
        &mut self,
        _raw: &raw::ListenerTls,
        _listener: &raw::Listener,
        at: &At,
    ) -> Option<spec::ServerTls> {
        self.error(at, "TLS is not there yet", "");
        None
    }

    /// TLS to an upstream.
    pub fn upstream_tls(&mut self, raw: &raw::UpstreamTls, at: &At) -> Option<spec::UpstreamTls> {
        match raw {
            raw::UpstreamTls::Switch(false) => {}
            _ => drop(self.error(at, "TLS is not there yet", "")),
        }
        None
    }
}
