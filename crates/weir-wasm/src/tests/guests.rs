//! Small guests, written as WebAssembly text: what a language's bindings make, by hand.

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{Resolve, UnresolvedPackageGroup};

/// A guest: which hooks it wants, and what they do.
#[derive(Default)]
pub(crate) struct Text {
    /// Groups of hooks that it exports beside `plugin`, without the version.
    pub(crate) groups: &'static [&'static str],
    /// Flags of the hooks that it wants.
    pub(crate) hooks: u16,
    /// Functions, globals, data and imports. Everything that is exported and not in here does nothing.
    pub(crate) code: &'static str,
    /// Imports as `(import …)`, which come first.
    pub(crate) imports: &'static str,
}

/// Flags of hooks, by their place in the WIT package.
pub(crate) const CONNECT: u16 = 1;
pub(crate) const REQUEST: u16 = 1 << 1;
pub(crate) const REQUEST_BODY: u16 = 1 << 2;
pub(crate) const SELECT: u16 = 1 << 3;
pub(crate) const RESPONSE: u16 = 1 << 4;
pub(crate) const RESPONSE_BODY: u16 = 1 << 5;
pub(crate) const WEBSOCKET: u16 = 1 << 6;
pub(crate) const FRAME: u16 = 1 << 7;
pub(crate) const MESSAGE: u16 = 1 << 8;
pub(crate) const CLOSE: u16 = 1 << 9;
pub(crate) const MIGRATE: u16 = 1 << 10;
pub(crate) const LOG: u16 = 1 << 11;
pub(crate) const TIMER: u16 = 1 << 12;
pub(crate) const TICK: u16 = 1 << 13;
pub(crate) const STATELESS: u16 = 1 << 14;

/// What all guests have: memory, an allocator that never frees (but starts anew with each call, which takes no more than
/// it has), and helpers. The first kilobytes are for results and constants.
const COMMON: &str = r#"
  (memory (export "memory") 2)
  (global $next (mut i32) (i32.const 65536))
  (func $alloc (param $align i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                            (i32.sub (i32.const 0) (local.get $align))))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (call $alloc (local.get 2) (local.get 3)))
  ;; A result without anything in it: the first case of a variant.
  (func $nothing (result i32)
    (global.set $next (i32.const 65536))
    (i64.store (i32.const 0) (i64.const 0))
    (i32.const 0))
  ;; What is wanted of a relay.
  (func $watch (param $flags i32) (result i32)
    (drop (call $nothing))
    (i32.store8 (i32.const 4) (local.get $flags))
    (i32.const 0))
  ;; The case $case with the bytes at $at.
  (func $bytes (param $case i32) (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 0) (local.get $case))
    (i32.store (i32.const 4) (local.get $at))
    (i32.store (i32.const 8) (local.get $len))
    (global.set $next (i32.const 65536))
    (i32.const 0))
  ;; An answer with this status and this body.
  (func $respond (param $case i32) (param $status i32) (param $at i32) (param $len i32) (result i32)
    (i32.store (i32.const 0) (local.get $case))
    (i32.store16 (i32.const 4) (local.get $status))
    (i32.store (i32.const 8) (i32.const 0))
    (i32.store (i32.const 12) (i32.const 0))
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (local.get $len))
    (i32.const 0))
  (func (export "weir:plugin/plugin@1.0.0#[dtor]exchange") (param i32)
    (global.set $ended (i32.add (global.get $ended) (i32.const 1))))
  ;; How many exchanges have begun and ended.
  (global $begun (mut i32) (i32.const 0))
  (global $ended (mut i32) (i32.const 0))
  (func (export "weir:plugin/plugin@1.0.0#[constructor]exchange") (param i64) (result i32)
    (global.set $begun (i32.add (global.get $begun) (i32.const 1)))
    (call $new (global.get $begun)))
"#;

/// Imports that nearly all need.
const IMPORTS: &str = r#"
  (import "[export]weir:plugin/plugin@1.0.0" "[resource-new]exchange" (func $new (param i32) (result i32)))
"#;
const IMPORTS_OF_HTTP: &str = r#"
  (import "weir:plugin/message@1.0.0" "[resource-drop]request" (func $drop_request (param i32)))
  (import "weir:plugin/message@1.0.0" "[resource-drop]response" (func $drop_response (param i32)))
"#;
const IMPORTS_OF_RELAYS: &str = r#"
  (import "weir:plugin/websocket@1.0.0" "[resource-drop]relay" (func $drop_relay (param i32)))
"#;

/// What is exported and does nothing: group, name, parameters and what follows them.
const DEFAULTS: [(&str, &str, &str); 16] = [
    ("plugin", "load", "(param i32 i32) (result i32) (call $load)"),
    (
        "connect-hooks",
        "on-connect",
        "(param i32) (result i32) (call $drop_connection (local.get 0)) (call $nothing)",
    ),
    (
        "http-hooks",
        "on-request",
        "(param i32 i32) (result i32) (call $drop_request (local.get 1)) (call $nothing)",
    ),
    ("http-hooks", "on-request-body", "(param i32 i32 i32 i32) (result i32) (call $nothing)"),
    (
        "http-hooks",
        "select-upstream",
        "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
         (call $drop_request (local.get 9)) (call $nothing)",
    ),
    (
        "http-hooks",
        "on-response",
        "(param i32 i32 i32) (result i32)
         (call $drop_response (local.get 1)) (call $drop_request (local.get 2)) (call $nothing)",
    ),
    ("http-hooks", "on-response-body", "(param i32 i32 i32 i32) (result i32) (call $nothing)"),
    (
        "http-hooks",
        "on-log",
        "(param i32 i32 i32) (result i32)
         (call $drop_response (local.get 1)) (call $drop_request (local.get 2)) (call $nothing)",
    ),
    (
        "websocket-hooks",
        "on-websocket",
        "(param i32 i32 i32) (result i32)
         (call $drop_relay (local.get 1)) (call $drop_request (local.get 2))
         (call $watch (i32.const 3))",
    ),
    (
        "websocket-hooks",
        "on-frame",
        "(param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i64) (result i32)
         (call $drop_relay (local.get 1)) (call $nothing)",
    ),
    (
        "websocket-hooks",
        "on-message",
        "(param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i64) (result i32)
         (call $drop_relay (local.get 1)) (call $nothing)",
    ),
    (
        "websocket-hooks",
        "on-close",
        "(param i32 i32 i32 i32 i32 i32 i32) (result i32) (call $drop_relay (local.get 1)) (call $nothing)",
    ),
    ("migrate-hooks", "save", "(param i32) (result i32) (call $nothing)"),
    (
        "migrate-hooks",
        "on-migrate",
        "(param i32 i32 i32 i32) (result i32) (call $drop_relay (local.get 1)) (call $nothing)",
    ),
    ("tick-hooks", "on-tick", "(result i32) (call $nothing)"),
    ("tick-hooks", "on-timer", "(param i32 i32) (result i32) (call $nothing)"),
];

impl Text {
    /// The component.
    pub(crate) fn component(&self) -> Vec<u8> {
        let text = self.text();
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut resolve = Resolve::default();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../weir-plugin/wit");
        resolve.push_dir(folder).expect("the WIT package");
        let world = self.world();
        let group = UnresolvedPackageGroup::parse("test.wit", &world).expect("a package");
        let package = resolve.push_group(group).expect("it is resolved");
        let world = resolve.select_world(&[package], Some("test")).expect("there is one");
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
            .expect("it is embedded");
        let mut encoder = ComponentEncoder::default();
        let encoder = encoder.validate(true).module(&module);
        encoder.and_then(ComponentEncoder::encode).unwrap_or_else(|error| panic!("{error:#}\n{text}"))
    }

    fn world(&self) -> String {
        let exports: String =
            self.groups.iter().map(|group| format!("  export weir:plugin/{group}@1.0.0;\n")).collect();
        format!(
            "package test:test;\nworld test {{\n  include weir:plugin/services@1.0.0;\n  export weir:plugin/plugin@1.0.0;\n{exports}}}"
        )
    }

    fn has(&self, groups: &[&str]) -> bool {
        self.groups.iter().any(|group| groups.contains(group))
    }

    fn text(&self) -> String {
        let mut text = format!("(module\n{IMPORTS}");
        if self.has(&["http-hooks", "websocket-hooks"]) {
            text.push_str(IMPORTS_OF_HTTP);
        }
        if self.has(&["websocket-hooks", "migrate-hooks"]) {
            text.push_str(IMPORTS_OF_RELAYS);
        }
        if self.has(&["connect-hooks"]) {
            text.push_str(
                r#"(import "weir:plugin/message@1.0.0" "[resource-drop]connection" (func $drop_connection (param i32)))"#,
            );
        }
        text.push_str(self.imports);
        text.push_str(COMMON);
        text.push_str(self.code);
        let hooks = self.hooks;
        text.push_str(&format!(
            "(func $load (result i32)
               (i64.store (i32.const 0) (i64.const 0)) (i32.store16 (i32.const 8) (i32.const {hooks}))
               (i64.store (i32.const 16) (i64.const 0)) (i32.const 0))\n"
        ));
        for (group, name, rest) in DEFAULTS {
            let export = format!("\"weir:plugin/{group}@1.0.0#{name}\"");
            if (group == "plugin" || self.groups.contains(&group)) && !self.code.contains(&export) {
                text.push_str(&format!("(func (export {export}) {rest})\n"));
            }
        }
        text.push(')');
        text
    }
}
