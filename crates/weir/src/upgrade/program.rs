//! The program that is started for an upgrade.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What this process was started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Where it is found. A link that was used stays one: a deployment may have pointed it elsewhere since.
    pub path: PathBuf,
    /// Its arguments, without its name.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// This process. To be called at the start: later its file may be gone.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn this() -> io::Result<Program> {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let path = as_started(Path::new(&name), env::var_os("PATH"), &env::current_exe()?);
        Ok(Program { path, arguments: arguments.collect() })
    }
}

/// The path by which a program was started, where it leads to `exe`; else `exe`.
fn as_started(name: &Path, folders: Option<OsString>, exe: &Path) -> PathBuf {
    let is_this = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|path| path == exe);
    let found = match name.as_os_str().as_bytes().contains(&b'/') {
        true => std::path::absolute(name).ok().filter(is_this),
        false => env::split_paths(&folders.unwrap_or_default())
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(is_this),
    };
    found.unwrap_or_else(|| exe.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_the_path_that_it_was_started_by() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let exe = fs::canonicalize(folder.path()).expect("it is there").join("weir-1");
        fs::write(&exe, "").expect("a file");
        std::os::unix::fs::symlink("weir-1", at("weir")).expect("a link");
        let check = |name: &Path, folders: &Path, expected: &Path| {
            assert_eq!(as_started(name, Some(folders.into()), &exe), expected, "{name:?}");
        };
        check(&at("weir"), Path::new("/"), &at("weir"));
        check(&at("weir-1"), Path::new("/"), &at("weir-1"));
        check(Path::new("weir"), folder.path(), &at("weir"));
        // A name that somebody made up, and one that is found nowhere.
        check(&at("other"), folder.path(), &exe);
        check(Path::new("weir"), Path::new("/nowhere"), &exe);
    }
}
