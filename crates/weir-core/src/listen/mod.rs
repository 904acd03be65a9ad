//! Accepting connections.
//!
//! In reading order: [`bind`] (sockets), [`inherited`] and [`passed`] (those that another process has made), [`bindings`]
//! (which there are, and their change), [`accept`] (the loop of each), [`limits`] (how many), [`connection`] (from an accepted socket to what serves it), [`proxy_protocol`], [`on_connect`] (plugins that are asked about a
//! connection), [`layer4`] (bytes to an upstream).

pub(crate) mod accept;
pub(crate) mod bind;
pub(crate) mod bindings;
mod connection;
mod inherited;
mod layer4;
pub(crate) mod limits;
mod on_connect;
pub(crate) mod passed;
pub(crate) mod proxy_protocol;

use std::sync::Arc;

use crate::spec;
use crate::tls::{Acceptor, TlsError};

/// A listener ready to serve: its settings and TLS. Sockets are elsewhere; they outlive generations.
#[derive(Debug)]
pub struct CompiledListener {
    /// What was asked for.
    pub spec: spec::Listener,
    /// TLS, where it is served.
    pub tls: Option<Arc<Acceptor>>,
    /// The generation that this is of.
    pub generation: u64,
}

impl CompiledListener {
    /// Compiles a listener for a generation.
    ///
    /// # Errors
    /// When its TLS cannot be.
    pub fn new(
        spec: &spec::Listener,
        generation: u64,
        previous: Option<&CompiledListener>,
    ) -> Result<Self, TlsError> {
        let old = previous.and_then(|p| p.tls.as_deref());
        let tls = spec.tls.as_ref().map(|t| Acceptor::new(t, old).map(Arc::new)).transpose()?;
        Ok(CompiledListener { spec: spec.clone(), tls, generation })
    }
}
