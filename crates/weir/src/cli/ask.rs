//! Asking a weir that runs.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Method;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::source;
use crate::admin::{self, Settings, Unanswered};
use crate::config;
use crate::run::EXIT_FAILED;

/// Exit code: what serves is not what the files say.
pub(super) const EXIT_REFUSED: u8 = 5;

/// Which one.
#[derive(Debug, clap::Args)]
pub(super) struct At {
    /// The configuration that it runs. Default: the built-in demo.
    #[arg(short, long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Its admin socket. Default: the one that the configuration says.
    #[arg(short, long, value_name = "FILE", conflicts_with = "address")]
    socket: Option<PathBuf>,
    /// Its `admin.address`, instead. The token is that in the environment variable WEIR_ADMIN_TOKEN.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

/// Where the token comes from.
const TOKEN: &str = "WEIR_ADMIN_TOKEN";

impl At {
    /// What it answers. Why it does not goes to standard error.
    pub(super) fn ask<T: DeserializeOwned>(self, method: Method, path: &str) -> Result<T, ExitCode> {
        let place = self.place()?;
        let answer = runtime()?.block_on(admin::ask(place.at(), method, path));
        let json = answer.map_err(|error| fail(&explain(&place, &error)))?;
        serde_json::from_slice(&json)
            .map_err(|error| fail(&format!("what answers at {place} is another weir: {error}")))
    }

    /// Says when its answer begins, and hands it on, piece by piece, until it ends or `take` is false. Why it does not answer goes to standard
    /// error.
    pub(super) fn follow(
        self,
        path: &str,
        begun: impl FnOnce(),
        take: impl FnMut(&Bytes) -> bool,
    ) -> Result<(), ExitCode> {
        let place = self.place()?;
        let followed = runtime()?.block_on(admin::follow(place.at(), path, begun, take));
        followed.map_err(|error| fail(&explain(&place, &error)))
    }

    fn place(self) -> Result<Place, ExitCode> {
        let Some(address) = self.address else { return self.socket().map(Place::Socket) };
        match std::env::var(TOKEN) {
            Ok(token) => Ok(Place::Address { address, token: token.trim_end().to_owned() }),
            Err(_) => Err(fail(&format!(
                "{TOKEN} is not set: it is to be the `admin.token` of the weir at {address}"
            ))),
        }
    }

    fn socket(self) -> Result<PathBuf, ExitCode> {
        if let Some(socket) = self.socket {
            return Ok(socket);
        }
        let source = source(self.config);
        // A configuration that is broken now may be what serves: its default is the best guess.
        let settings = config::admin(&source).unwrap_or(Settings::Default);
        if settings == Settings::Default {
            let likely = admin::likely_sockets(&source);
            let there = likely.iter().find(|socket| socket.exists()).or(likely.first());
            return there.cloned().ok_or_else(|| fail("there is no socket"));
        }
        match settings.socket(&source) {
            Some((socket, _)) => Ok(socket),
            None => Err(fail(&format!("{source} has `admin.socket = false`: nothing can be asked"))),
        }
    }
}

/// Where one is asked.
enum Place {
    Socket(PathBuf),
    Address { address: String, token: String },
}

impl Place {
    fn at(&self) -> admin::At<'_> {
        match self {
            Place::Socket(socket) => admin::At::Socket(socket),
            Place::Address { address, token } => admin::At::Address { address, token },
        }
    }
}

fn runtime() -> Result<Runtime, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| fail(&format!("cannot make an event loop: {error}")))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Socket(path) => path.display().fmt(f),
            Place::Address { address, .. } => f.write_str(address),
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn fail(message: &str) -> ExitCode {
    // Nothing is left to tell it to when standard error is closed.
    let _ = writeln!(std::io::stderr(), "error: {message}");
    ExitCode::from(EXIT_FAILED)
}

fn explain(place: &Place, error: &Unanswered) -> String {
    let Place::Socket(socket) = place else { return format!("{place}: {error}") };
    let socket = socket.display();
    match error {
        Unanswered::Connect(error) if error.kind() == ErrorKind::NotFound => format!(
            "no weir runs with this configuration: there is no socket {socket}\n  name the configuration that it was \
             started with by --config PATH, or its socket by --socket FILE"
        ),
        Unanswered::Connect(error) if error.kind() == ErrorKind::ConnectionRefused => {
            format!("nobody is at {socket} any more: the weir that made it was killed")
        }
        Unanswered::Connect(error) if error.kind() == ErrorKind::PermissionDenied => format!(
            "{socket} is not for you: {error}\n  `admin.mode` says who may ask; without it only who started weir"
        ),
        error => format!("{socket}: {error}"),
    }
}
