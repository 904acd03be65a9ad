//! What plugins are lent: the implementations of the traits of [`weir_plugin::services`], each on a library made for
//! the field. They are the same in weir and in tests of plugins.

mod codec;
mod crypto;
mod kv;
mod manual;
mod networks;
mod patterns;
mod scripted;
mod time;

use std::sync::Arc;

use weir_plugin::services::{Clock, HttpClient, Services};

pub use kv::LocalStore;
pub use manual::ManualClock;
pub use scripted::{Scripted, ScriptedClient};

/// All services, with a key-value store of this process of so many bytes, and this way to other servers.
pub fn local(kv_memory: u64, http: Arc<dyn HttpClient>) -> Services {
    with_clock(kv_memory, http, Arc::new(time::SystemClock::default()))
}

/// All services, as [`local`] makes them, but for the clock.
pub fn with_clock(kv_memory: u64, http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Services {
    Services {
        kv: Arc::new(LocalStore::new(kv_memory, clock.clone())),
        codec: Arc::new(codec::Codecs),
        crypto: Arc::new(crypto::AwsLc),
        patterns: Arc::new(patterns::Patterns::default()),
        networks: Arc::new(networks::Parser),
        clock,
        http,
    }
}
