//! What is asked for on the command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::migrate::Spoil;

/// Load on a proxy while its configuration, scripts and certificates change. Exit code 0 only if no request failed, no
/// WebSocket was lost, every change served, and every broken one was reported and none applied.
#[derive(Debug, Clone, Parser)]
#[command(name = "cargo xtask soak", bin_name = "cargo xtask soak")]
pub(crate) struct Options {
    /// How many changes are made; one in ten is broken on purpose
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) reloads: u64,
    /// How many WebSockets are held, half of them over TLS
    #[arg(long, default_value_t = 500)]
    pub(crate) websockets: usize,
    /// The most changes in a second; each waits for the one before it
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Ask weir by SIGHUP to take a change; without it weir watches its files, and sees by itself that they have changed
    #[arg(long)]
    pub(crate) signal: bool,
    /// weir's `reload.generations`: how many earlier configurations WebSockets may go on with before those of the oldest
    /// are closed. Default: as many as there are changes
    #[arg(long, conflicts_with = "peer")]
    pub(crate) generations: Option<u32>,
    /// One in 25 changes moves a listener to another port
    #[arg(long, conflicts_with = "peer")]
    pub(crate) listeners: bool,
    /// Only scripts change, none is broken, and the load are WebSockets that go over to each new one with what the one before
    /// knew of them
    #[arg(long, conflicts_with_all = ["peer", "generations", "listeners"])]
    pub(crate) migrate: bool,
    /// Make it fail, to see that it does
    #[arg(long, value_enum, requires = "migrate")]
    pub(crate) spoil: Option<Spoil>,
    /// Another proxy under the same load, reloaded as its manual says
    #[arg(long, value_enum)]
    pub(crate) peer: Option<Peer>,
    /// The weir that is soaked; without it a release build is made
    #[arg(long, value_name = "PATH", default_value = "target/release/weir")]
    pub(crate) weir: PathBuf,
    /// The peer's program. Default: on the PATH; Caddy where bench/bench.py puts it
    #[arg(long, value_name = "PATH", requires = "peer")]
    pub(crate) program: Option<PathBuf>,
    /// Write all figures here, too
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Leave the proxy's files and log behind
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A proxy to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// `nginx -s reload`
    Nginx,
    /// SIGUSR2 to the master, after `haproxy -c`
    Haproxy,
    /// `caddy reload`
    Caddy,
}

/// A number of changes a second.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("a number above 0 is needed".to_owned()),
    }
}
