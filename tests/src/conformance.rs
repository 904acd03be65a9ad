//! The conformance cases: `tests/conformance`. A case is a file of tests, which `weir test` runs on each engine's plugin.
//! The plugins take the same steps, which stand in the cases: what a case uses is read there, and what there is to use in
//! the WIT package.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use wit_parser::{Function, FunctionKind, Interface, Resolve, Type, TypeDefKind, WorldItem};

use crate::process::{self, Output};
use crate::weir::root;
use crate::{tools, weir};

mod uses;

pub use uses::Uses;

/// What runs plugins, with a plugin that takes the steps of the cases.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// In the table and in the names of tests.
    pub name: &'static str,
    /// What it is in the table.
    pub what: &'static str,
    plugin: fn() -> PathBuf,
    /// Tests that it is known not to pass.
    lacks: &'static [Lack],
}

/// A test that does not pass.
#[derive(Clone, Copy, Debug)]
pub struct Lack {
    case: &'static str,
    /// Its name in the case.
    test: &'static str,
    /// What is told of how it fails.
    told: &'static str,
    /// Why it does, for the page.
    why: &'static str,
}

impl Engine {
    /// Tests of a case that it is known not to pass.
    pub fn lacks(&self, case: &str) -> impl Iterator<Item = &'static Lack> {
        self.lacks.iter().filter(move |lack| lack.case == case)
    }

    /// What is wrong with what came of a case: a test fails that is to pass, or one that is known to fail passes, or fails
    /// in another way.
    pub fn fault(&self, case: &str, output: &Output) -> Option<String> {
        let Output { code, stdout, stderr } = output;
        let lacks: Vec<&Lack> = self.lacks(case).collect();
        let known: BTreeSet<&str> = lacks.iter().map(|lack| lack.test).collect();
        let failed = stdout.lines().filter_map(|line| line.strip_prefix("FAILED")?.split_once(": "));
        let failed: BTreeSet<&str> = failed.map(|(_, test)| test).collect();
        let is_told = lacks.iter().all(|lack| stdout.contains(lack.told));
        let is_as_known = *code == Some(if lacks.is_empty() { 0 } else { 1 }) && failed == known && is_told;
        let is_wrong =
            || format!("case {case} on the engine {}, where {lacks:#?} fail:\n{stdout}{stderr}", self.name);
        (!is_as_known).then(is_wrong)
    }
}

/// The engines, in the order of the table.
pub const ENGINES: [Engine; 4] = [LUA, RUST, JS, PYTHON];

/// Luau: `tests/conformance/plugin.lua`.
pub const LUA: Engine =
    Engine { name: "lua", what: "Lua", plugin: || root().join("tests/conformance/plugin.lua"), lacks: &[] };

/// Components, with the guest in Rust: `tests/guests/conformance`.
pub const RUST: Engine =
    Engine { name: "rust", what: "WASM (Rust)", plugin: || tools::guest("conformance"), lacks: &[] };

/// Components, with the guest in JavaScript: `tests/guests/conformance-js`.
pub const JS: Engine = Engine {
    name: "js",
    what: "WASM (JavaScript)",
    plugin: || tools::guest("conformance_js"),
    lacks: &[Lack {
        case: "counting_down",
        test: "what is added, the sum, and where it begins",
        told: "on_request: wasm trap: wasm `unreachable` instruction executed",
        why: "componentize-js 0.23 cannot pass on a whole number of less than zero (`s64`): the instance traps",
    }],
};

/// Components, with the guest in Python: `tests/guests/conformance-py`.
pub const PYTHON: Engine =
    Engine { name: "python", what: "WASM (Python)", plugin: || tools::guest("conformance_py"), lacks: &[] };

/// What cannot be in a case, and why.
const LEFT_OUT: [(&str, &str); 1] =
    [("plugin.exchange.constructor", "every hook of a request has the exchange that it makes")];

/// Runs a case on an engine, and fails where a test of it does that is not known to, or passes that is.
///
/// # Panics
/// As said.
pub fn check(case: &str, engine: Engine) {
    let fault = engine.fault(case, &run(case, engine));
    assert!(fault.is_none(), "{}", fault.unwrap_or_default());
}

/// Runs a case on an engine.
pub fn run(case: &str, engine: Engine) -> Output {
    let mut command = weir::command(&["test", "--plugin"]);
    command.arg((engine.plugin)()).arg(folder().join(case));
    process::run("weir", &mut command, b"")
}

/// Names of the cases, sorted: the folders.
///
/// # Panics
/// Where they cannot be read.
pub fn cases() -> Vec<String> {
    let entries = fs::read_dir(folder()).expect("the folder of the cases");
    let entries = entries.map(|entry| entry.expect("an entry"));
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> =
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What a case uses.
///
/// # Panics
/// Where it cannot be read.
pub fn uses(case: &str) -> Uses {
    let path = folder().join(case).join("case_test.lua");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Uses::read(&text)
}

fn folder() -> PathBuf {
    root().join("tests/conformance")
}

/// What is in the WIT package and in no case: hooks, verdicts, host functions.
///
/// # Errors
/// Where the package cannot be read.
pub fn missing(used: &Uses) -> Result<Vec<String>> {
    let mut resolve = Resolve::default();
    let folder = root().join("crates/weir-plugin/wit");
    resolve.push_dir(&folder).map_err(|error| anyhow!("{}: {error:#}", folder.display()))?;
    let world = resolve.worlds.iter().find(|(_, world)| world.name == "filter");
    let (_, world) = world.context("there is no world `filter`")?;
    let interface = |item: &WorldItem| match item {
        WorldItem::Interface { id, .. } => Some(&resolve.interfaces[*id]),
        _ => None,
    };
    let mut missing = Vec::new();
    for hooks in world.exports.values().filter_map(interface) {
        for function in hooks.functions.values() {
            missing_of_hook(&resolve, hooks, function, used, &mut missing);
        }
    }
    for services in world.imports.values().filter_map(interface) {
        for function in services.functions.values() {
            if !is_called(&resolve, services, function, used) {
                missing.push(format!("the host function {}", shown(services, function)));
            }
        }
    }
    Ok(missing)
}

/// For example `message.[method]headers.get`: its interface, and its name in the package.
fn shown(interface: &Interface, function: &Function) -> String {
    format!("{}.{}", interface.name.as_deref().unwrap_or_default(), function.name)
}

fn missing_of_hook(
    resolve: &Resolve,
    interface: &Interface,
    function: &Function,
    used: &Uses,
    missing: &mut Vec<String>,
) {
    let name = shown(interface, function).replace("[constructor]exchange", "exchange.constructor");
    if LEFT_OUT.iter().any(|(left_out, _)| *left_out == name) {
        return;
    }
    let hook = function.name.strip_prefix("on-").unwrap_or(&function.name);
    if !used.hooks.contains(hook) {
        missing.push(format!("the hook {name}"));
        return;
    }
    let says = used.says.iter().filter(|(of, _)| of == hook);
    let said: BTreeSet<&str> = says.map(|(_, verdict)| verdict.as_str()).collect();
    for verdict in verdicts(resolve, function) {
        if !said.contains(verdict.as_str()) {
            missing.push(format!("the verdict {verdict} of the hook {name}"));
        }
    }
}

/// What a hook may say, as steps have it. The first case of a variant is what goes on as if there were no hook.
fn verdicts(resolve: &Resolve, function: &Function) -> Vec<String> {
    let Some(Type::Id(id)) = function.result else { return Vec::new() };
    match &resolve.types[aliased(resolve, id)].kind {
        TypeDefKind::Variant(variant) => {
            let names = variant.cases.iter().skip(1).map(|case| case.name.clone());
            std::iter::once(uses::NOTHING.to_owned()).chain(names).collect()
        }
        TypeDefKind::Result(result) => {
            let mut all = vec!["fail".to_owned()];
            if let Some(Type::Id(id)) = result.ok
                && let TypeDefKind::Flags(_) = &resolve.types[aliased(resolve, id)].kind
            {
                all.extend([uses::NOTHING.to_owned(), "watch".to_owned()]);
            }
            all
        }
        _ => Vec::new(),
    }
}

fn aliased(resolve: &Resolve, mut id: wit_parser::TypeId) -> wit_parser::TypeId {
    while let TypeDefKind::Type(Type::Id(of)) = resolve.types[id].kind {
        id = of;
    }
    id
}

/// Whether a step calls it. Steps name handles by where they come from, as `request.headers.get`; what gives a handle is
/// called where something of that is.
fn is_called(resolve: &Resolve, interface: &Interface, function: &Function, used: &Uses) -> bool {
    let resource = match function.kind {
        FunctionKind::Method(id) | FunctionKind::Static(id) => resolve.types[id].name.as_deref(),
        _ => None,
    };
    let owners: Vec<&str> = match resource.or(interface.name.as_deref()).unwrap_or_default() {
        "headers" => vec!["request.headers", "response.headers"],
        "body" => vec!["request.body", "response.body"],
        "query" => vec!["request.query"],
        "cookies" => vec!["request.cookies"],
        "connection" => vec!["connection", "request.connection"],
        "counter-series" => vec!["metrics.counter"],
        "gauge-series" => vec!["metrics.gauge"],
        "histogram-series" => vec!["metrics.histogram"],
        "networks" => vec!["ip"],
        other => vec![other],
    };
    owners.into_iter().any(|owner| match function.kind {
        FunctionKind::Static(_) => used.calls.iter().any(|call| call.starts_with(&format!("{owner}."))),
        _ => {
            let name = format!("{owner}.{}", function.item_name());
            used.calls.contains(&name) || used.calls.iter().any(|call| call.starts_with(&format!("{name}.")))
        }
    })
}

/// The table of what came of each case on each engine, as `docs/conformance.md`.
pub fn table(outcomes: &[(String, Vec<bool>)]) -> String {
    let mut out = String::from(HEAD);
    let cells = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let engines = ENGINES.iter().map(|engine| engine.what);
    out += &cells(["case"].into_iter().chain(engines).chain(["hooks", "host functions"]).collect());
    out += &format!("|{}\n", "---|".repeat(ENGINES.len() + 3));
    for (case, passed) in outcomes {
        let uses = uses(case);
        let hooks: Vec<&str> = uses.hooks.iter().map(String::as_str).collect();
        let hooks = hooks.join(", ");
        let link = format!("[{case}](../tests/conformance/{case}/case_test.lua)");
        let passed =
            passed.iter().zip(ENGINES).map(|(passed, engine)| match (passed, engine.lacks(case).next()) {
                (true, _) => "passes",
                (false, Some(_)) => "[no](#what-is-missing)",
                (false, None) => "**fails**",
            });
        let calls = calls(&uses);
        out += &cells(
            [link.as_str()].into_iter().chain(passed).chain([hooks.as_str(), calls.as_str()]).collect(),
        );
    }
    out += "\n## What is missing\n\n";
    for engine in ENGINES {
        for Lack { case, test, why, .. } in engine.lacks {
            out += &format!("- {case}, \"{test}\", in {}: {why}.\n", engine.what);
        }
    }
    out
}

/// Functions by their owners: `kv` (add, get).
fn calls(uses: &Uses) -> String {
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (owner, name) in uses.calls.iter().filter_map(|call| call.rsplit_once('.')) {
        owners.entry(owner).or_default().push(name);
    }
    let shown = owners.iter().map(|(owner, names)| format!("`{owner}` ({})", names.join(", ")));
    shown.collect::<Vec<_>>().join(", ")
}

const HEAD: &str = "# Conformance

Scripts and components have the same hooks, verdicts and host functions, and do the same by them. These cases prove it. A
case is a file of tests for `weir test` in [`tests/conformance`](../tests/conformance), whose settings are steps: which
functions of the host a hook calls, and what it says. Each engine has a plugin that takes these steps:
[`plugin.lua`](../tests/conformance/plugin.lua), and components in Rust
([`tests/guests/conformance`](../tests/guests/conformance/src/lib.rs)), in JavaScript
([`plugin.js`](../tests/guests/conformance-js/plugin.js), made by `componentize-js`) and in Python
([`plugin.py`](../tests/guests/conformance-py/plugin.py), made by `componentize-py`). What is expected is the same for all of
them. No engine is native: a plugin is a script or a component, and nothing that is compiled into weir takes hooks.

`cargo xtask conformance` runs all cases on all engines, and writes this page anew. `cargo xtask test` runs all of them, too,
and a test of it fails where a hook, a verdict or a function of the [WIT package](../crates/weir-plugin/wit) is in no case.

Names are those of the WIT package. Two things are not the same in Lua: there is no hook `save`, since weir itself saves
`ctx`, and what `http.request` and `jwt.verify` fail with is told beside `nil` instead of being an error.

";
