//! What is loaded, and what is refused.

use super::guests::{CONNECT, LOG, REQUEST, TICK, Text};
use super::*;
use weir_plugin::Grants;

fn problems(loaded: Result<WasmPlugin, LoadError>) -> String {
    loaded.expect_err("it is refused").to_string()
}

#[test]
fn a_component_tells_what_it_wants() {
    let text = Text { groups: &["http-hooks", "tick-hooks"], hooks: REQUEST | LOG | TICK, ..Text::default() };
    let plugin = run(load(&text, Policy::default())).expect("it loads");
    let hooks = plugin.hooks();
    assert!(hooks.request && hooks.log && !hooks.response && !hooks.connect && !hooks.is_for_relays());
    assert_eq!(hooks.tick, Some(Duration::from_secs(60)), "where it says nothing");
}

#[test]
fn hooks_that_are_not_exported_cannot_be_wanted() {
    let text = Text { groups: &["http-hooks"], hooks: REQUEST | CONNECT | TICK, ..Text::default() };
    let problems = problems(run(load(&text, Policy::default())));
    assert!(problems.contains("`connect-hooks`") && problems.contains("`tick-hooks`"), "{problems}");
}

#[test]
fn what_it_says_against_its_settings_is_told() {
    let code = r#"
      (data (i32.const 1024) "the setting `limit` is missing")
      (func (export "weir:plugin/plugin@1.0.0#load") (param i32 i32) (result i32)
        (i32.store (i32.const 0) (i32.const 1))
        (i32.store (i32.const 8) (i32.const 1024)) (i32.store (i32.const 12) (i32.const 30))
        (i32.const 0))"#;
    let text = Text { groups: &["http-hooks"], code, ..Text::default() };
    assert_eq!(problems(run(load(&text, Policy::default()))), "the setting `limit` is missing");
}

#[test]
fn settings_come_as_json() {
    // Answers `load` with what it was given.
    let code = r#"
      (func (export "weir:plugin/plugin@1.0.0#load") (param i32 i32) (result i32)
        (i32.store (i32.const 0) (i32.const 1))
        (i32.store (i32.const 8) (local.get 0)) (i32.store (i32.const 12) (local.get 1))
        (i32.const 0))"#;
    use weir_plugin::settings::Value;
    let bytes = Text { groups: &["http-hooks"], code, ..Text::default() }.component();
    let list = Value::List(vec![Value::Integer(1), Value::Number(0.5), Value::Bool(true), Value::Null]);
    let settings = Settings::from([("a".to_owned(), list), ("b".to_owned(), Value::String("\"".into()))]);
    assert_eq!(
        problems(run(load_with(&bytes, &settings, Policy::default()))),
        r#"{"a":[1,0.5,true,null],"b":"\""}"#
    );
}

#[test]
fn what_is_not_granted_is_refused_with_the_list() {
    let imports = r#"
      (import "weir:plugin/secrets@1.0.0" "get" (func (param i32 i32 i32)))
      (import "weir:plugin/kv@1.0.0" "get" (func (param i32 i32 i32)))
      (import "weir:plugin/kv@1.0.0" "[static]store.open" (func (param i32 i32 i32)))"#;
    let text = Text { groups: &["http-hooks"], imports, ..Text::default() };
    let refused = run(load(&text, Policy::default())).expect_err("it is refused");
    assert_eq!(refused.0.len(), 2, "{refused}");
    let refused = refused.to_string();
    assert!(refused.contains("`secrets`") && refused.contains("`kv.store.open`"), "{refused}");
    let grants = Grants { kv: ["shared".to_owned()].into(), ..Grants::default() };
    let secrets = weir_plugin::Secrets::new([("token".to_owned(), Bytes::from("hush"))].into());
    run(load(&text, Policy { grants, secrets, ..Policy::default() })).expect("it was granted");
}

#[test]
fn what_is_not_known_is_refused_with_the_list() {
    let component = |imports: &str| wat::parse_str(format!("(component {imports})")).expect("a component");
    let bytes = component(
        r#"(import "acme:gadget/turn@0.1.0" (instance)) (import "weir:plugin/kv@1.4.0" (instance))
           (import "wasi:clocks/wall-clock@0.2.3" (instance)) (import "bare" (func))"#,
    );
    let refused = run(load_bytes(&bytes, Policy::default())).expect_err("it is refused");
    assert_eq!(refused.0.len(), 3, "{refused}");
    let refused = refused.to_string();
    for expected in
        ["acme:gadget/turn@0.1.0", "weir:plugin/kv@1.4.0", "`bare`", "this weir has weir:plugin 1.0"]
    {
        assert!(refused.contains(expected), "{refused}");
    }
    let refused = problems(run(load_bytes(&component(""), Policy::default())));
    assert!(refused.contains("no interface `weir:plugin/plugin`"), "{refused}");
}

#[test]
fn other_files_are_refused() {
    let refused = problems(run(load_bytes(b"\0asm\x01\0\0\0", Policy::default())));
    assert!(refused.contains("a core module; Proxy-Wasm is not supported yet"), "{refused}");
    assert!(problems(run(load_bytes(b"return {}", Policy::default()))).contains("no WebAssembly"));
    let broken = b"\0asm\x0d\0\x01\0\xff\xff";
    assert!(run(load_bytes(broken, Policy::default())).is_err());
}
