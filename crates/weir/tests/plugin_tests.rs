//! `weir test` as a person meets it: what it says of tests that pass, fail, break off and loop, and what it leaves for
//! continuous integration.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::path::Path;
use std::process::Command;

/// Runs `weir test` on the plugins in `tests/plugins`. Its exit code, standard output without times, and errors.
fn check(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("test")
        .args(args)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"))
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let times = regex::Regex::new(r" in \d+\.\d+ s").unwrap();
    let told = times.replace_all(&text(&output.stdout), " in TIME").into_owned();
    (output.status.code().unwrap(), told, text(&output.stderr))
}

#[test]
fn what_is_said_of_every_kind_of_test() {
    let (code, told, errors) = check(&[]);
    assert_eq!((code, errors.as_str()), (2, ""));
    insta::assert_snapshot!("weir_test", told);
}

#[test]
fn exit_codes_and_paths() {
    for path in ["plugins/good", "plugins/good/plugin.lua", "plugins/good/plugin_test.lua"] {
        let (code, told, _) = check(&[path]);
        assert!(code == 0 && told.ends_with("10 passed, 0 failed in TIME\n"), "{path}: {told}");
    }
    let (code, told, _) = check(&["plugins/good", "plugins/good/plugin_test.lua"]);
    assert!(code == 0 && told.contains("10 passed"), "a plugin that is named twice runs once: {told}");
    let (code, told, _) = check(&["plugins/bad", "--filter", "bad: values"]);
    assert!(code == 1 && told.contains("0 passed, 1 failed, 10 left out by the filter"), "{told}");
    let (code, told, _) = check(&["plugins/untested.lua"]);
    assert!(code == 0 && told.contains("none    untested: no tests"), "{told}");
    assert!(told.contains("1 plugin without tests"), "{told}");
    for (path, message) in [
        ("plugins/nowhere", "No such file"),
        ("snapshots", "there are no plugins in this folder"),
        ("plugin_tests.rs", "this is no plugin"),
    ] {
        let (code, told, errors) = check(&[path]);
        assert!(code == 2 && told.is_empty() && errors.contains(message), "{path}: {errors}");
    }
}

#[test]
fn tests_without_a_plugin_are_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("gone_test.lua"), "return {}").unwrap();
    let (code, _, errors) = check(&[folder.path().to_str().unwrap()]);
    assert!(
        code == 2 && errors.contains("plugin.lua, plugin.wasm, gone.lua or gone.wasm would be beside it"),
        "{errors}"
    );
    std::fs::write(folder.path().join("gone.lua"), "return {}").unwrap();
    let (code, told, _) = check(&[folder.path().to_str().unwrap()]);
    assert!(code == 2 && told.contains("there is no test in this file"), "{told}");
}

#[test]
fn the_report_for_machines_is_sound_xml() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.xml");
    let (code, _, _) = check(&["plugins/bad", "plugins/broken", "--junit", file.to_str().unwrap()]);
    assert_eq!(code, 2);
    let text = std::fs::read_to_string(file).unwrap();
    let xml = roxmltree::Document::parse(&text).unwrap();
    let all = xml.root_element();
    let count =
        |node: roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<u32>().unwrap();
    assert_eq!((count(all, "tests"), count(all, "failures"), count(all, "errors")), (13, 6, 6));
    let suites: Vec<_> = all.children().filter(|node| node.has_tag_name("testsuite")).collect();
    assert_eq!((count(suites[0], "tests"), count(suites[1], "errors")), (11, 2));
    let case = |name: &str| {
        let found = all.descendants().find(|node| node.attribute("name") == Some(name));
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    assert!(!case("passes").has_children());
    let odd = case("a test loops <&> catches").first_element_child().unwrap();
    assert!(
        odd.has_tag_name("error") && odd.text().unwrap().ends_with("it used up its processor time of 2s")
    );
    let failure = case("tables differ").first_element_child().unwrap();
    assert!(failure.has_tag_name("failure"));
    assert!(
        failure.text().unwrap().contains(".headers[\"x-b\"]\n    expected: { \"1\", \"2\" }"),
        "{failure:?}"
    );
}
