//! The program: command line, configuration, assembly, logs. `main` only starts it.
//!
//! In reading order: [`cli`] (the command line), [`config`] (from TOML to a plan), [`certs`] (certificate files), [`expiry`] (when
//! they expire), [`acme`] (those of an authority),
//! [`run`] (from a plan to a running proxy and its end), [`reload`] (another configuration while it runs), [`upgrade`] (another
//! binary while it runs), [`supervisor`] (what systemd is told),
//! [`admin`] (what it tells while it runs), [`assemble`] (what plugs into the data plane), [`banner`] (what is told at
//! start), [`demo`] (an upstream to try it with), [`telemetry`] (access log and program log), [`testing`] (tests of
//! plugins).

pub mod acme;
pub mod admin;
pub mod assemble;
pub mod banner;
pub mod certs;
pub mod cli;
pub mod config;
pub mod demo;
pub mod expiry;
pub mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod reload;
pub mod run;
pub mod supervisor;
pub mod telemetry;
pub mod testing;
pub mod upgrade;
pub mod watch;
