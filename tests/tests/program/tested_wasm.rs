//! `weir test`, and proofs before a reload, on plugins that are components.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use weir_tests::process::{self, Output};
use weir_tests::{Weir, tools, weir};

const TESTS: &str = r#"return {
  ["a blocked path is refused"] = function(t)
    local plugin = t:plugin { blocked = { "/private" } }
    local x = plugin:exchange { path = "/private/a" }
    t:equal(x.response.status, 403)
    t:equal(x.log, { { level = "info", message = "refused /private/a" } })
  end,
  ["others are marked"] = function(t)
    local x = t:plugin { served_by = require("./name") }:exchange { path = "/" }
    t:equal(x.response.headers["x-served-by"], "edge-1")
  end,
  ["a mistake is told"] = function(t)
    t:error(function() t:plugin { blocked = { "private" } } end, "`private` does not begin with `/`")
  end,
}"#;

/// A folder with `demo`, a plugin whose component is a link, as a build leaves it.
fn demo() -> TempDir {
    let folder = weir::folder();
    let demo = folder.path().join("demo");
    fs::create_dir(&demo).expect("a folder");
    symlink("built/demo.wasm", demo.join("plugin.wasm")).expect("a link");
    fs::write(demo.join("plugin_test.lua"), TESTS).expect("a file");
    fs::write(demo.join("name.lua"), "return \"edge-1\"").expect("a file");
    folder
}

fn build(folder: &TempDir) {
    let built = folder.path().join("demo/built");
    fs::create_dir(&built).expect("a folder");
    fs::copy(tools::guest("example"), built.join("demo.wasm")).expect("a copy");
}

fn test_in(folder: &Path, arguments: &[&str]) -> Output {
    process::run("weir", weir::command(&[&["test"], arguments].concat()).current_dir(folder), b"")
}

/// Nothing is run, and this is told.
fn cannot_be_tested(folder: &TempDir, arguments: &[&str], told: &str) {
    let Output { code, stdout, stderr } = test_in(folder.path(), arguments);
    assert_eq!(code, Some(2), "{arguments:?}: {stdout}{stderr}");
    assert!(stdout.contains(told) || stderr.contains(told), "{arguments:?}: {stdout}{stderr}");
}

#[test]
fn a_component_has_tests_as_a_script_has() {
    let folder = demo();
    let told = "demo/plugin.wasm: the component is not built yet: this is a link to built/demo.wasm";
    for arguments in [&["demo"][..], &["demo/plugin.wasm"], &["--plugin", "demo/plugin.wasm", "demo"]] {
        cannot_be_tested(&folder, arguments, told);
    }
    build(&folder);
    // By its folder, by a folder of plugins, by a file of tests, and in its folder.
    let demo = folder.path().join("demo");
    for (here, arguments) in
        [(folder.path(), &["demo"][..]), (folder.path(), &["."]), (&demo, &["plugin_test.lua"]), (&demo, &[])]
    {
        let output = test_in(here, arguments);
        assert_eq!(output.code, Some(0), "{arguments:?}: {}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains("3 passed, 0 failed"), "{}", output.stdout);
    }
    fs::write(demo.join("plugin.lua"), "return {}").expect("a file");
    cannot_be_tested(&folder, &["demo"], "it has plugin.lua and plugin.wasm");
}

#[test]
fn a_component_beside_its_tests_is_one_plugin() {
    let folder = demo();
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).expect("a folder");
    fs::rename(folder.path().join("demo/plugin_test.lua"), plugins.join("demo_test.lua")).expect("moved");
    fs::rename(folder.path().join("demo/name.lua"), plugins.join("name.lua")).expect("moved");
    symlink("../built/demo.wasm", plugins.join("demo.wasm")).expect("a link");
    let told = "plugins/demo.wasm: the component is not built yet: this is a link to ../built/demo.wasm";
    for arguments in [&["plugins"][..], &["plugins/demo.wasm"], &["plugins/demo_test.lua"]] {
        cannot_be_tested(&folder, arguments, told);
    }
    fs::remove_file(plugins.join("name.lua")).expect("no plugin lies here");
    fs::write(plugins.join("demo.lua"), "return {}").expect("a file");
    for arguments in [&["plugins"][..], &["plugins/demo_test.lua"]] {
        cannot_be_tested(&folder, arguments, "demo.lua and demo.wasm are beside it");
    }
}

#[test]
fn tests_are_run_on_another_plugin() {
    let folder = demo();
    let script = "return { on_response = function(res) res.headers:set(\"x-served-by\", \"edge-1\") end,
        config = { served_by = { type = \"string\" } } }";
    fs::write(folder.path().join("other.lua"), script).expect("a file");
    for (plugin, passed) in [("other.lua", 1), (tools::guest("example").to_str().expect("a plain name"), 3)] {
        let output = test_in(folder.path(), &["--plugin", plugin, "demo"]);
        assert!(output.stdout.contains(&format!("{passed} passed")), "{plugin}: {}", output.stdout);
    }
    let output = test_in(folder.path(), &["--plugin", "gone.wasm", "demo"]);
    assert!(output.stderr.contains("gone.wasm: No such file"), "{}", output.stderr);
    let output = test_in(folder.path(), &["--plugin", "other.lua", "."]);
    assert_eq!(output.code, Some(1), "a folder with folders that have tests: {}", output.stderr);
}

#[test]
fn a_component_whose_tests_fail_does_not_serve() {
    let folder = demo();
    build(&folder);
    let config = "
        workers = 1
        [[listeners]]
        name = \"web\"
        address = \"127.0.0.1:0\"
        [[routes]]
        respond = \"served\"
        plugins = [\"demo\"]
        [plugins.demo]
        path = \"demo\"
        [reload]
        prove = \"tests\"
        ";
    let weir = Weir::start_in(folder, config);
    let served_by = || crate::shipped::ask(&weir, "GET /").header("x-served-by").map(str::to_owned);
    assert_eq!(served_by().as_deref(), Some("weir"));
    // Another one, which does not do what the tests want: it is put where the link leads, as a build does.
    let demo = weir.folder().join("demo");
    fs::copy(tools::guest("image_guard"), demo.join("new")).expect("a copy");
    fs::rename(demo.join("new"), demo.join("built/demo.wasm")).expect("and renamed");
    let told = weir.wait_for_status("refused", |status| status["last_change"]["outcome"] == "refused");
    let told = told["last_change"].to_string();
    assert!(told.contains("plugin `demo`: its test \\\"others are marked\\\""), "{told}");
    assert_eq!(served_by().as_deref(), Some("weir"));
}

#[test]
fn what_a_file_is_and_needs_is_told() {
    let of = |path: &Path, more: &[&str]| {
        let path = path.to_str().expect("a plain name");
        weir::run(&[&["inspect", path], more].concat())
    };
    let output = of(&tools::guest("example"), &["--json"]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let told: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!((&told["kind"], &told["version"]), (&"component".into(), &"1.0.0".into()), "{told}");
    let sum = process::run("sha256sum", tools::program("sha256sum").arg(tools::guest("example")), b"").stdout;
    assert_eq!(told["sha256"].as_str(), sum.split(' ').next(), "{told}");
    assert!(told["hooks"].as_array().is_some_and(|hooks| hooks.contains(&"http-hooks".into())), "{told}");
    assert_eq!(
        (&told["needs"], &told["refused"]),
        (&serde_json::json!([]), &serde_json::json!([])),
        "{told}"
    );
    // What imports everything needs grants of every kind.
    let output = of(&tools::guest("conformance"), &[]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    for need in ["`grants.kv`", "`grants.groups`", "`grants.relays`", "a name in `secrets`"] {
        assert!(output.stdout.contains(need), "{need}: {}", output.stdout);
    }
    let folder = weir::folder();
    for (bytes, code, told) in [
        (&b"\0asm\x01\0\0\0"[..], 2, "refused  it is a core module; Proxy-Wasm is not supported yet"),
        (b"\0asm\x0d\0\x01\0", 2, "refused  it exports no interface `weir:plugin/plugin`"),
        (b"return {}", 2, "this is no WebAssembly"),
    ] {
        let file = folder.path().join("it.wasm");
        fs::write(&file, bytes).expect("a file");
        let output = of(&file, &[]);
        assert_eq!(output.code, Some(code), "{told}");
        assert!((output.stdout + &output.stderr).contains(told), "{told}");
    }
}
