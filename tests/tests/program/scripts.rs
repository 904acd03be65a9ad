//! `weir test` on the plugins that come with weir, again when a file changes, and `weir new`.

use std::collections::BTreeMap;

use weir_tests::process::Process;
use weir_tests::weir;

/// The least tests that each plugin that comes with weir has.
const SHIPPED: [(&str, usize); 14] = [
    ("basic-auth", 6),
    ("body-rewrite", 6),
    ("canary", 9),
    ("cors", 9),
    ("forward-auth", 5),
    ("geo-route", 5),
    ("header-rewrite", 8),
    ("ip-filter", 8),
    ("jwt", 9),
    ("maintenance", 6),
    ("mirror", 7),
    ("rate-limit", 10),
    ("security-headers", 7),
    ("ws-json-router", 7),
];

#[test]
fn every_shipped_plugin_passes_its_own_tests() {
    let plugins = weir::root().join("plugins");
    let output = weir::run(&["test", plugins.to_str().expect("a plain name")]);
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    let mut passed: BTreeMap<&str, usize> = BTreeMap::new();
    for line in output.stdout.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("ok      ").and_then(|rest| rest.split_once(": ")) {
            Some((plugin, _)) => *passed.entry(plugin).or_default() += 1,
            None => assert!(line.contains(" passed, 0 failed in "), "{line}"),
        }
    }
    for (plugin, least) in SHIPPED {
        let count = passed.get(plugin).copied().unwrap_or_default();
        assert!(count >= least, "{plugin} has {count} tests");
    }
    let entries = std::fs::read_dir(plugins).expect("there are plugins");
    let scripts = entries.flatten().filter(|entry| entry.path().join("plugin.lua").is_file()).count();
    assert_eq!(passed.len(), scripts, "a plugin without tests: {passed:?}");
}

#[test]
fn tests_run_again_when_a_file_changes() {
    let folder = weir::folder();
    let script = folder.path().join("plugin.lua");
    let answer = |status: u16| {
        let text =
            format!("return {{ on_request = function() return weir.respond{{ status = {status} }} end }}");
        std::fs::write(&script, text).expect("a script can be written");
    };
    answer(404);
    let test =
        "return { [\"it is there\"] = function(t) t:equal(t:plugin():exchange().response.status, 200) end }";
    std::fs::write(folder.path().join("plugin_test.lua"), test).expect("a test can be written");
    let path = folder.path().to_str().expect("a plain name");
    let process = Process::start("weir", &mut weir::command(&["test", "--watch", path]));
    let mut seen = 0;
    process.line_from(&mut seen, "a failure", |line| line.contains("0 passed, 1 failed").then_some(()));
    answer(200);
    process.line_from(&mut seen, "a pass", |line| line.contains("1 passed, 0 failed").then_some(()));
}

#[test]
fn a_new_plugin_passes_its_tests_and_can_be_put_on_a_route() {
    let folder = weir::folder();
    let plugins = folder.path().join("plugins");
    let plugins = plugins.to_str().expect("a plain name");
    let output = weir::run(&["new", "lua", "mine", "--path", plugins]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let (_, pasted) = output.stdout.split_once("put it on a route: ").expect("it says how");
    let config = format!("[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nrespond = \"\"\n{pasted}");
    let file = weir::write_config(&folder, &config);
    let checked = weir::run(&["check", file.to_str().expect("a plain name")]);
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    let tested = weir::run(&["test", plugins]);
    assert_eq!(tested.code, Some(0), "{}", tested.stdout);
    assert!(tested.stdout.contains("3 passed, 0 failed"), "{}", tested.stdout);

    let again = weir::run(&["new", "lua", "mine", "--path", plugins]);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("exists"), "{}", again.stderr);
    let odd = weir::run(&["new", "lua", "../mine", "--path", plugins]);
    assert!(odd.code == Some(2) && odd.stderr.contains("is no name of a plugin"), "{}", odd.stderr);
}

#[test]
fn definitions_for_editors_are_printed() {
    let output = weir::run(&["types", "lua"]);
    assert_eq!(output.code, Some(0));
    let kept =
        std::fs::read_to_string(weir::root().join("crates/weir/src/cli/weir.d.luau")).expect("they are kept");
    assert_eq!(output.stdout, kept);
    assert!(kept.contains("declare weir: {"), "{kept}");
}
