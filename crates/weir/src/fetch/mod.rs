//! Plugins that are named by a URL: fetched once, checked against what they are pinned to, and kept in a folder.
//!
//! All of it blocks whoever asks, who is where configurations are read. What is kept has its SHA-256 as its name, and is checked
//! each time: what is there and right is never asked for again.
//!
//! In reading order: [`Reference`] (what a URL names), `kept` (the folder), `http_client` (one request), `registry` (the pull of the OCI
//! distribution specification).

use std::cell::LazyCell;
use std::fmt;
use std::path::{Path, PathBuf};

use http::Uri;
use sha2::{Digest as _, Sha256};

mod http_client;
mod kept;
mod registry;
#[cfg(test)]
mod tests;

use http_client::Client;
use kept::Kept;

/// The most bytes of a plugin that is fetched.
const MOST: u64 = 64 << 20;

/// A SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin(String);

impl Pin {
    /// Of 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Pin> {
        let is_one = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then(|| Pin(text.to_ascii_lowercase()))
    }

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Pin {
        Pin(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// A file of a web server.
    Web(Uri),
    /// An artifact of an OCI registry.
    Artifact(Artifact),
}

/// An artifact of an OCI registry, as `oci://registry/repository:tag@sha256:digest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    registry: String,
    repository: String,
    /// Without a digest it is what is fetched; with one it is for whoever reads it.
    tag: Option<String>,
    /// Of the manifest.
    digest: Option<Pin>,
}

impl Reference {
    /// What a text names, where it is a URL that begins as those do that can be fetched.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Reference, String> {
        if let Some(name) = text.strip_prefix("oci://") {
            return Artifact::parse(name).map(Reference::Artifact);
        }
        let uri: Uri = text.parse().map_err(|error| format!("this is no URL: {error}"))?;
        let authority = uri.authority().ok_or("a URL is wanted, with its host")?;
        if authority.as_str().contains('@') {
            return Err("a URL has no user and no password: they are `credentials`".to_owned());
        }
        match uri.scheme_str() {
            Some("https") => Ok(Reference::Web(uri)),
            Some("http") if is_loopback(authority.host()) => Ok(Reference::Web(uri)),
            Some("http") => {
                Err("what is fetched by http anybody on the way can read: https is wanted".to_owned())
            }
            _ => Err("a plugin is fetched by `https://` or `oci://`".to_owned()),
        }
    }

    /// Whether a text is a URL and no path.
    pub fn is_one(text: &str) -> bool {
        text.contains("://")
    }

    /// Whether it says by itself which bytes it is: a digest of a registry.
    pub fn is_pinned(&self) -> bool {
        matches!(self, Reference::Artifact(Artifact { digest: Some(_), .. }))
    }

    /// Whether it is a script, which is a file that ends as scripts do.
    pub fn is_script(&self) -> bool {
        matches!(self, Reference::Web(uri) if uri.path().ends_with(".lua"))
    }

    /// How its file ends.
    fn ending(&self) -> &'static str {
        if self.is_script() { "lua" } else { "wasm" }
    }
}

impl Artifact {
    fn parse(name: &str) -> Result<Artifact, String> {
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.strip_prefix("sha256:").and_then(Pin::parse);
                (name, Some(digest.ok_or("behind `@` there is `sha256:` and 64 hexadecimal digits")?))
            }
            None => (name, None),
        };
        let (registry, path) = name
            .split_once('/')
            .ok_or("a registry and a repository are wanted: `oci://ghcr.io/name/plugin`")?;
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        // As the distribution specification has them.
        let is_part = |part: &str| {
            let is_good =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
            !part.is_empty() && part.bytes().all(is_good) && !part.starts_with(['.', '-', '_'])
        };
        if registry.parse::<http::uri::Authority>().is_err() || registry.contains('@') {
            return Err(format!(
                "`{registry}` is no registry: its host is wanted, with a port if it has one"
            ));
        }
        if !repository.split('/').all(is_part) {
            return Err(format!(
                "`{repository}` is no repository: lower-case letters and digits, with `/`, `.`, `_`, `-`"
            ));
        }
        let is_tag = |tag: &str| {
            let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            (1..=128).contains(&tag.len()) && tag.bytes().all(is_good) && !tag.starts_with(['.', '-'])
        };
        if let Some(tag) = tag.as_deref().filter(|tag| !is_tag(tag)) {
            return Err(format!("`{tag}` is no tag"));
        }
        Ok(Artifact { registry: registry.to_owned(), repository: repository.to_owned(), tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Web(uri) => uri.fmt(f),
            Reference::Artifact(artifact) => {
                write!(f, "oci://{}/{}", artifact.registry, artifact.repository)?;
                if let Some(tag) = &artifact.tag {
                    write!(f, ":{tag}")?;
                }
                artifact.digest.iter().try_for_each(|digest| write!(f, "@sha256:{digest}"))
            }
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The file of the plugin that a reference names, which is in `folder` then. `pin` is the SHA-256 that is wanted of it, which a
/// reference that is pinned itself need not have. `credentials` are a user and a password, as `user:password`.
///
/// # Errors
/// Why it cannot be had: nothing was kept then.
pub fn fetch(
    reference: &Reference,
    pin: Option<&Pin>,
    credentials: Option<&str>,
    folder: &Path,
) -> Result<PathBuf, String> {
    let kept = Kept::open(folder)?;
    // Made where something is asked for: it reads the authorities of the system.
    let client = LazyCell::new(|| Client::new(credentials));
    let artifact = match reference {
        Reference::Web(uri) => {
            let pin = pin.ok_or("what it must be is not said")?;
            return kept.or_else(pin, reference.ending(), || client.get(&uri.to_string(), MOST));
        }
        Reference::Artifact(artifact) => artifact,
    };
    let digest = artifact.digest.as_ref().ok_or("what it must be is not said")?;
    let manifest = kept.or_else(digest, "json", || registry::manifest(&client, artifact))?;
    let layer = registry::layer(&kept::read(&manifest)?)?;
    if let Some(pin) = pin.filter(|pin| **pin != layer) {
        return Err(format!("the file of {reference} has the SHA-256 {layer}, and `sha256` is {pin}"));
    }
    kept.or_else(&layer, reference.ending(), || registry::blob(&client, artifact, &layer))
}

/// What a reference names now, and how a configuration says so.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub bytes: Vec<u8>,
    /// With its digest, where it is of a registry.
    pub pinned: Reference,
}

/// Fetches what a reference names now, and keeps nothing.
///
/// # Errors
/// Why it cannot be had.
pub fn look(reference: &Reference) -> Result<Found, String> {
    let client = Client::new(None);
    match reference {
        Reference::Web(uri) => {
            Ok(Found { bytes: client.get(&uri.to_string(), MOST)?, pinned: reference.clone() })
        }
        Reference::Artifact(artifact) => {
            let manifest = registry::manifest(&client, artifact)?;
            let digest = Some(Pin::of(&manifest));
            let layer = registry::layer(&manifest)?;
            let bytes = registry::blob(&client, artifact, &layer)?;
            Ok(Found { bytes, pinned: Reference::Artifact(Artifact { digest, ..artifact.clone() }) })
        }
    }
}
