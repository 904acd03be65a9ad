//! Loading scripts.

use super::*;
use std::collections::BTreeMap;
use weir_plugin::settings::Value;

fn fault(text: &str) -> String {
    match load(text) {
        Ok(plugin) => format!("{plugin:?}"),
        Err(LoadError::Script(faults)) => {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
        Err(LoadError::Settings(problems)) => {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn what_is_wrong_with_a_script_is_said_with_its_place() {
    for (text, expected) in [
        ("return {\n  on_request = function(req\n}", "test.lua:3: Expected ')'"),
        ("local x = 1", "test.lua: it returns nothing: a plugin returns a table of hooks"),
        ("return 5", "test.lua: it returns a number"),
        (
            "return { on_reqest = function() end }",
            "unknown name `on_reqest` in the plugin's table: there are config",
        ),
        ("return { on_request = 5 }", "`on_request` is a number: a function is wanted"),
        ("\nerror('at once')", "test.lua:2: at once"),
        ("return { on_load = function()\n error('cannot') end }", "test.lua:2: cannot"),
        ("require 'other'", "test.lua:1: there is no module \"other\" in the plugin's folder"),
        ("require '../etc/passwd'", "there is no module"),
        ("return { config = { a = { tpye = 'string' } } }", "`config`: `a`: unknown key `tpye`"),
        ("return { config = { a = 'sting' } }", "`config`: `a`: `type` is one of any, boolean"),
        (
            "return { config = { a = { type = 'integer', default = 'x' } } }",
            "`a.default`: this is a string: an integer",
        ),
        (
            "local t = {} for i = 1, 40 do t = {t, t} end return { config = { a = t } }",
            "more than 10000 values",
        ),
        ("while true do end", "it used up its processor time"),
        ("os.exit()", "test.lua:1: attempt to index nil with 'exit'"),
        ("string.rep = nil", "attempt to modify a readonly table"),
        ("weir.log = nil", "attempt to modify a readonly table"),
    ] {
        let fault = fault(text);
        assert!(fault.contains(expected), "{text}: {fault}");
    }
}

#[test]
fn settings_are_checked_and_handed_over() {
    let text = r#"
        local weight
        return {
          config = {
            weight = { type = "integer", min = 0, max = 100, required = true },
            mode = { type = "string", one_of = { "a", "b" }, default = "a" },
            names = { type = "list", items = "string" },
          },
          on_load = function(config)
            weight = config.weight + 1
            assert(config.mode == "a" and config.names == nil)
          end,
          on_request = function(req) req.headers:set("x-weight", tostring(weight)) end,
        }
    "#;
    let settings =
        |pairs: &[(&str, Value)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    let plugin =
        load_with(text, settings(&[("weight", Value::Integer(4))]), Policy::default()).expect("it loads");
    let mut x = exchange();
    block_on(visit(&plugin).on_request(&mut x).finish());
    assert_eq!(x.headers["x-weight"], "5");

    let wrong = settings(&[
        ("weight", Value::Integer(101)),
        ("mode", Value::String("c".into())),
        ("names", Value::List(vec![Value::Bool(true)])),
        ("more", Value::Null),
    ]);
    let Err(LoadError::Settings(problems)) = load_with(text, wrong, Policy::default()) else {
        panic!("it loads")
    };
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "`mode`: \"c\" cannot be: a string is wanted, one of \"a\", \"b\"",
            "`more`: unknown setting `more`: there are mode, names, weight",
            "`names.0`: this is a boolean: a string is wanted",
            "`weight`: 101 cannot be: an integer is wanted, 0 to 100",
        ]
    );
    let Err(LoadError::Settings(problems)) = load(text) else { panic!("it loads") };
    assert_eq!(problems[0].message, "the setting `weight` is missing: an integer is wanted, 0 to 100");
}

#[test]
fn modules_are_found_in_the_folder_and_run_once() {
    let files = [
        (
            "plugin.lua",
            "local a = require 'lib.a'\nreturn { on_request = function(req) req.path = a.path() end }",
        ),
        (
            "lib/a.lua",
            "local b = require './b'\nassert(require '../lib/b' == b)\nreturn { path = function() return b end }",
        ),
        ("lib/b.lua", "count = (count or 0) + 1\nreturn '/b' .. count"),
    ];
    let source = |files: &[(&str, &str)]| Source {
        main: "plugin.lua".into(),
        files: files.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        folder: None,
    };
    let load = |files| {
        block_on(LuaPlugin::load("test", source(files), Settings::new(), Policy::default(), services()))
    };
    let plugin = load(&files).expect("it loads");
    let mut x = exchange();
    block_on(visit(&plugin).on_request(&mut x).finish());
    assert_eq!(x.uri.path(), "/b1");

    let circle = [("plugin.lua", "require 'a'"), ("a.lua", "require 'plugin'"), ("b.lua", "")];
    let Err(LoadError::Script(faults)) = load(&circle) else { panic!("it loads") };
    assert!(faults[0].message.contains("requires itself, in a circle"), "{}", faults[0]);
    let broken = [("plugin.lua", "x ="), ("a.lua", "y ="), ("b.lua", "")];
    let Err(LoadError::Script(faults)) = load(&broken) else { panic!("it loads") };
    assert_eq!(faults.len(), 2, "all at once: {faults:?}");
}
