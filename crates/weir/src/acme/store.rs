//! Files of accounts and certificates.
//!
//! A file is written beside its name, flushed, and then given the name in one step: whatever happens, under the name
//! is the old content or the new one. What a killed process left beside is removed at the next start. A certificate
//! and its key are one file, so that they cannot be of two orders.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::KeyPair;
use weir_core::spec::{Certificate, HostPattern};

use super::Wanted;
use crate::{certs, expiry};

/// Files that are being written begin with this.
const UNFINISHED: &str = ".unfinished-";
/// How many seconds clocks may differ.
const CLOCKS: u64 = 300;
/// More than a certificate with its chain and key has.
const ROOM: usize = 32 << 10;

/// Why the store does not do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system does not do it.
    #[error("{}: {action}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Another process has it.
    #[error("{}: another weir uses it, perhaps one that is about to end", .0.display())]
    Taken(PathBuf),
    /// A file is not what it should be.
    #[error("{0}")]
    Content(String),
}

impl StoreError {
    fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| StoreError::Io { path, action, source }
    }
}

/// A folder of certificates and keys, for this process alone as long as it lives.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    /// Locked.
    _lock: File,
}

impl Store {
    /// Opens a store, makes its folder if there is none, and removes what was not finished.
    ///
    /// # Errors
    /// When another process has it, or the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Store, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(StoreError::io(folder, "cannot be made"))?;
        let path = folder.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(StoreError::io(&path, "cannot be opened"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Taken(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(StoreError::io(&path, "cannot be locked")(error)),
        }
        let store = Store { folder: folder.to_owned(), _lock: lock };
        store.tidy().map_err(StoreError::io(folder, "cannot be tidied"))?;
        Ok(store)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn tidy(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Writes a file of this folder, for its owner only, if `check` finds it good: under its name is the old content
    /// or the new one, also after a crash.
    ///
    /// # Errors
    /// When it could not be written, or is not good; the old content is still there.
    pub fn write(
        &self,
        path: &Path,
        content: &[u8],
        check: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = self.folder.join(format!("{UNFINISHED}{name}"));
        let written = self.replace(path, &unfinished, content, check);
        if written.is_err() {
            // It may never have been made.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    fn replace(
        &self,
        path: &Path,
        unfinished: &Path,
        content: &[u8],
        check: impl FnOnce(&Path) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let failed = |action| StoreError::io(path, action);
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(unfinished);
        let mut file = file.map_err(failed("cannot be written"))?;
        file.write_all(content).map_err(failed("cannot be written"))?;
        file.sync_all().map_err(failed("cannot be written"))?;
        drop(file);
        check(unfinished)?;
        fs::rename(unfinished, path).map_err(failed("cannot be replaced"))?;
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(failed("cannot be kept for sure"))
    }

    /// Whether a certificate could be kept now. To be asked before an authority is: it signs only so many in a week.
    ///
    /// # Errors
    /// Why not.
    pub fn check_room(&self) -> Result<(), StoreError> {
        let probe = self.folder.join(format!("{UNFINISHED}probe"));
        let written = File::create(&probe).and_then(|mut file| {
            file.write_all(&[b' '; ROOM])?;
            file.sync_all()
        });
        // It may never have been made.
        let _ = fs::remove_file(&probe);
        written.map_err(StoreError::io(&self.folder, "nothing can be written there"))
    }

    /// The key of the account at an authority: kept from the first time on.
    ///
    /// # Errors
    /// When it cannot be read, or a new one not be written.
    pub fn account_key(&self, directory: &str) -> Result<KeyPair, StoreError> {
        let path = self.folder.join(format!("account-{}.key", super::short(&[directory])));
        let bad = |error: rcgen::Error| {
            StoreError::Content(format!(
                "{}: is not the key of an account ({error}); move it away, and a new account is made",
                path.display()
            ))
        };
        match fs::read_to_string(&path) {
            Ok(pem) => KeyPair::from_pem(&pem).map_err(bad),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = KeyPair::generate()
                    .map_err(|error| StoreError::Content(format!("no key can be made: {error}")))?;
                self.write(&path, key.serialize_pem().as_bytes(), |_| Ok(()))?;
                Ok(key)
            }
            Err(error) => Err(StoreError::io(&path, "cannot be read")(error)),
        }
    }

    /// Keeps a certificate chain with its key, PEM, if they are what is wanted.
    ///
    /// # Errors
    /// When they are not, or cannot be written; what was kept before still is.
    pub fn keep(&self, wanted: &Wanted, key: &str, chain: &str) -> Result<(), StoreError> {
        let content = format!("{}\n{chain}", key.trim_end());
        self.write(&wanted.file, content.as_bytes(), |written| {
            let problem = |problem| {
                StoreError::Content(format!("what the authority sent for {} {problem}", wanted.title()))
            };
            let certificate =
                certs::load_certificate(written, written).map_err(|error| problem(error.problem))?;
            if let Some(name) = missing(&certificate, wanted) {
                return Err(problem(format!("is not for {name}")));
            }
            match is_valid(&certificate) {
                true => Ok(()),
                false => Err(problem("is not valid now; perhaps the clock is wrong".to_owned())),
            }
        })
    }
}

/// What is kept of a certificate that is wanted.
#[derive(Debug)]
pub enum Kept {
    /// A certificate for all its names.
    Certificate(Certificate),
    /// Nothing yet.
    Nothing,
    /// The file cannot be read: why. A new certificate would not help.
    Unreadable(String),
    /// The file is no certificate for these names: why. A new one takes its place.
    Broken(String),
}

/// Looks what is kept. For any process: the store need not be open.
pub fn kept(wanted: &Wanted) -> Kept {
    let file = &wanted.file;
    match fs::read(file) {
        Ok(_) => {}
        // Neither the file, nor perhaps the folder.
        Err(error) if error.kind() == ErrorKind::NotFound => return Kept::Nothing,
        Err(error) => return Kept::Unreadable(format!("{} cannot be read: {error}", file.display())),
    }
    match certs::load_certificate(file, file) {
        Ok(certificate) => match missing(&certificate, wanted) {
            None => Kept::Certificate(certificate),
            Some(name) => Kept::Broken(format!("{} is not for {name}", file.display())),
        },
        Err(error) => Kept::Broken(format!("{} {}", file.display(), error.problem)),
    }
}

/// Certificates of the store that are for some of the names while what is wanted is not there, with their files: after a
/// name was added, those of before serve on. Of several for a name, the one that lasts longest.
pub fn stand_ins(wanted: &Wanted) -> Vec<(PathBuf, Certificate)> {
    let Some(entries) = wanted.file.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return Vec::new();
    };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        path.extension().is_some_and(|extension| extension == "pem") && *path != wanted.file && !hidden
    });
    let mut found: Vec<_> = files
        .filter_map(|file| {
            let certificate = certs::load_certificate(&file, &file).ok()?;
            let until = expiry::Certificate::read(certificate.key.cert.first()?)?.not_after;
            Some((until, file, certificate))
        })
        .collect();
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut left: Vec<&str> = wanted.names.iter().map(String::as_str).collect();
    let mut stand_ins = Vec::new();
    for (_, file, certificate) in found {
        let before = left.len();
        left.retain(|name| !has(&certificate, name));
        if left.len() < before {
            stand_ins.push((file, certificate));
        }
    }
    stand_ins
}

/// The first name that a certificate is not for.
fn missing<'a>(certificate: &Certificate, wanted: &'a Wanted) -> Option<&'a str> {
    wanted.names.iter().map(String::as_str).find(|name| !has(certificate, name))
}

/// Whether it is a certificate for this moment. An authority's clock may be ahead a little.
fn is_valid(certificate: &Certificate) -> bool {
    let read = certificate.key.cert.first().and_then(|leaf| expiry::Certificate::read(leaf));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    read.is_some_and(|read| read.not_before <= now + CLOCKS && now < read.not_after)
}

fn has(certificate: &Certificate, name: &str) -> bool {
    certificate.names.iter().any(|known| matches!(known, HostPattern::Exact(known) if **known == *name))
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
