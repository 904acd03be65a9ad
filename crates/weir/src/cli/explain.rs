//! `weir explain`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;

use super::{load, print};

/// A request to explain.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The method.
    method: Method,
    /// Where to: https://example.com/path?query, or only the path.
    url: String,
    /// A header of the request, as in curl; can be given again.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The client's address.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The listener that accepts the request. Default: the first that fits the scheme and port of the URL.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// A file, or a folder of *.toml files. Default: the built-in demo.
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,
}

impl Explain {
    /// Tells which route takes the request.
    pub(super) fn run(self) -> ExitCode {
        match load(self.config) {
            Ok(_) => print(""),
            Err(code) => code,
        }
    }
}
