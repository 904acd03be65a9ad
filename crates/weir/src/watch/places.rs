//! Which entries of which folders matter.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Component, Path, PathBuf};

use notify::EventKind;
use notify::event::ModifyKind;

use crate::config::inputs::{Inputs, Listing, matters};

/// The most links on the way to a file, as in the kernel.
const LINKS: usize = 40;

/// Which entries of which folders matter. Folders are without links.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<PathBuf, Entries>);

/// Entries of a folder.
#[derive(Debug, Default)]
struct Entries {
    /// By name: the input on whose way this entry is.
    named: BTreeMap<OsString, PathBuf>,
    /// All of a kind, and the folder's own name as it was written.
    listed: Vec<(Listing, PathBuf)>,
}

impl Places {
    /// Those on the way to these inputs.
    pub(super) fn of(inputs: &[Inputs]) -> Self {
        let mut places = Places::default();
        for path in inputs.iter().flat_map(Inputs::files) {
            places.add(path);
        }
        for (path, listing) in inputs.iter().flat_map(Inputs::folders) {
            places.add(path);
            if let Ok(folder) = fs::canonicalize(path) {
                let listed = &mut places.0.entry(folder).or_default().listed;
                if !listed.iter().any(|(known, _)| *known == listing) {
                    listed.push((listing, path.to_path_buf()));
                }
            }
        }
        places
    }

    /// The folders.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        self.0.keys().cloned().collect()
    }

    /// The input that a change of this path may be a change of, as it was written.
    pub(super) fn find(&self, path: &Path, kind: &EventKind) -> Option<PathBuf> {
        // The folder itself is gone.
        if let Some(entries) = self.0.get(path)
            && matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
        {
            return entries.any();
        }
        let (entries, name) = (self.0.get(path.parent()?)?, path.file_name()?);
        if let Some(input) = entries.named.get(name) {
            return Some(input.clone());
        }
        let listed = entries.listed.iter().find(|(listing, _)| matters(*listing, name))?;
        Some(listed.1.join(name))
    }

    /// Any input.
    pub(super) fn any(&self) -> Option<PathBuf> {
        self.0.values().find_map(Entries::any)
    }

    /// The entry itself, each link on the way to it, and where the way ends if it is not there.
    fn add(&mut self, input: &Path) {
        let Ok(path) = std::path::absolute(input) else { return };
        let mut here = PathBuf::from("/");
        let mut last = None;
        let mut links = 0;
        let mut rest: Vec<OsString> = parts(&path);
        while let Some(part) = rest.pop() {
            if part == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&part);
            match fs::symlink_metadata(&next) {
                Ok(meta) if meta.is_symlink() && links < LINKS => {
                    links += 1;
                    self.name(&here, &part, input);
                    let Ok(target) = fs::read_link(&next) else { return };
                    if target.is_absolute() {
                        here = PathBuf::from("/");
                    }
                    rest.extend(parts(&target));
                    last = None;
                }
                Ok(_) => {
                    last = Some((here, part));
                    here = next;
                }
                Err(_) => {
                    self.name(&here, &part, input);
                    return;
                }
            }
        }
        if let Some((folder, name)) = last {
            self.name(&folder, &name, input);
        }
    }

    fn name(&mut self, folder: &Path, name: &OsStr, input: &Path) {
        let named = &mut self.0.entry(folder.to_path_buf()).or_default().named;
        named.entry(name.to_owned()).or_insert_with(|| input.to_path_buf());
    }
}

impl Entries {
    fn any(&self) -> Option<PathBuf> {
        self.named.values().next().or(self.listed.first().map(|(_, folder)| folder)).cloned()
    }
}

/// The parts of a path, the first as the last.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use notify::event::{CreateKind, DataChange, RemoveKind};

    use super::*;
    use crate::config::inputs::Kind;

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));

    #[test]
    fn links_on_the_way_matter_and_neighbours_do_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("it is there");
        fs::create_dir_all(root.join("mount/..one")).expect("a folder");
        fs::write(root.join("mount/..one/weir.toml"), "").expect("a file");
        symlink("..one", root.join("mount/..data")).expect("a link");
        symlink("..data/weir.toml", root.join("mount/weir.toml")).expect("a link");
        symlink("mount", root.join("config")).expect("a link");
        let written = root.join("config/weir.toml");
        let mut inputs = Inputs::default();
        inputs.file(&written, Kind::Config, Some(b""));
        inputs.file(&root.join("missing/key.pem"), Kind::Certificate, None);
        let places = Places::of(&[inputs]);
        assert_eq!(places.folders(), [root.clone(), root.join("mount"), root.join("mount/..one")].into());
        for (path, matters) in [
            ("config", true),
            ("mount/weir.toml", true),
            ("mount/..data", true),
            ("mount/..one/weir.toml", true),
            ("missing", true),
            ("mount/.weir.toml.swp", false),
            ("mount/access.log", false),
            ("mount/..two", false),
            ("other/weir.toml", false),
        ] {
            assert_eq!(places.find(&root.join(path), &WRITTEN).is_some(), matters, "{path}");
        }
        let gone = EventKind::Remove(RemoveKind::Folder);
        assert_eq!(places.find(&root.join("mount/..one"), &gone), Some(written));
        assert_eq!(places.find(&root.join("mount/..one"), &EventKind::Create(CreateKind::Folder)), None);
    }

    #[test]
    fn folders_list_what_may_be_read() {
        for (listing, name, expected) in [
            (Listing::Configs, "b.toml", true),
            (Listing::Configs, "b.toml~", false),
            (Listing::Configs, ".b.toml", false),
            (Listing::Scripts, "lib", true),
            (Listing::Scripts, "a.lua", true),
            (Listing::Scripts, "a_test.lua", false),
            (Listing::Tests, "a_test.lua", true),
            (Listing::Scripts, "a.lua.swp", false),
            (Listing::Tests, ".git", false),
        ] {
            assert_eq!(matters(listing, OsStr::new(name)), expected, "{name}");
        }
    }
}
