//! Certificates from an authority that speaks ACME (RFC 8555), Let's Encrypt for example: asked for, kept on disk,
//! and renewed in time.
//!
//! A configuration names what is [`Wanted`]; listeners serve what is in the [`Store`], or a certificate made at the
//! start until there is one. One task on the control thread does all the asking, one order after the other; a
//! certificate that it has put into the store is served after a reload, which it asks for.
//!
//! In reading order: [`store`] (files that survive a kill at any moment), [`https`] (requests to the authority),
//! [`order`] (from an account to a certificate), [`schedule`] (when), [`task`] (one after the other).

pub mod https;
pub mod order;
pub mod schedule;
pub mod store;
pub mod task;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use store::Store;
pub use task::Renewals;

/// The certificates that a configuration wants, and from whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The URL of the authority's directory.
    pub directory: String,
    /// Whom the authority may write to, as URLs: `mailto:admin@example.com`.
    pub contact: Vec<String>,
    /// The folder where accounts and certificates are kept.
    pub store: PathBuf,
    /// Who may have signed the certificate of the authority's own server.
    pub roots: Arc<RootCertStore>,
    /// How the authority is shown that names lead here.
    pub challenge: Challenge,
    /// How long before its end a certificate is renewed; `None`: a third of its life.
    pub renew_before: Option<Duration>,
    /// What is wanted; each file once.
    pub wanted: Vec<Wanted>,
}

/// How an authority is shown that a name leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// By a request on port 80 (RFC 8555, section 8.3).
    Http,
    /// By a handshake on port 443 (RFC 8737).
    TlsAlpn,
}

/// One certificate that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its names, in lower case, in the order in which they are written.
    pub names: Vec<String>,
    /// Where it is kept, with its key.
    pub file: PathBuf,
}

impl Wanted {
    /// A certificate for these names from this authority.
    pub fn new(store: &Path, directory: &str, names: Vec<String>) -> Self {
        let mut sorted = names.clone();
        sorted.sort();
        let first = names.first().map_or("", String::as_str);
        let file = store.join(format!("{first}-{}.pem", short(&[directory, &sorted.join(" ")])));
        Wanted { names, file }
    }

    /// What it is called in a sentence.
    pub fn title(&self) -> String {
        self.names.join(", ")
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        self.directory == other.directory
            && self.contact == other.contact
            && self.store == other.store
            && self.roots.roots == other.roots.roots
            && self.challenge == other.challenge
            && self.renew_before == other.renew_before
            && self.wanted == other.wanted
    }
}

/// How it stands with a certificate that is wanted, for `weir status`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct State {
    /// Its names.
    pub names: Vec<String>,
    /// Where it is kept.
    pub file: String,
    /// Whether there is one. Else one that was made at the start is served.
    pub held: bool,
    /// When it is asked for next, in seconds since 1970.
    pub next: u64,
    /// Why it could not be had the last time.
    pub problem: Option<String>,
}

/// Eight hexadecimal digits that stand for texts.
fn short(texts: &[&str]) -> String {
    let digest = Sha256::digest(texts.join("\n").as_bytes());
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
