//! What weir tells about itself while it runs, and what it can be asked to do: JSON over HTTP on a Unix socket, for
//! `weir status`, `weir ws`, `weir reload`, `weir rollback` and `weir upgrade`, and for `curl --unix-socket`. Who may ask is whom
//! the socket's mode lets at it; over TCP, who knows the token.

mod client;
mod measures;
mod patient;
mod relays;
mod server;
mod status;
mod token;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::{env, fs};

use sha2::{Digest, Sha256};

pub use client::{At, Unanswered, ask, follow};
pub use relays::{Closed, Listed, Message, Relay, Ways, inert};
pub use server::Admin;
pub use status::{Board, Change, Held, Listener, Outcome, Status, Upgrade};
pub use token::{Tcp, Token};

use crate::config::Source;
use crate::run::Plan;

/// Where weir tells about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Settings {
    /// Nowhere.
    #[default]
    Off,
    /// At [`default_socket`], if that can be had: without it weir serves all the same.
    Default,
    /// At this socket; `mode` says who may use it.
    Socket {
        /// Its file.
        path: PathBuf,
        /// Permissions of the file, 0 to 0o777.
        mode: u32,
    },
}

/// The mode of the default socket: for its owner only.
const OWNER: u32 = 0o600;

impl Settings {
    /// The socket's file and its mode.
    pub fn socket(&self, source: &Source) -> Option<(PathBuf, u32)> {
        match self {
            Settings::Off => None,
            Settings::Default => Some((default_socket(source), OWNER)),
            Settings::Socket { path, mode } => Some((path.clone(), *mode)),
        }
    }
}

/// Where it tells over TCP.
pub fn address(plan: &Plan) -> Option<SocketAddr> {
    plan.admin_tcp.as_ref().map(|tcp| tcp.address)
}

/// The sockets that a weir with this configuration may have, the likeliest first. It is told by the path with which weir
/// was started; a link to that is followed, too.
pub fn likely_sockets(source: &Source) -> Vec<PathBuf> {
    let mut sockets = vec![default_socket(source)];
    if let Source::Path(path) = source
        && let Ok(path) = fs::canonicalize(path)
    {
        sockets.push(default_socket(&Source::Path(path)));
        sockets.dedup();
    }
    sockets
}

/// A path from the root without `..`. Links in it stay: where they lead changes while weir runs.
fn whole(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            part => whole.push(part),
        }
    }
    whole
}

/// The socket of a configuration that names none: in `$XDG_RUNTIME_DIR/weir`, else `/run/weir` for root, else a folder
/// of the user's own where temporary files are. One that runs several configurations has a socket for each.
pub fn default_socket(source: &Source) -> PathBuf {
    let user = rustix::process::geteuid();
    let folder = match env::var_os("XDG_RUNTIME_DIR").filter(|folder| Path::new(folder).is_absolute()) {
        Some(folder) => Path::new(&folder).join("weir"),
        None if user.is_root() => PathBuf::from("/run/weir"),
        None => env::temp_dir().join(format!("weir-{}", user.as_raw())),
    };
    let name = match source {
        Source::Path(path) => {
            let path = whole(path);
            let stem = path.file_stem().unwrap_or(OsStr::new("weir")).to_string_lossy().into_owned();
            let digest = Sha256::digest(path.as_os_str().as_bytes());
            let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            // The name of a socket has some hundred bytes at most.
            let stem: String = stem.chars().filter(char::is_ascii_alphanumeric).take(20).collect();
            format!("{stem}-{digest}.sock")
        }
        Source::Embedded | Source::Text(_) => "demo.sock".to_owned(),
    };
    folder.join(name)
}

#[cfg(test)]
mod tests;
