use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::CertificateParams;
use tempfile::TempDir;

use super::*;

const DIRECTORY: &str = "https://acme.test/directory";

fn wanted(folder: &Path) -> Wanted {
    Wanted::new(folder, DIRECTORY, vec!["b.test".to_owned(), "a.test".to_owned()])
}

/// A key and a certificate for these names, PEM.
fn pair(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    (key.serialize_pem(), CertificateParams::new(names).unwrap().self_signed(&key).unwrap().pem())
}

fn is_certificate(wanted: &Wanted) -> bool {
    matches!(kept(wanted), Kept::Certificate(_))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_is_kept_is_found_and_is_for_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new/acme");
    let store = Store::open(&folder).unwrap();
    let wanted = wanted(&folder);
    assert!(matches!(kept(&wanted), Kept::Nothing));
    let (key, chain) = pair(&["a.test", "b.test"]);
    store.keep(&wanted, &key, &chain).unwrap();
    assert!(is_certificate(&wanted));
    let account = store.account_key(DIRECTORY).unwrap().serialize_pem();
    assert_eq!(store.account_key(DIRECTORY).unwrap().serialize_pem(), account, "it is kept");
    assert_ne!(store.account_key("https://other.test/").unwrap().serialize_pem(), account);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(names(&folder).len(), 4, "{:?}", names(&folder));
    for name in names(&folder) {
        assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
    }
}

#[test]
fn what_an_authority_sent_is_looked_at_before_it_takes_the_place_of_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let wanted = wanted(folder.path());
    let (key, chain) = pair(&["a.test", "b.test"]);
    store.keep(&wanted, &key, &chain).unwrap();
    let before = fs::read(&wanted.file).unwrap();
    let (other_key, other) = pair(&["a.test"]);
    let mut expired = CertificateParams::new(wanted.names.clone()).unwrap();
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let old_key = KeyPair::generate().unwrap();
    let (old, old_key) = (expired.self_signed(&old_key).unwrap().pem(), old_key.serialize_pem());
    for (key, chain, said) in [
        (&old_key, &old, "what the authority sent for b.test, a.test is not valid now"),
        (&other_key, &other, "what the authority sent for b.test, a.test is not for b.test"),
        (&key, &other, "what the authority sent for b.test, a.test does not belong to"),
        (&key, &"<html>".to_owned(), "what the authority sent for b.test, a.test has no certificate"),
    ] {
        let error = store.keep(&wanted, key, chain).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
        assert_eq!(fs::read(&wanted.file).unwrap(), before);
    }
    assert!(names(folder.path()).iter().all(|name| !name.starts_with(UNFINISHED)));
}

#[test]
fn a_store_is_for_one_process_and_tidied_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    fs::write(folder.path().join(".unfinished-a.test.pem"), "half").unwrap();
    fs::write(folder.path().join("mine.txt"), "not weir's").unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::Taken(_))));
    assert_eq!(names(folder.path()).len(), 3, "who does not have it removes nothing");
    drop(store);
    Store::open(folder.path()).unwrap();
    assert_eq!(names(folder.path()), ["lock", "mine.txt"]);
}

#[test]
fn what_cannot_be_read_is_told_from_what_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = wanted(folder.path());
    // Not even root reads a folder as a file.
    fs::create_dir(&wanted.file).unwrap();
    assert!(matches!(kept(&wanted), Kept::Unreadable(said) if said.contains("cannot be read: ")));
    fs::remove_dir(&wanted.file).unwrap();
    fs::write(&wanted.file, "").unwrap();
    let has_none = |said: &str| said.ends_with("has no certificate");
    assert!(matches!(kept(&wanted), Kept::Broken(said) if has_none(&said)));
    let (key, chain) = pair(&["a.test"]);
    fs::write(&wanted.file, key + &chain).unwrap();
    assert!(matches!(kept(&wanted), Kept::Broken(said) if said.ends_with("is not for b.test")));
    let store = Store::open(folder.path()).unwrap();
    let account = folder.path().join(format!("account-{}.key", crate::acme::short(&[DIRECTORY])));
    fs::write(&account, "half a k").unwrap();
    let said = store.account_key(DIRECTORY).unwrap_err().to_string();
    assert!(said.contains("move it away"), "{said}");
    assert_eq!(fs::read_to_string(account).unwrap(), "half a k");
}

#[test]
fn while_a_name_is_new_what_is_kept_for_the_others_stands_in() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let keep = |names: &[&str]| {
        let wanted =
            Wanted::new(folder.path(), DIRECTORY, names.iter().map(|&name| name.to_owned()).collect());
        let (key, chain) = pair(names);
        store.keep(&wanted, &key, &chain).unwrap();
        wanted.file
    };
    let (one, two) = (keep(&["a.test"]), keep(&["b.test", "c.test"]));
    keep(&["d.test"]);
    fs::write(folder.path().join("broken.pem"), "").unwrap();
    fs::write(folder.path().join(".unfinished-a.test.pem"), "").unwrap();
    let names = ["c.test", "new.test", "a.test"].map(str::to_owned).to_vec();
    let mut found: Vec<_> = stand_ins(&Wanted::new(folder.path(), DIRECTORY, names)).into_iter().collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found.into_iter().map(|(file, _)| file).collect::<Vec<_>>(), [one, two]);
    assert!(
        stand_ins(&Wanted::new(Path::new("/no/such/folder"), DIRECTORY, vec!["a.test".into()])).is_empty()
    );
}

/// What a child process of a test does: writes into this store without end. Set by the tests below.
const WRITE_INTO: &str = "WEIR_TEST_WRITE_INTO";

/// A process that writes into a store, once it has begun.
fn writer(folder: &TempDir, command: &mut Command) -> Child {
    let mut child = command
        .env(WRITE_INTO, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test can be started again");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    // Others are of the test harness.
    assert!(lines.any(|line| line.ends_with("writing")), "it has begun");
    child
}

/// The program of this test, for `a_process_that_writes` alone.
const AGAIN: [&str; 4] =
    ["--exact", "--nocapture", "--include-ignored", "acme::store::tests::a_process_that_writes"];

#[test]
#[ignore = "the child of the two tests below, which run it: one kills it while it writes, one fills its disk"]
fn a_process_that_writes() {
    let Some(folder) = std::env::var_os(WRITE_INTO).map(PathBuf::from) else { return };
    let store = Store::open(&folder).unwrap();
    let wanted = wanted(&folder);
    let pairs = [pair(&["a.test", "b.test"]), pair(&["b.test", "a.test"])];
    println!("writing");
    loop {
        for (key, chain) in &pairs {
            store.keep(&wanted, key, chain).unwrap();
        }
    }
}

#[test]
fn a_process_killed_while_it_writes_leaves_the_old_or_the_new() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = wanted(folder.path());
    let (key, chain) = pair(&["a.test", "b.test"]);
    Store::open(folder.path()).unwrap().keep(&wanted, &key, &chain).unwrap();
    let mut unfinished = 0;
    for round in 0..20_u64 {
        let mut child = writer(&folder, Command::new(std::env::current_exe().unwrap()).args(AGAIN));
        // Not a wait for something: another moment of its work each time.
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(is_certificate(&wanted), "round {round}");
        unfinished += names(folder.path()).iter().filter(|name| name.starts_with(UNFINISHED)).count();
        // Its lock has gone with it.
        Store::open(folder.path()).unwrap();
        let left = names(folder.path());
        assert_eq!(left.len(), 2, "{left:?}");
    }
    println!("{unfinished} of 20 were killed in the middle of a write");
}

#[test]
fn a_full_disk_is_an_error_and_what_was_kept_still_is() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = wanted(folder.path());
    let (key, chain) = pair(&["a.test", "b.test"]);
    Store::open(folder.path()).unwrap().keep(&wanted, &key, &chain).unwrap();
    let before = fs::read(&wanted.file).unwrap();
    // No file may grow at all; the signal that says so is ignored, so that a write fails.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""]);
    shell.arg(std::env::current_exe().unwrap()).args(AGAIN).stderr(Stdio::piped());
    let child = writer(&folder, &mut shell);
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(101), "{said}");
    assert!(said.contains("FileTooLarge"), "{said}");
    assert_eq!(fs::read(&wanted.file).unwrap(), before);
    assert_eq!(names(folder.path()).len(), 2, "{:?}", names(folder.path()));
}
