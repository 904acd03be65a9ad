//! The folder of what was fetched: each file has its SHA-256 as its name.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{MOST, Pin};

/// The folder.
pub(super) struct Kept<'a>(&'a Path);

impl<'a> Kept<'a> {
    /// Makes it, if it is not there: nobody else may write into it.
    pub(super) fn open(folder: &'a Path) -> Result<Self, String> {
        let failed =
            |error: io::Error| format!("what is fetched cannot be kept in {}: {error}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let seen = fs::symlink_metadata(folder).map_err(failed)?;
        let user = rustix::process::geteuid().as_raw();
        match seen.is_dir() && seen.uid() == user && seen.mode() & 0o022 == 0 {
            true => Ok(Kept(folder)),
            false => Err(failed(io::Error::other("only the user that weir runs as may write there"))),
        }
    }

    /// The file with this SHA-256: the one that is here, if it is right, else what `fetch` comes to.
    pub(super) fn or_else(
        &self,
        pin: &Pin,
        ending: &str,
        fetch: impl FnOnce() -> Result<Vec<u8>, String>,
    ) -> Result<PathBuf, String> {
        let place = self.0.join(format!("{pin}.{ending}"));
        match read(&place) {
            Ok(bytes) if Pin::of(&bytes) == *pin => return Ok(place),
            Ok(_) => tracing::warn!("{} is not what it was: it is fetched again", place.display()),
            Err(_) => {}
        }
        let bytes = fetch()?;
        let has = Pin::of(&bytes);
        if has != *pin {
            return Err(format!("what came has the SHA-256 {has}, and {pin} is wanted"));
        }
        let written = NamedTempFile::new_in(self.0).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist(&place).map_err(|failed| failed.error)
        });
        written.map_err(|error| format!("{}: {error}", place.display()))?;
        Ok(place)
    }
}

/// What is in a file.
pub(super) fn read(place: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let failed = |error: io::Error| format!("{}: {error}", place.display());
    File::open(place).and_then(|file| file.take(MOST).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}
