//! `weir new wasm`: what it makes is built, tested and served.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use weir_tests::process::{self, Output};
use weir_tests::{PATIENCE, Weir, tools, weir};

use crate::shipped::ask;

/// The standard library of the target may be built first.
const BUILD: Duration = Duration::from_secs(600);

fn weir_in(folder: &Path, arguments: &[&str]) -> Output {
    process::run("weir", weir::command(arguments).current_dir(folder), b"")
}

/// Builds a new plugin as systems do that have no `wasm32-wasip2`.
fn build(folder: &Path) {
    let mut build = tools::program("cargo");
    build.args(["xtask", "guests"]).arg(folder).current_dir(weir::root());
    let output = process::run_for("xtask", &mut build, b"", BUILD);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
}

#[test]
fn a_new_plugin_in_rust_is_built_tested_and_served_and_built_again() {
    let folder = weir::folder();
    let made = weir_in(folder.path(), &["new", "wasm", "my-demo"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let demo = folder.path().join("my-demo");
    let early = weir_in(&demo, &["test"]);
    assert_eq!(early.code, Some(2), "{}{}", early.stdout, early.stderr);
    assert!(early.stdout.contains("the component is not built yet"), "{}", early.stdout);
    build(&demo);
    let tested = weir_in(&demo, &["test"]);
    assert_eq!(tested.code, Some(0), "{}{}", tested.stdout, tested.stderr);
    assert!(tested.stdout.contains("3 passed, 0 failed"), "{}", tested.stdout);

    let (_, pasted) = made.stdout.split_once("put it on a route: ").expect("it says how");
    let weir = Weir::start_in(
        folder,
        &format!(
            "workers = 1
            [[listeners]]
            name = \"web\"
            address = \"127.0.0.1:0\"
            [upstreams.app]
            endpoints = [\"demo:\"]
            [[routes]]
            upstream = \"app\"
            {}",
            pasted.replace("word = \"hello\"", "word = \"hello\", secret = \"s\"")
        ),
    );
    assert!(ask(&weir, "GET /\nx-secret: s").header("x-took").is_some());
    assert_eq!(ask(&weir, "GET /").status, 403);

    // Edited, and built again, while it serves.
    let demo = weir.folder().join("my-demo");
    let source = fs::read_to_string(demo.join("src/lib.rs")).expect("it is there");
    fs::write(demo.join("src/lib.rs"), source.replace("text(403", "text(418")).expect("it can be written");
    build(&demo);
    let begun = Instant::now();
    loop {
        match ask(&weir, "GET /").status {
            418 => break,
            status => assert_eq!(status, 403),
        }
        assert!(begun.elapsed() < PATIENCE, "the new component never served");
    }
}

/// Its own tests need no WebAssembly.
#[test]
fn the_tests_of_a_new_plugin_in_rust_pass() {
    let folder = weir::folder();
    fs::create_dir(folder.path().join("plugins")).expect("a folder");
    let made = weir_in(folder.path(), &["new", "wasm", "demo"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let demo = folder.path().join("plugins/demo");
    let mut test = tools::program("cargo");
    test.arg("test").current_dir(&demo).env("CARGO_TARGET_DIR", demo.join("target"));
    let output = process::run_for("cargo", &mut test, b"", BUILD);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("3 passed"), "{}", output.stdout);
}

#[test]
fn what_is_no_crate_is_refused() {
    let folder = weir::folder();
    for (name, told) in [
        ("7up", "is no name of a crate: a letter begins it"),
        ("weir-guest", "choose another name"),
        ("../mine", "is no name of a plugin"),
    ] {
        let output = weir_in(folder.path(), &["new", "wasm", name]);
        assert!(output.code == Some(2) && output.stderr.contains(told), "{name}: {}", output.stderr);
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

/// Their tools are large, and come from npm and PyPI.
#[test]
fn new_plugins_in_javascript_and_python_are_built_and_tested() {
    if std::env::var_os("WEIR_FULL").is_none() {
        return;
    }
    let folder = weir::folder();
    for (language, build) in [("js", "npm install && npm run build"), ("python", "sh build.sh")] {
        let made = weir_in(folder.path(), &["new", language, language]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        assert!(made.stdout.contains(&format!("(cd {language} && {build})")), "{}", made.stdout);
        let plugin = folder.path().join(language);
        let mut command = std::process::Command::new("sh");
        let built = process::run_for("sh", command.args(["-c", build]).current_dir(&plugin), b"", BUILD);
        assert_eq!(built.code, Some(0), "{language}: {}{}", built.stdout, built.stderr);
        let mut test = weir::command(&["test"]);
        let tested = process::run_for("weir", test.current_dir(&plugin), b"", BUILD);
        assert_eq!(tested.code, Some(0), "{language}: {}{}", tested.stdout, tested.stderr);
        assert!(tested.stdout.contains("3 passed, 0 failed"), "{language}: {}", tested.stdout);
    }
}

/// So that what is begun is made by what the conformance cases are passed with.
#[test]
fn new_plugins_are_made_by_the_tools_of_the_conformance_cases() {
    let text = |path: &str| fs::read_to_string(weir::root().join(path)).expect("it can be read");
    for (begun, cases, tool) in [
        ("js/package.json", "guests/conformance-js/package.json", "\"@bytecodealliance/componentize-js\": "),
        ("python/build.sh", "python/requirements.txt", "componentize-py=="),
    ] {
        let (begun, cases) =
            (text(&format!("crates/weir/src/cli/new/{begun}")), text(&format!("tests/{cases}")));
        let version = cases.lines().find_map(|line| line.trim().strip_prefix(tool)).expect("its version");
        let named = format!("{tool}{}", version.trim_end_matches(','));
        assert!(begun.contains(&named), "`weir new` does not name {named}");
    }
}
