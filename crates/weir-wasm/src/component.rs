//! A component: what it imports, and whether that is known and granted; what it exports.

use std::fmt;
use std::path::Path;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};
use weir_plugin::Policy;

use crate::bindings::exported::{
    connect_hooks, http_hooks, migrate_hooks, plugin, tick_hooks, websocket_hooks,
};
use crate::cache;
use crate::engine::shared;
use crate::host::Data;
use crate::plugin::LoadError;

/// The package that plugins are written for.
const PACKAGE: &str = "weir:plugin";
/// Its version here: major and minor.
const VERSION: (u64, u64) = (1, 0);
/// How a component begins: a module, in the layer of components.
const MAGIC: &[u8] = b"\0asm";
/// The layer of core modules, and that of components (bytes 6 and 7).
const LAYERS: [&[u8]; 2] = [&[0, 0], &[1, 0]];

/// What a file is, by how it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A component.
    Component,
    /// A core module.
    Module,
}

impl Kind {
    /// What a file is that begins with these bytes (eight are enough); `None` where it is no WebAssembly.
    pub fn of(begin: &[u8]) -> Option<Kind> {
        let rest = begin.strip_prefix(MAGIC)?;
        let layer = rest.get(2..4)?;
        match LAYERS.iter().position(|known| *known == layer)? {
            0 => Some(Kind::Module),
            _ => Some(Kind::Component),
        }
    }
}

/// A component that is compiled.
#[derive(Clone)]
pub struct Compiled(Component);

impl Compiled {
    /// Compiles a component for a plugin of this name, or finds it compiled in the folder `cache`. Takes seconds of this
    /// thread and others where it is large and not there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(name: &str, bytes: &[u8], cache: Option<&Path>) -> Result<Compiled, LoadError> {
        let one = |message: String| LoadError(vec![message]);
        match Kind::of(bytes) {
            Some(Kind::Component) => {}
            Some(Kind::Module) => return Err(one(MODULE.to_owned())),
            None => return Err(one("it is no WebAssembly".to_owned())),
        }
        let engine = &shared().map_err(one)?.engine;
        let component = cache::compile(engine, name, bytes, cache);
        component.map(Compiled).map_err(|error| one(format!("{error:#}")))
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compiled")
    }
}

/// A component that is compiled and linked, and whose exports are found.
pub(crate) struct Ready {
    pub(crate) pre: InstancePre<Data>,
    pub(crate) exports: Exports,
}

/// Where the groups of hooks are, as far as a component has them.
pub(crate) struct Exports {
    pub(crate) plugin: plugin::GuestIndices,
    pub(crate) connect: Option<connect_hooks::GuestIndices>,
    pub(crate) http: Option<http_hooks::GuestIndices>,
    pub(crate) websocket: Option<websocket_hooks::GuestIndices>,
    pub(crate) migrate: Option<migrate_hooks::GuestIndices>,
    pub(crate) tick: Option<tick_hooks::GuestIndices>,
}

/// Links a component for a plugin of this name.
///
/// # Errors
/// What is wrong with it, all of it as far as can be told at once.
pub(crate) fn ready(name: &str, component: &Compiled, policy: &Policy) -> Result<Ready, Vec<String>> {
    let Compiled(component) = component;
    let refused = refused(name, component, policy);
    if !refused.is_empty() {
        return Err(refused);
    }
    let linker = &shared().map_err(|error| vec![error])?.linker;
    let pre = linker.instantiate_pre(component).map_err(|error| vec![format!("{error:#}")])?;
    let exports = Exports::find(&pre)?;
    Ok(Ready { pre, exports })
}

/// What is said of a core module.
const MODULE: &str = "it is a core module; Proxy-Wasm is not supported yet. A component is wanted, of the world that \
                      `weir:plugin` describes";

/// What a component is made of, as far as that can be told without running it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// The version of `weir:plugin` that it is made for; `None` where it is no plugin.
    pub version: Option<String>,
    /// The groups of hooks that it exports; which of their hooks it wants follows from its settings.
    pub hooks: Vec<String>,
    /// What it imports of the host API.
    pub imports: Vec<String>,
    /// What it imports of WASI 0.2.
    pub wasi: Vec<String>,
    /// What a configuration has to grant it.
    pub needs: Vec<String>,
    /// Why no configuration could have it.
    pub refused: Vec<String>,
}

/// Looks at a component as a plugin of this name.
pub fn inspect(name: &str, Compiled(component): &Compiled) -> Inspected {
    let mut seen = look(name, component, &Policy::default());
    if seen.version.is_none() {
        seen.refused.push(no_plugin());
    }
    seen
}

/// What a component imports and cannot have.
fn refused(name: &str, component: &Component, policy: &Policy) -> Vec<String> {
    let Inspected { needs, mut refused, .. } = look(name, component, policy);
    refused.extend(needs);
    refused
}

fn look(name: &str, component: &Component, policy: &Policy) -> Inspected {
    let engine = component.engine();
    let ty = component.component_type();
    let mut seen = Inspected::default();
    for (import, item) in ty.imports(engine) {
        let known = parts(import);
        match known {
            Some((PACKAGE, interface, version)) => {
                seen.imports.push(interface.to_owned());
                if let Some(wrong) = newer(import, version) {
                    seen.refused.push(wrong);
                } else if let ComponentItem::ComponentInstance(instance) = &item.ty {
                    let functions: Vec<&str> = instance.exports(engine).map(|(name, _)| name).collect();
                    seen.needs.extend(weir_plugin::policy::ungranted(name, policy, interface, &functions));
                }
            }
            Some((package, _, Some(version)))
                if package.starts_with("wasi:") && version.starts_with("0.2.") =>
            {
                seen.wasi.push(import.to_owned());
            }
            _ => seen.refused.push(format!("it imports `{import}`, which is not known")),
        }
    }
    for (export, _) in ty.exports(engine) {
        if let Some((PACKAGE, interface, version)) = parts(export) {
            seen.refused.extend(newer(export, version));
            match interface {
                "plugin" => seen.version = version.map(str::to_owned),
                group => seen.hooks.push(group.to_owned()),
            }
        }
    }
    seen
}

fn no_plugin() -> String {
    format!("it exports no interface `{PACKAGE}/plugin`: it is no plugin, or not for this version")
}

/// Package, interface and version of `package/interface@version`.
fn parts(name: &str) -> Option<(&str, &str, Option<&str>)> {
    let (package, interface) = name.split_once('/')?;
    match interface.split_once('@') {
        Some((interface, version)) => Some((package, interface, Some(version))),
        None => Some((package, interface, None)),
    }
}

/// What is said of a version that is not this one, and none before it that this one has everything of.
fn newer(name: &str, version: Option<&str>) -> Option<String> {
    let (major, minor) = VERSION;
    let mut numbers = version.unwrap_or_default().split('.').map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(m)), Some(Ok(n))) if m == major && n <= minor => None,
        _ => Some(format!("it is made for `{name}`; this weir has {PACKAGE} {major}.{minor}")),
    }
}

impl Exports {
    fn find(pre: &InstancePre<Data>) -> Result<Self, Vec<String>> {
        let wrong = |error: wasmtime::Error| vec![format!("{error:#}")];
        let has = |interface: &str| {
            let (major, minor) = VERSION;
            let name = format!("{PACKAGE}/{interface}@{major}.{minor}.0");
            pre.component().get_export_index(None, &name).is_some()
        };
        if !has("plugin") {
            return Err(vec![no_plugin()]);
        }
        Ok(Exports {
            plugin: plugin::GuestIndices::new(pre).map_err(wrong)?,
            connect: find(has("connect-hooks"), || connect_hooks::GuestIndices::new(pre))?,
            http: find(has("http-hooks"), || http_hooks::GuestIndices::new(pre))?,
            websocket: find(has("websocket-hooks"), || websocket_hooks::GuestIndices::new(pre))?,
            migrate: find(has("migrate-hooks"), || migrate_hooks::GuestIndices::new(pre))?,
            tick: find(has("tick-hooks"), || tick_hooks::GuestIndices::new(pre))?,
        })
    }
}

fn find<T>(has: bool, find: impl FnOnce() -> wasmtime::Result<T>) -> Result<Option<T>, Vec<String>> {
    match has {
        true => find().map(Some).map_err(|error| vec![format!("{error:#}")]),
        false => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_how_they_begin() {
        assert_eq!(Kind::of(b"\0asm\x0d\0\x01\0more"), Some(Kind::Component));
        assert_eq!(Kind::of(b"\0asm\x01\0\0\0"), Some(Kind::Module));
        for other in [&b"return {}"[..], b"\0asm", b"", b"\0asm\x01\0\x02\0"] {
            assert_eq!(Kind::of(other), None);
        }
    }

    #[test]
    fn what_is_newer_is_refused() {
        for (version, ok) in [
            (Some("1.0.0"), true),
            (Some("1.0.7"), true),
            (Some("1.1.0"), false),
            (Some("2.0.0"), false),
            (Some("0.9.0"), false),
            (None, false),
        ] {
            assert_eq!(newer("weir:plugin/kv", version).is_none(), ok, "{version:?}");
        }
    }
}
