//! Starting: what is taken, what is wrong, and the exit codes.

use weir_tests::{RawClient, RawUpstream, Weir, weir};

use crate::configuration;

/// A second weir on the same address would share the connections with the first one: it must not start.
#[test]
fn address_that_is_taken() {
    let upstream = RawUpstream::polite();
    let config = configuration("", upstream.address());
    let first = Weir::start(&config);
    let taken = first.address("web").to_string();
    let folder = weir::folder();
    let path = weir::write_config(&folder, &config.replace("127.0.0.1:0", &taken));
    let output = weir::run(&["run", "--config", &path.to_string_lossy()]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(output.stderr.contains(&taken), "it names the address: {}", output.stderr);
    assert!(output.stderr.contains("weir.toml:5"), "it names the line that changes it: {}", output.stderr);
    assert!(output.stderr.contains("address"), "and the key: {}", output.stderr);
    // The first one goes on.
    assert_eq!(RawClient::connect(first.address("web")).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}

#[test]
fn configuration_that_is_wrong() {
    let folder = weir::folder();
    let path = weir::write_config(
        &folder,
        "[[listeners]]\nadress = \"127.0.0.1:0\"\n[[routes]]\nupstream = \"none\"\n",
    );
    for command in [&["run", "--config"][..], &["check"]] {
        let output = weir::run(&[command, &[&path.to_string_lossy()]].concat());
        assert_eq!(output.code, Some(2), "{command:?}: {}{}", output.stdout, output.stderr);
        let text = output.stdout + &output.stderr;
        assert!(text.contains("weir.toml:2") && text.contains("address"), "{text}");
        assert!(text.contains("none"), "all errors at once: {text}");
        assert!(!text.contains('\u{1b}'), "no colours where it is no terminal: {text}");
    }
}

#[test]
fn command_line() {
    assert_eq!(weir::run(&["run", "--no-such-option"]).code, Some(2));
    assert_eq!(weir::run(&["--version"]).code, Some(0));
    let version = weir::run(&["--version"]).stdout;
    assert!(version.starts_with(&format!("weir {}", env!("CARGO_PKG_VERSION"))), "{version}");
    let schema = weir::run(&["schema"]);
    assert_eq!(schema.code, Some(0));
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).expect("the schema is JSON");
    assert!(schema["properties"]["listeners"].is_object(), "{schema}");
    let check = weir::run(&["check", &weir::root().join("config/weir.toml").to_string_lossy()]);
    assert_eq!(check.code, Some(0), "{}{}", check.stdout, check.stderr);
}

/// The README's promise about signals that are not for stopping: they do not stop it.
#[test]
fn hangup_does_not_stop_it() {
    let upstream = RawUpstream::polite();
    let mut weir = Weir::start(&configuration("", upstream.address()));
    weir.process().signal(rustix::process::Signal::HUP);
    weir.process().line("what SIGHUP does", |line| line.contains("SIGHUP").then_some(()));
    assert_eq!(RawClient::connect(weir.address("web")).ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status, 200);
}
