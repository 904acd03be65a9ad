//! What a change has to show before it serves.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{RawClient, RawUpstream, Weir, weir};

use super::configuration;

/// A script that stamps requests, and what else its hook does.
fn stamp(text: &str, more: &str) -> String {
    format!(
        "return {{\n  on_request = function(req)\n    {more}\n    return weir.respond{{ body = \"{text}\" }}\n  end,\n}}\n"
    )
}

/// Tests of that script, which want this text.
fn tests(text: &str) -> String {
    format!(
        "return {{\n  [\"it stamps\"] = function(t)\n    local x = t:plugin():exchange()\n    \
         t:equal(x.response.body, \"{text}\")\n  end,\n}}\n"
    )
}

fn write(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    let new = path.with_file_name("new");
    fs::write(&new, text).expect("a temporary file can be written");
    fs::rename(new, path).expect("it can be renamed");
}

/// A folder with `plugins/stamp.lua`.
fn folder(script: &str) -> TempDir {
    let folder = weir::folder();
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    write(folder.path().join("plugins/stamp.lua"), script);
    folder
}

/// weir with that plugin before an upstream.
fn start(folder: TempDir, reload: &str, upstream: SocketAddr) -> Weir {
    let config = configuration("", upstream)
        .replace("upstream = \"app\"\n", "upstream = \"app\"\n        plugins = [\"stamp\"]\n");
    Weir::start_in(folder, &format!("{config}\n[reload]\n{reload}\n"))
}

fn get(address: SocketAddr) -> String {
    RawClient::connect(address).ask("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").text()
}

fn generation(n: u64) -> impl Fn(&Value) -> bool {
    move |status| status["generation"] == n
}

fn refused(status: &Value) -> bool {
    status["last_change"]["outcome"] == "refused"
}

fn lines(change: &Value, key: &str) -> Vec<String> {
    let list = change[key].as_array().unwrap_or_else(|| panic!("{key} is a list: {change}"));
    list.iter().map(|line| line.as_str().expect("lines are texts").to_owned()).collect()
}

#[test]
fn a_change_whose_tests_fail_is_refused_until_they_pass() {
    let upstream = RawUpstream::polite();
    let folder = folder(&stamp("one", ""));
    let plugins = folder.path().join("plugins");
    // It fails, but was there at the start.
    write(plugins.join("stamp_test.lua"), &tests("two"));
    let mut weir = start(folder, "prove = \"tests\"", upstream.address());
    let address = weir.address("web");
    write(plugins.join("stamp.lua"), &stamp("three", ""));
    let status = weir.wait_for_status("the refusal", refused);
    let problem = &lines(&status["last_change"], "problems")[0];
    for part in [
        "plugins/stamp_test.lua:4: plugin `stamp`: its test \"it stamps\" failed: these are not equal:",
        "expected: \"two\"",
        "came:     \"three\"",
    ] {
        assert!(problem.contains(part), "{part:?} is not in {problem}");
    }
    weir.process().line("the log", |line| line.contains("its test \"it stamps\" failed").then_some(()));
    assert_eq!(get(address), "one");
    // A dry run tells the same.
    let told = weir.ask(&["reload", "--dry-run"]);
    assert_eq!(told.code, Some(5), "{}", told.stdout);
    assert!(told.stdout.contains("its test \"it stamps\" failed"), "{}", told.stdout);
    // The tests alone are mended.
    write(plugins.join("stamp_test.lua"), &tests("three"));
    let status = weir.wait_for_status("the change", generation(2));
    assert_eq!(lines(&status["last_change"], "proof"), ["1 test of stamp passed"]);
    assert_eq!(get(address), "three");
    // What serves is not proved again, and other tests are no other configuration.
    write(plugins.join("stamp_test.lua"), &tests("four"));
    let told = weir.ask_json(&["reload"]);
    assert_eq!((&told["outcome"], &told["generation"]), (&"unchanged".into(), &2.into()));
    // Without tests there is nothing to pass.
    fs::remove_file(plugins.join("stamp_test.lua")).expect("it is there");
    write(plugins.join("stamp.lua"), &stamp("five", ""));
    let status = weir.wait_for_status("the change", generation(3));
    assert!(lines(&status["last_change"], "proof").is_empty());
}

#[test]
fn tests_that_do_not_end_in_time_have_failed() {
    let upstream = RawUpstream::polite();
    let folder = folder(&stamp("one", ""));
    let plugins = folder.path().join("plugins");
    let weir = start(folder, "watch = false\nprove = \"tests\"\nprove_timeout = \"1us\"", upstream.address());
    write(plugins.join("stamp.lua"), &stamp("two", ""));
    write(plugins.join("stamp_test.lua"), &tests("two"));
    let told = weir.ask_json(&["reload"]);
    assert_eq!(told["outcome"], "refused", "{told}");
    let problem = &lines(&told, "problems")[0];
    assert!(problem.contains("stamp_test.lua") && problem.contains("no time left for it"), "{problem}");
    assert_eq!(get(weir.address("web")), "one");
}
