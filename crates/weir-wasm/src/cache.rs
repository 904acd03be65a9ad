//! Compiled components on disk, in a folder that is weir's alone: they are native code.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::{code, engine};

/// The most compiled components that are kept: the ones that were written last.
const MOST: usize = 64;
/// What takes longer than this to compile is told of.
const SLOW: Duration = Duration::from_secs(1);
/// How files of it end.
const ENDING: &str = "cwasm";

/// Compiles a component, or finds it compiled in the cache. Takes seconds where it is large and not there.
///
/// # Errors
/// What is wrong with the component.
pub(crate) fn compile(
    engine: &Engine,
    plugin: &str,
    bytes: &[u8],
    folder: Option<&Path>,
) -> wasmtime::Result<Component> {
    let place = folder.and_then(|folder| match is_ours(folder) {
        Ok(()) => Some(folder.join(format!("{}.{ENDING}", engine::key(engine, bytes)))),
        Err(error) => {
            let folder = folder.display();
            tracing::warn!(plugin, "compiled components are not kept in {folder}: {error}");
            None
        }
    });
    if let Some(place) = place.as_deref().filter(|place| place.exists()) {
        match code::load(engine, place) {
            Ok(component) => return Ok(component),
            Err(error) => tracing::warn!(plugin, "{} is compiled again: {error:#}", place.display()),
        }
    }
    let begin = Instant::now();
    let component = Component::new(engine, bytes)?;
    let (took, bytes) = (begin.elapsed(), bytes.len());
    match took > SLOW {
        true => {
            tracing::info!(plugin, bytes, ?took, "compiled")
        }
        false => tracing::debug!(plugin, bytes, ?took, "compiled"),
    }
    if let Some(place) = place
        && let Err(error) =
            component.serialize().map_err(io::Error::other).and_then(|code| store(&place, &code))
    {
        tracing::warn!(plugin, "the compiled component was not kept: {error}");
    }
    Ok(component)
}

/// Makes the folder, if it is not there. Whether only the user of this process gets at it.
fn is_ours(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let seen = fs::symlink_metadata(folder)?;
    let user = rustix::process::geteuid().as_raw();
    if !seen.is_dir() || seen.uid() != user {
        return Err(io::Error::other("it is no folder of the user that weir runs as"));
    }
    if seen.mode() & 0o077 != 0 {
        return Err(io::Error::other("others may read or write it: its mode must be 0700"));
    }
    Ok(())
}

/// Writes a file whole or not at all, and lets go of the oldest.
fn store(place: &Path, code: &[u8]) -> io::Result<()> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let new = place.with_extension(format!("{}-{number}.new", std::process::id()));
    let written = write(&new, code).and_then(|()| fs::rename(&new, place));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written?;
    if let Some(folder) = place.parent() {
        tidy(folder)?;
    }
    Ok(())
}

fn write(new: &Path, code: &[u8]) -> io::Result<()> {
    let mut file: File = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
    file.write_all(code)?;
    file.sync_all()
}

/// Removes the oldest files where there are too many. One that is mapped lives on without a name.
fn tidy(folder: &Path) -> io::Result<()> {
    let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == ENDING || ending == "new")
            && let Some(seen) = gone(fs::metadata(&path))?
        {
            files.push((seen.modified()?, path));
        }
    }
    files.sort();
    let surplus = files.len().saturating_sub(MOST);
    files.iter().take(surplus).try_for_each(|(_, path)| gone(fs::remove_file(path)).map(drop))
}

/// Another weir may have removed it at the same time.
fn gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn files(folder: &Path) -> Vec<PathBuf> {
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect()
    }

    #[test]
    fn what_was_compiled_is_found_again() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("a/b");
        let engine = Engine::default();
        compile(&engine, "test", COMPONENT, Some(&folder)).expect("it is one");
        let [file] = files(&folder).try_into().expect("one file");
        assert_eq!(fs::metadata(&folder).expect("a folder").mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&file).expect("a file").mode() & 0o777, 0o600);
        let before = fs::metadata(&file).expect("a file").ino();
        compile(&engine, "test", COMPONENT, Some(&folder)).expect("it is there");
        assert_eq!(fs::metadata(&file).expect("a file").ino(), before, "it was not compiled again");
        fs::write(&file, b"what is no code").expect("it is written");
        compile(&engine, "test", COMPONENT, Some(&folder)).expect("it is compiled again");
        assert_ne!(fs::read(&file).expect("a file"), b"what is no code");
    }

    #[test]
    fn a_folder_of_others_is_left_alone() {
        let root = tempfile::tempdir().expect("a folder");
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        assert!(is_ours(root.path()).is_err_and(|error| error.to_string().contains("0700")));
        let link = root.path().join("link");
        std::os::unix::fs::symlink("/", &link).expect("a link");
        assert!(is_ours(&link).is_err());
        compile(&Engine::default(), "test", COMPONENT, Some(root.path())).expect("it is compiled");
        assert_eq!(files(root.path()), [link]);
    }

    #[test]
    fn the_oldest_go() {
        let root = tempfile::tempdir().expect("a folder");
        for i in 0..MOST + 3 {
            store(&root.path().join(format!("{i:03}.{ENDING}")), b"").expect("it is written");
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(i as u64);
            let file = File::open(root.path().join(format!("{i:03}.{ENDING}"))).expect("a file");
            file.set_modified(time).expect("it is set");
        }
        let left = files(root.path());
        assert_eq!(left.len(), MOST);
        assert!(!left.contains(&root.path().join(format!("000.{ENDING}"))));
    }
}
