//! What plugins are lent: the implementations of the traits of [`weir_plugin::services`], each on a library made for
//! the field. They are the same in weir and in tests of plugins.

mod apart;
mod codec;
mod crypto;
mod jwt;
mod kv;
mod manual;
mod metrics;
mod networks;
mod passwords;
mod patterns;
mod relays;
mod scripted;
mod time;

use std::sync::Arc;

use weir_plugin::services::{Clock, HttpClient, NoWebSockets, Services};

pub use apart::apart;
pub use crypto::seed;
pub use kv::{LocalStore, Statistics};
pub use manual::ManualClock;
pub use metrics::{Sample, Shown};
pub use relays::{Done, NotedRelays};
pub use scripted::{Scripted, ScriptedClient};

/// All services, with a key-value store of this process of so many bytes, and this way to other servers.
pub fn local(kv_memory: u64, http: Arc<dyn HttpClient>) -> Services {
    of(kv_memory, http, Arc::new(time::SystemClock::default()), None)
}

/// The same for a program whose own state is shown with the metrics.
pub fn of_program(kv_memory: u64, http: Arc<dyn HttpClient>, program: Arc<dyn Shown>) -> Services {
    of(kv_memory, http, Arc::new(time::SystemClock::default()), Some(program))
}

/// All services, as [`local`] makes them, but for the clock.
pub fn with_clock(kv_memory: u64, http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Services {
    of(kv_memory, http, clock, None)
}

fn of(
    kv_memory: u64,
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    program: Option<Arc<dyn Shown>>,
) -> Services {
    let kv = Arc::new(LocalStore::new(kv_memory, clock.clone()));
    Services {
        metrics: Arc::new(metrics::Measures::new(kv.clone(), program)),
        kv,
        codec: Arc::new(codec::Codecs),
        crypto: Arc::new(crypto::AwsLc),
        patterns: Arc::new(patterns::Patterns::default()),
        networks: Arc::new(networks::Parser),
        passwords: Arc::new(passwords::Hashes::default()),
        tokens: Arc::new(jwt::Jwt::new(clock.clone())),
        clock,
        http,
        websockets: Arc::new(NoWebSockets),
    }
}
