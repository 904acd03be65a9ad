//! Where logs are written to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Output;

/// What the writer of a log writes to.
pub trait Destination: Write + Send {
    /// Opens the file anew if it is no longer the one at its path, or in any case if `force` is set. A no-op
    /// where there is no path.
    ///
    /// # Errors
    /// When it cannot be opened; the old one is written to further.
    fn refresh(&mut self, force: bool) -> io::Result<()>;
}

/// A standard stream, unbuffered.
struct Standard(File);

/// A file at a path.
struct LogFile {
    path: PathBuf,
    file: File,
    /// Device and inode of `file`.
    id: (u64, u64),
}

impl Output {
    /// Opens it.
    ///
    /// # Errors
    /// When the file cannot be made or opened for appending; the path is named.
    pub fn open(&self) -> io::Result<Box<dyn Destination>> {
        Ok(match self {
            Output::Stdout => Box::new(Standard(io::stdout().as_fd().try_clone_to_owned()?.into())),
            Output::Stderr => Box::new(Standard(io::stderr().as_fd().try_clone_to_owned()?.into())),
            Output::File(path) => Box::new(LogFile::open(path)?),
        })
    }
}

impl LogFile {
    fn open(path: &Path) -> io::Result<LogFile> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot open {}: {e}", path.display()));
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path).map_err(named)?;
        let id = identity(&file.metadata().map_err(named)?);
        Ok(LogFile { path: path.to_owned(), file, id })
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Destination for LogFile {
    fn refresh(&mut self, force: bool) -> io::Result<()> {
        let moved = match fs::metadata(&self.path) {
            Ok(metadata) => identity(&metadata) != self.id,
            Err(e) => e.kind() == ErrorKind::NotFound,
        };
        if force || moved {
            *self = LogFile::open(&self.path)?;
        }
        Ok(())
    }
}

impl Destination for Standard {
    fn refresh(&mut self, _force: bool) -> io::Result<()> {
        Ok(())
    }
}

impl Write for LogFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Write for Standard {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).expect("a log file")
    }

    #[test]
    fn a_renamed_or_removed_file_is_opened_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let mut log = Output::File(path.clone()).open().expect("it opens");
        log.write_all(b"one\n").expect("room");
        log.refresh(false).expect("the same file");
        log.write_all(b"two\n").expect("room");
        fs::rename(&path, &old).expect("rename");
        log.write_all(b"three\n").expect("room");
        log.refresh(false).expect("a new file");
        log.write_all(b"four\n").expect("room");
        assert_eq!((read(&old).as_str(), read(&path).as_str()), ("one\ntwo\nthree\n", "four\n"));
        fs::remove_file(&path).expect("remove");
        log.refresh(false).expect("a new file");
        log.write_all(b"five\n").expect("room");
        assert_eq!(read(&path), "five\n");
    }

    #[test]
    fn a_file_put_in_its_place_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, fresh) = (folder.path().join("access.log"), folder.path().join("fresh"));
        let mut log = Output::File(path.clone()).open().expect("it opens");
        fs::write(&fresh, "made by logrotate\n").expect("write");
        fs::rename(&fresh, &path).expect("rename");
        log.refresh(false).expect("the new file");
        log.write_all(b"one\n").expect("room");
        assert_eq!(read(&path), "made by logrotate\none\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_anew_leaves_the_old_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (logs, old) = (folder.path().join("logs"), folder.path().join("old"));
        fs::create_dir(&logs).expect("mkdir");
        let mut log = Output::File(logs.join("access.log")).open().expect("it opens");
        fs::rename(&logs, &old).expect("rename");
        let error = log.refresh(false).expect_err("the folder is gone").to_string();
        assert!(error.contains("access.log"), "{error}");
        log.write_all(b"kept\n").expect("room");
        assert_eq!(read(&old.join("access.log")), "kept\n");
    }
}
