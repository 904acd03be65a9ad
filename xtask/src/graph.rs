//! The dependency rule: which crate of the workspace may depend on which, and what must never be reached.
//!
//! `weir-core` knows no engine and no configuration format; that is what keeps the data plane small and lets an
//! engine come and go. The rule is checked over what cargo resolves, so it cannot be got round by a re-export.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process;

/// Every member of the workspace, and the members that it may depend on. A new edge is a change of the design:
/// say why in the commit that adds it here.
const EDGES: &[(&str, &[&str])] = &[
    ("weir-plugin", &[]),
    ("weir-core", &["weir-plugin"]),
    ("weir-services", &["weir-plugin"]),
    ("weir-lua", &["weir-plugin"]),
    ("weir-wasm", &["weir-plugin"]),
    ("weir", &["weir-core", "weir-plugin", "weir-services", "weir-lua", "weir-wasm"]),
    ("weir-tests", &["weir", "weir-core", "weir-plugin", "weir-services", "weir-lua", "weir-wasm"]),
    ("weir-guest", &[]),
    ("xtask", &[]),
];

/// What a member must not reach, however many crates lie between.
const UNREACHABLE: &[(&str, &[&str])] = &[
    ("weir-plugin", &["mlua", "mlua-sys", "wasmtime", "tokio", "hyper", "rustls"]),
    ("weir-core", &["mlua", "mlua-sys", "wasmtime", "wasmtime-wasi", "weir-lua", "weir-wasm"]),
    ("weir-lua", &["wasmtime", "weir-core", "hyper"]),
    ("weir-wasm", &["mlua", "weir-core"]),
];

/// What a member must not name itself. (Others may bring these in for reasons of their own.)
const NOT_DIRECT: &[(&str, &[&str])] = &[
    ("weir-plugin", &["serde", "serde_json", "toml"]),
    ("weir-core", &["serde", "serde_json", "toml", "anyhow", "clap"]),
];

/// Who depends on whom, by package name. Dependencies of tests alone are not in it.
#[derive(Debug, Default)]
struct Graph {
    members: BTreeSet<String>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

/// Checks the rule over this workspace.
pub(crate) fn check() -> Result<()> {
    let metadata = process::output(process::cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
    let graph =
        Graph::parse(&serde_json::from_slice(&metadata)?).context("cargo metadata is not as expected")?;
    let broken = graph.violations();
    if !broken.is_empty() {
        bail!("the dependency rule (xtask/src/graph.rs) is broken:\n  {}", broken.join("\n  "));
    }
    println!("{} members, {} packages", graph.members.len(), graph.edges.len());
    Ok(())
}

impl Graph {
    /// From what `cargo metadata` prints.
    fn parse(metadata: &Value) -> Option<Graph> {
        let names: BTreeMap<&str, &str> = metadata["packages"]
            .as_array()?
            .iter()
            .map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
            .collect::<Option<_>>()?;
        let name = |id: &Value| names.get(id.as_str()?).map(|name| (*name).to_owned());
        let mut graph = Graph {
            members: metadata["workspace_members"].as_array()?.iter().map(name).collect::<Option<_>>()?,
            ..Graph::default()
        };
        for node in metadata["resolve"]["nodes"].as_array()? {
            let edges = graph.edges.entry(name(&node["id"])?).or_default();
            for dependency in node["deps"].as_array()? {
                let mut kinds = dependency["dep_kinds"].as_array()?.iter();
                if kinds.any(|kind| kind["kind"] != "dev") {
                    edges.insert(name(&dependency["pkg"])?);
                }
            }
        }
        Some(graph)
    }

    /// What breaks the rule, one line each.
    fn violations(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for member in &self.members {
            let Some((_, allowed)) = EDGES.iter().find(|(name, _)| name == member) else {
                broken.push(format!("{member} is not in the table of members: add what it may depend on"));
                continue;
            };
            for dependency in self.edges.get(member).into_iter().flatten() {
                if self.members.contains(dependency) && !allowed.contains(&dependency.as_str()) {
                    broken.push(format!("{member} must not depend on {dependency}"));
                }
            }
        }
        for (member, banned) in NOT_DIRECT {
            for name in *banned {
                if self.edges.get(*member).is_some_and(|edges| edges.contains(*name)) {
                    broken.push(format!("{member} must not depend on {name}"));
                }
            }
        }
        for (member, banned) in UNREACHABLE {
            for name in *banned {
                if let Some(path) = self.path(member, name) {
                    broken.push(format!("{member} must not reach {name}: {}", path.join(" -> ")));
                }
            }
        }
        broken
    }

    /// The shortest way from one package to another.
    fn path(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            for next in self.edges.get(at).into_iter().flatten() {
                if next == from || came_from.contains_key(next.as_str()) {
                    continue;
                }
                came_from.insert(next, at);
                if next == to {
                    let mut path = vec![to.to_owned()];
                    let mut step = to;
                    while let Some(before) = came_from.get(step) {
                        path.insert(0, (*before).to_owned());
                        step = before;
                    }
                    return Some(path);
                }
                queue.push_back(next);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Metadata of these members and edges; `~name` is a dependency of tests.
    fn violations(members: &[&str], edges: &[(&str, &[&str])]) -> Vec<String> {
        let names: BTreeSet<&str> = members
            .iter()
            .copied()
            .chain(edges.iter().flat_map(|(from, to)| std::iter::once(*from).chain(to.iter().copied())))
            .map(|name| name.trim_start_matches('~'))
            .collect();
        let id = |name: &str| format!("path+file:///{name}#1.0.0");
        let nodes: Vec<Value> = edges
            .iter()
            .map(|(from, to)| {
                let deps: Vec<Value> = to
                    .iter()
                    .map(|name| {
                        let kind = if name.starts_with('~') { json!("dev") } else { json!(null) };
                        json!({ "pkg": id(name.trim_start_matches('~')), "dep_kinds": [{ "kind": kind }] })
                    })
                    .collect();
                json!({ "id": id(from), "deps": deps })
            })
            .collect();
        let metadata = json!({
            "packages": names.iter().map(|name| json!({ "id": id(name), "name": name })).collect::<Vec<_>>(),
            "workspace_members": members.iter().map(|name| id(name)).collect::<Vec<_>>(),
            "resolve": { "nodes": nodes },
        });
        Graph::parse(&metadata).expect("metadata").violations()
    }

    #[test]
    fn the_design_is_allowed() {
        let members = ["weir", "weir-core", "weir-plugin", "weir-lua", "xtask"];
        let edges: &[(&str, &[&str])] = &[
            ("weir", &["weir-core", "weir-plugin", "weir-lua", "serde"]),
            ("weir-core", &["weir-plugin", "tokio", "~mlua", "~serde"]),
            ("weir-lua", &["weir-plugin", "mlua"]),
            ("tokio", &["serde"]),
        ];
        assert_eq!(violations(&members, edges), [""; 0]);
    }

    #[test]
    fn the_core_reaching_an_engine_is_refused_with_the_way() {
        let edges: &[(&str, &[&str])] =
            &[("weir-core", &["weir-plugin", "helper"]), ("helper", &["deeper"]), ("deeper", &["wasmtime"])];
        assert_eq!(
            violations(&["weir-core", "weir-plugin"], edges),
            ["weir-core must not reach wasmtime: weir-core -> helper -> deeper -> wasmtime"]
        );
        let edges: &[(&str, &[&str])] = &[("weir-core", &["mlua"])];
        assert_eq!(violations(&["weir-core"], edges), ["weir-core must not reach mlua: weir-core -> mlua"]);
    }

    #[test]
    fn edges_that_are_not_in_the_design_are_refused() {
        for (members, edges, expected) in [
            (
                vec!["weir-plugin", "weir-core"],
                vec![("weir-plugin", vec!["weir-core"])],
                "weir-plugin must not depend on weir-core",
            ),
            (vec!["weir-core"], vec![("weir-core", vec!["serde"])], "weir-core must not depend on serde"),
            (vec!["weir-new"], vec![("weir-new", vec![])], "weir-new is not in the table"),
            (vec!["xtask", "weir"], vec![("xtask", vec!["weir"])], "xtask must not depend on weir"),
        ] {
            let edges: Vec<(&str, &[&str])> = edges.iter().map(|(from, to)| (*from, to.as_slice())).collect();
            let broken = violations(&members, &edges);
            assert!(broken.len() == 1 && broken[0].starts_with(expected), "{broken:?}");
        }
    }
}
