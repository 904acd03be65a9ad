//! The program: command line, configuration, assembly, logs. `main` only starts it.
//!
//! In reading order: [`certs`] (certificate files), [`run`] (from a configuration to a running proxy and its end),
//! [`telemetry`] (access log and program log).

pub mod certs;
pub mod demo;
pub mod run;
pub mod telemetry;
