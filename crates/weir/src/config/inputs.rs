//! What a configuration was read from: files and folders, and what was in them. They are watched for changes, and a
//! configuration whose inputs are what they were is not read into anything new.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::assemble::plugins::COMPONENT;

/// The SHA-256 of something that was read.
pub type Digest = [u8; 32];

/// The name of the authorities of the system among what is no file.
pub const SYSTEM_AUTHORITIES: &str = "authorities of the system";

/// The most that is read of a file to see whether it is what it was.
const LARGEST: u64 = 64 << 20;
/// How deep folders of scripts are looked through.
const DEPTH: usize = 8;

/// What a file is to a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Part of the configuration itself.
    Config,
    /// A certificate or a key.
    Certificate,
    /// Authorities, a list of revoked certificates.
    Authority,
    /// A secret of a plugin.
    Secret,
    /// A script.
    Script,
    /// Tests of a script.
    Test,
    /// Anything else: error pages and other answers.
    Other,
}

/// Which files of a folder matter, whether they were there or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listing {
    /// `*.toml`.
    Configs,
    /// Scripts, and folders with scripts.
    Scripts,
    /// The same with tests of scripts.
    Tests,
}

/// What was in a file, `None` where it could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Content {
    kind: Kind,
    digest: Option<Digest>,
}

/// Everything that a configuration was read from, also where that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    files: BTreeMap<PathBuf, Content>,
    folders: BTreeMap<PathBuf, Listing>,
    /// What there was in them.
    listed: BTreeMap<PathBuf, BTreeSet<OsString>>,
    /// What is no file: texts, what the system has.
    other: BTreeMap<&'static str, Digest>,
}

impl Inputs {
    /// The folders and files of plugins at these paths, with their tests, and the plugin that is tested by them instead.
    pub fn tests(paths: &[PathBuf], plugin: Option<&Path>) -> Self {
        let mut inputs = Inputs::default();
        if let Some(plugin) = plugin.filter(|plugin| plugin.is_file()) {
            inputs.file_to_read(plugin, Kind::Script);
        }
        for path in paths {
            match path.is_dir() {
                true => inputs.folder(path, Listing::Tests),
                // A script and its tests lie beside each other.
                false => {
                    inputs.folder(parent(path), Listing::Tests);
                    inputs.file_to_read(path, Kind::Test);
                }
            }
        }
        inputs
    }

    /// A file that was read, and what was in it; `None` where it could not be read. Of a file that is read again the
    /// first content counts: another one is a change.
    pub fn file(&mut self, path: &Path, kind: Kind, content: Option<&[u8]>) {
        let digest = content.map(|content| Sha256::digest(content).into());
        self.files.entry(path.to_path_buf()).or_insert(Content { kind, digest });
    }

    /// A file that is read next by somebody else. What is in it now is what counts: if it changes in between, that is
    /// told as a change.
    pub fn file_to_read(&mut self, path: &Path, kind: Kind) {
        if !self.files.contains_key(path) {
            self.files.insert(path.to_path_buf(), Content { kind, digest: digest(path) });
        }
    }

    /// A folder whose files of a kind were looked for, and for scripts the folders in it.
    pub fn folder(&mut self, path: &Path, listing: Listing) {
        self.folder_to(path, listing, DEPTH);
    }

    fn folder_to(&mut self, path: &Path, listing: Listing, depth: usize) {
        self.folders.insert(path.to_path_buf(), listing);
        self.listed.insert(path.to_path_buf(), names(path, listing));
        if listing == Listing::Configs || depth == 0 {
            return;
        }
        let component = path.join(COMPONENT);
        if component.symlink_metadata().is_ok() {
            // What else is in there is for whoever builds it, and may be a lot.
            self.file_to_read(&component, Kind::Script);
            return;
        }
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let inside = entry.path();
            if !hidden && inside.is_dir() {
                self.folder_to(&inside, listing, depth - 1);
            }
        }
    }

    /// Something that is no file.
    pub fn other(&mut self, what: &'static str, content: &[u8]) {
        self.other.insert(what, Sha256::digest(content).into());
    }

    /// The files, whether they could be read or not.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// The folders, and which of their files matter.
    pub fn folders(&self) -> impl Iterator<Item = (&Path, Listing)> {
        self.folders.iter().map(|(path, listing)| (path.as_path(), *listing))
    }

    /// One value for all that was read: the same for two configurations that were read from the same.
    pub fn digest(&self) -> Digest {
        self.digest_of(|_| true)
    }

    /// The same for all that serves: tests only prove it.
    pub fn digest_of_served(&self) -> Digest {
        self.digest_of(|kind| kind != Kind::Test)
    }

    /// The same without certificates and authorities.
    pub fn digest_but_certificates(&self) -> Digest {
        self.digest_of(|kind| !matches!(kind, Kind::Certificate | Kind::Authority))
    }

    /// The same for what somebody has written: certificates, authorities and secrets are replaced by themselves.
    pub fn digest_of_written(&self) -> Digest {
        self.digest_of(|kind| !matches!(kind, Kind::Certificate | Kind::Authority | Kind::Secret))
    }

    /// A file of these that is read again: what is in it now is what counts.
    pub fn read_anew(&mut self, path: &Path) {
        if let Some(content) = self.files.get_mut(path) {
            content.digest = digest(path);
        }
    }

    fn digest_of(&self, counts: impl Fn(Kind) -> bool) -> Digest {
        let mut whole = Sha256::new();
        let mut part = |bytes: &[u8]| {
            whole.update((bytes.len() as u64).to_be_bytes());
            whole.update(bytes);
        };
        for (path, content) in self.files.iter().filter(|(_, content)| counts(content.kind)) {
            part(path.as_os_str().as_encoded_bytes());
            part(content.digest.as_ref().map_or(&[], |digest| &digest[..]));
        }
        let counted = |what: &str| what != SYSTEM_AUTHORITIES || counts(Kind::Authority);
        for (what, digest) in self.other.iter().filter(|(what, _)| counted(what)) {
            part(what.as_bytes());
            part(digest);
        }
        whole.finalize().into()
    }

    /// Files of this kind that are not what they were in `old`, by path.
    pub fn changed<'a>(&'a self, old: &'a Inputs, kind: Kind) -> Vec<&'a Path> {
        let of_kind =
            |inputs: &'a Inputs| inputs.files.iter().filter(move |(_, content)| content.kind == kind);
        let mut paths: Vec<&Path> = of_kind(self)
            .filter(|(path, content)| old.files.get(*path).is_none_or(|was| was.digest != content.digest))
            .chain(of_kind(old).filter(|(path, _)| !self.files.contains_key(*path)))
            .map(|(path, _)| path.as_path())
            .collect();
        paths.sort();
        paths
    }

    /// A file that is not what it was when it was read, or a folder with other entries.
    pub fn stale(&self) -> Option<&Path> {
        self.files
            .iter()
            .find(|(path, content)| digest(path) != content.digest)
            .map(|(path, _)| path.as_path())
            .or_else(|| {
                let is_other = |(path, listing): &(&Path, Listing)| {
                    self.listed.get(*path) != Some(&names(path, *listing))
                };
                self.folders().find(is_other).map(|(path, _)| path)
            })
    }
}

/// Whether an entry of a folder may be one that is looked for. Hidden ones are never; editors name their temporary files
/// otherwise.
pub fn matters(listing: Listing, name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    if bytes.starts_with(b".") {
        return false;
    }
    match listing {
        Listing::Configs => bytes.ends_with(b".toml"),
        // What has no extension may be a folder.
        Listing::Scripts => {
            !bytes.contains(&b'.') || bytes.ends_with(b".lua") && !bytes.ends_with(b"_test.lua")
        }
        Listing::Tests => !bytes.contains(&b'.') || bytes.ends_with(b".lua"),
    }
}

/// The entries of a folder that are looked for.
fn names(folder: &Path, listing: Listing) -> BTreeSet<OsString> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).filter(|name| matters(listing, name)).collect()
}

/// The folder of a path.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What is in a file now. Pipes and devices are not read: that would take away what is in them.
fn digest(path: &Path) -> Option<Digest> {
    if !fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    File::open(path).ok()?.take(LARGEST).read_to_end(&mut content).ok()?;
    Some(Sha256::digest(&content).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_makes_the_digest() {
        let of = |content: Option<&[u8]>| {
            let mut inputs = Inputs::default();
            inputs.file(Path::new("a"), Kind::Config, content);
            inputs
        };
        assert_eq!(of(Some(b"1")).digest(), of(Some(b"1")).digest());
        for other in [of(Some(b"2")), of(None), Inputs::default()] {
            assert_ne!(of(Some(b"1")).digest(), other.digest());
        }
        let mut twice = of(Some(b"1"));
        twice.file(Path::new("a"), Kind::Config, Some(b"2"));
        assert_eq!(twice, of(Some(b"1")), "the first content counts");
        let (one, two) = (of(Some(b"1")), of(Some(b"2")));
        assert_eq!(two.changed(&one, Kind::Config), [Path::new("a")]);
        assert!(two.changed(&one, Kind::Script).is_empty() && one.changed(&one, Kind::Config).is_empty());
        assert_eq!(Inputs::default().changed(&one, Kind::Config), [Path::new("a")]);
    }

    #[test]
    fn tests_count_as_read_and_do_not_serve() {
        let of = |test: &[u8]| {
            let mut inputs = Inputs::default();
            inputs.file(Path::new("a.lua"), Kind::Script, Some(b"return {}"));
            inputs.file(Path::new("a_test.lua"), Kind::Test, Some(test));
            inputs
        };
        assert_ne!(of(b"1").digest(), of(b"2").digest());
        assert_eq!(of(b"1").digest_of_served(), of(b"2").digest_of_served());
    }

    #[test]
    fn what_is_replaced_by_itself_is_not_written() {
        let of = |certificate: &[u8], secret: &[u8]| {
            let mut inputs = Inputs::default();
            inputs.file(Path::new("weir.toml"), Kind::Config, Some(b""));
            inputs.file(Path::new("a.pem"), Kind::Certificate, Some(certificate));
            inputs.file(Path::new("token"), Kind::Secret, Some(secret));
            inputs.other(SYSTEM_AUTHORITIES, certificate);
            inputs
        };
        let (old, renewed, rotated) = (of(b"1", b"1"), of(b"2", b"1"), of(b"1", b"2"));
        assert_eq!(old.digest_but_certificates(), renewed.digest_but_certificates());
        assert_ne!(old.digest_but_certificates(), rotated.digest_but_certificates());
        assert_eq!(old.digest_of_written(), renewed.digest_of_written());
        assert_eq!(old.digest_of_written(), rotated.digest_of_written());
        assert_ne!(old.digest(), renewed.digest());
        let mut other = of(b"1", b"1");
        other.file(Path::new("b.toml"), Kind::Config, Some(b""));
        assert_ne!(old.digest_of_written(), other.digest_of_written());
    }

    #[test]
    fn a_file_that_has_another_content_is_stale() {
        let folder = tempfile::tempdir().expect("a folder");
        let (there, missing) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&there, "1").expect("it can be written");
        let mut inputs = Inputs::default();
        inputs.file_to_read(&there, Kind::Certificate);
        inputs.file_to_read(&missing, Kind::Certificate);
        assert_eq!(inputs.stale(), None);
        fs::write(&missing, "").expect("it can be written");
        assert_eq!(inputs.stale(), Some(missing.as_path()));
        fs::remove_file(&missing).expect("it is there");
        fs::write(&there, "2").expect("it can be written");
        assert_eq!(inputs.stale(), Some(there.as_path()));
    }
}
