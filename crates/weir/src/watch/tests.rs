//! Real files, real events.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::config::inputs::Kind;

/// Over it a test has failed.
const LONG: Duration = Duration::from_secs(30);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    runtime.block_on(async { tokio::time::timeout(LONG, future).await.expect("in time") })
}

fn read(paths: &[&Path]) -> Inputs {
    let mut inputs = Inputs::default();
    for path in paths {
        inputs.file(path, Kind::Config, fs::read(path).ok().as_deref());
    }
    inputs
}

#[test]
fn saves_of_every_kind_are_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weir.toml");
    let new = folder.path().join("sedX1");
    let saves: [(&str, &dyn Fn()); 5] = [
        ("written", &|| fs::write(&path, "1").expect("it can be written")),
        ("renamed over, as sed -i does", &|| {
            fs::write(&new, "2").expect("it can be written");
            fs::rename(&new, &path).expect("it can be renamed");
        }),
        ("moved away and made anew, as vim does", &|| {
            fs::rename(&path, folder.path().join("weir.toml~")).expect("it can be renamed");
            fs::write(&path, "3").expect("it can be written");
        }),
        ("removed", &|| fs::remove_file(&path).expect("it is there")),
        ("made", &|| fs::write(&path, "4").expect("it can be written")),
    ];
    fs::write(&path, "0").expect("it can be written");
    let mut watcher = Watcher::new();
    watcher.follow(vec![read(&[&path])]);
    for (how, save) in saves {
        save();
        let changed = block_on(watcher.changed());
        assert_eq!(changed.to_string(), format!("{} changed", path.display()), "{how}");
        watcher.renew();
        watcher.follow(vec![read(&[&path])]);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_being_written_is_waited_for() {
    use std::io::Write as _;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weir.toml");
    fs::write(&path, "0").expect("it can be written");
    let mut watcher = Watcher::new();
    watcher.follow(vec![read(&[&path])]);
    let mut file = fs::File::create(&path).expect("it can be opened");
    file.write_all(b"half").expect("it can be written");
    block_on(async {
        // Longer than the longest wait for quiet.
        let early = tokio::time::timeout(LONGEST + QUIET, watcher.changed()).await;
        assert!(early.is_err(), "half a file was told of");
    });
    file.write_all(b" and half").expect("it can be written");
    drop(file);
    block_on(watcher.changed());
    assert_eq!(fs::read(&path).expect("it is there"), b"half and half");
}

#[test]
fn a_link_to_a_folder_that_is_swapped_is_heard_again_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let generation = |n: u32| {
        fs::create_dir(at(&format!("..{n}"))).expect("a folder");
        fs::write(at(&format!("..{n}/weir.toml")), n.to_string()).expect("a file");
        symlink(format!("..{n}"), at("..new")).expect("a link");
        fs::rename(at("..new"), at("..data")).expect("it can be renamed");
    };
    generation(0);
    symlink("..data/weir.toml", at("weir.toml")).expect("a link");
    let path = at("weir.toml");
    let mut watcher = Watcher::new();
    watcher.follow(vec![read(&[&path])]);
    for n in 1..4 {
        generation(n);
        fs::remove_dir_all(at(&format!("..{}", n - 1))).expect("it is there");
        assert_eq!(block_on(watcher.changed()).path, path);
        watcher.renew();
        let inputs = read(&[&path]);
        assert_eq!(inputs.stale(), None);
        watcher.follow(vec![inputs]);
    }
}

#[test]
fn many_changes_are_one_and_what_changed_before_it_was_watched_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths: Vec<PathBuf> = (0..200).map(|n| folder.path().join(format!("{n}.pem"))).collect();
    for path in &paths {
        fs::write(path, "old").expect("it can be written");
    }
    let inputs = read(&paths.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    fs::write(&paths[7], "new").expect("it can be written");
    let mut watcher = Watcher::new();
    watcher.follow(vec![inputs]);
    assert_eq!(block_on(watcher.changed()), Changed { path: paths[7].clone(), more: false });
    for path in &paths {
        fs::write(path, "newer").expect("it can be written");
    }
    let changed = block_on(watcher.changed());
    assert!(changed.more, "{changed}");
    let last = folder.path().join("last");
    watcher.follow(vec![read(&[&last])]);
    fs::write(&last, "").expect("it can be written");
    assert_eq!(block_on(watcher.changed()).path, last, "nothing else was left to tell");
}
