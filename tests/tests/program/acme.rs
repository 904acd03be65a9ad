//! Certificates from an authority that speaks ACME: Pebble, a real one, which looks at weir's answers by itself.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use serde_json::Value;
use weir_tests::nginx::free_address;
use weir_tests::pebble::Pebble;
use weir_tests::{RawClient, Weir, process, tools, weir};

/// An authority, and where weir is to listen for it.
struct World {
    pebble: Pebble,
    http: SocketAddr,
    tls: SocketAddr,
}

impl World {
    fn new() -> Self {
        let [http, tls] = std::array::from_fn(|_| free_address());
        World { pebble: Pebble::start(http.port(), tls.port()), http, tls }
    }

    /// A configuration that wants one certificate for `a.test` and `b.test`.
    fn config(&self, challenge: &str) -> String {
        format!(
            "workers = 2
            [acme]
            agree = true
            directory = \"{}\"
            contact = \"mailto:admin@a.test\"
            store = \"%DIR%/acme\"
            challenge = \"{challenge}\"
            roots = \"{}\"
            [[listeners]]
            name = \"web\"
            address = \"{}\"
            [[listeners]]
            name = \"secure\"
            address = \"{}\"
            tls = {{ acme = [\"a.test\", \"B.test\"] }}
            [[routes]]
            respond = \"served\"
            ",
            self.pebble.directory(),
            self.pebble.server_ca().display(),
            self.http,
            self.tls
        )
    }

    /// Whether a client that believes the authority is content with what weir serves under a name.
    fn is_signed(&self, name: &str) -> bool {
        let port = self.tls.port();
        let mut curl = tools::program("curl");
        curl.args(["--silent", "--resolve", &format!("{name}:{port}:127.0.0.1"), "--cacert"]);
        curl.arg(self.pebble.root()).arg(format!("https://{name}:{port}/"));
        let output = process::run("curl", &mut curl, b"");
        assert!(matches!(output.code, Some(0 | 60)), "it is served: {:?} {}", output.code, output.stderr);
        output.code == Some(0) && output.stdout == "served"
    }
}

/// Waits for these words in the log, in this order.
fn wait(weir: &mut Weir, words: &[&str]) {
    let mut from = 0;
    for word in words {
        weir.process().line_from(&mut from, word, |line| line.contains(word).then_some(()));
    }
}

fn status(weir: &Weir) -> Value {
    let path = weir.folder().join("weir.toml");
    let output = weir::run(&["status", "--json", "--config", &path.to_string_lossy()]);
    serde_json::from_str(&output.stdout).expect("it is JSON")
}

/// Where the certificate is kept.
fn kept(weir: &Weir) -> PathBuf {
    let acme = &status(weir)["acme"][0];
    PathBuf::from(acme["file"].as_str().unwrap_or_else(|| panic!("it is told: {acme}")))
}

#[test]
fn a_certificate_is_obtained_kept_and_renewed() {
    for challenge in ["http-01", "tls-alpn-01"] {
        let world = World::new();
        let config = world.config(challenge);
        let mut weir = Weir::start(&config);
        wait(&mut weir, &["no certificate yet", "certificate for a.test, b.test obtained", "serves"]);
        assert!(world.is_signed("a.test") && world.is_signed("b.test"), "{challenge}");
        let told = status(&weir);
        let certificate = &told["certificates"][0];
        assert_eq!(certificate["names"], serde_json::json!(["a.test", "b.test"]), "{told}");
        assert_eq!(certificate["listeners"], serde_json::json!(["secure"]), "{told}");
        let file = kept(&weir);
        assert_eq!(certificate["file"].as_str(), file.to_str(), "{told}");
        assert_eq!(told["acme"][0]["problem"], Value::Null, "{told}");
        // The answer is not given for ever.
        let answer = RawClient::connect(world.http)
            .ask("GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(answer.text(), "served");

        // One that is about to expire takes its place: it is renewed.
        let key = KeyPair::generate().expect("a key can be made");
        let mut old = CertificateParams::new(vec!["a.test".to_owned(), "b.test".to_owned()]).expect("names");
        let now = std::time::SystemTime::now();
        let days = |days: u64| std::time::Duration::from_secs(days * 24 * 3600);
        (old.not_before, old.not_after) = ((now - days(85)).into(), (now + days(5)).into());
        let old = old.self_signed(&key).expect("a certificate can be made").pem();
        // It is looked at any time: a file that is half written would be none.
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, key.serialize_pem() + &old).expect("the store can be written to");
        fs::rename(&unfinished, &file).expect("it is in the same folder");
        weir.process().signal(Signal::HUP);
        wait(&mut weir, &["obtained", "expires on", "certificate for a.test, b.test renewed", "serves"]);
        assert!(world.is_signed("a.test"), "{challenge}");
        assert_eq!(weir.terminate().code(), Some(0));
    }
}

#[test]
fn a_certificate_that_is_kept_needs_no_authority_at_the_start() {
    let mut world = World::new();
    let config = world.config("http-01");
    let mut weir = Weir::start(&config);
    wait(&mut weir, &["obtained", "serves"]);
    let root = world.pebble.root();
    let store = kept(&weir).parent().expect("it is in a folder").to_owned();
    assert_eq!(weir.terminate().code(), Some(0));
    world.pebble.process().kill();

    let folder = weir::folder();
    let copied = process::run("cp", Command::new("cp").arg("-a").arg(store).arg(folder.path()), b"");
    assert_eq!(copied.code, Some(0), "{}", copied.stderr);
    fs::write(folder.path().join("acme/.unfinished-a.test.pem"), "half").expect("a file can be written");
    let mut weir = Weir::start_in(folder, &config);
    let port = world.tls.port();
    let is_signed = |name: &str| {
        let mut curl = tools::program("curl");
        curl.args(["--silent", "--resolve", &format!("{name}:{port}:127.0.0.1"), "--cacert"]);
        curl.arg(&root).arg(format!("https://{name}:{port}/"));
        process::run("curl", &mut curl, b"").stdout == "served"
    };
    assert!(is_signed("a.test"));
    assert_eq!(status(&weir)["acme"][0]["names"][0], "a.test");
    // Another name is wanted, and cannot be had: those of before are served as before.
    weir.reload(&config.replace("[\"a.test\"", "[\"c.test\", \"a.test\""));
    wait(&mut weir, &["c.test, a.test, b.test: no certificate yet", "tried again in"]);
    assert!(is_signed("a.test") && is_signed("b.test") && !is_signed("c.test"));
}

#[test]
fn what_the_authority_does_not_find_is_told_with_its_words() {
    let world = World::new();
    // Nobody listens where it looks.
    let config = world.config("http-01").replace(&world.http.to_string(), "127.0.0.1:0");
    let mut weir = Weir::start(&config);
    let found = "test: the authority says: Get \"http://";
    let line = weir.process().line(found, |line| line.contains(found).then(|| line.to_owned()));
    assert!(line.contains("connection refused") && line.contains("tried again in"), "{line}");
    assert!(!world.is_signed("a.test"), "one that weir made serves meanwhile");
    let told = weir.status();
    assert!(told.stdout.contains("no signed certificate for a.test, b.test: "), "{}", told.stdout);
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_what_was_served_goes_on() {
    let world = World::new();
    let mut weir = Weir::start(&world.config("http-01"));
    wait(&mut weir, &["obtained", "serves"]);
    let file = kept(&weir);
    fs::remove_file(&file).expect("it is there");
    // Not even root reads a folder as a file.
    fs::create_dir(&file).expect("its place is free");
    // That the folder has changed may be seen before the signal: then the signal changes nothing.
    weir.process().signal(Signal::HUP);
    wait(&mut weir, &["ERROR weir::acme"]);
    assert!(world.is_signed("a.test"));
    let told = status(&weir);
    let problem = told["acme"][0]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("cannot be read"), "{told}");
    assert_eq!(told["certificates"][0]["file"].as_str(), file.to_str(), "{told}");
}

#[test]
fn a_full_disk_is_told_and_what_was_served_goes_on() {
    let world = World::new();
    let folder = weir::folder();
    let path = weir::write_config(&folder, &world.config("http-01"));
    // No file of it may grow; the signal that says so is ignored, so that a write fails.
    let weir = weir::command(&["run", "--config"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\""]).arg(weir.get_program());
    shell.args(weir.get_args()).arg(path);
    for (name, value) in weir.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut weir = Weir::start_command(folder, &mut shell);
    wait(&mut weir, &["cannot be written: File too large"]);
    assert!(!world.is_signed("a.test"));
    let told = status(&weir);
    let problem = told["acme"][0]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("File too large"), "{told}");
    // Neither half a key nor a certificate is there.
    let left = fs::read_dir(weir.folder().join("acme")).expect("it was made");
    let left: Vec<_> = left.filter_map(|entry| entry.ok().map(|entry| entry.file_name())).collect();
    assert_eq!(left, ["lock"], "{left:?}");
}
