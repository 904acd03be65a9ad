//! The WIT package and the Lua binding have the same functions by the same names: kebab case there, snake case here.
//! A getter without arguments is a field, `set-x` an assignment; what a hook returns is made by functions of `weir`.

use std::collections::BTreeSet;
use std::path::Path;

use mlua::{
    AnyUserData, FromLua, FromLuaMulti, IntoLua, IntoLuaMulti, Lua, MaybeSend, Result, UserData,
    UserDataFields, UserDataMethods, UserDataRef, UserDataRefMut,
};
use wit_parser::{FunctionKind, Resolve, TypeDefKind};

use crate::handles::{Body, Connection, Group, Member, Part, Relay};
use crate::services::Networks;
use crate::services::kv::Store;
use crate::services::metrics::{Counter, Gauge, Histogram};

/// Names that a handle registers: fields as they are, assignments as `set_x`.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl Names {
    /// Of a part of an exchange.
    fn of_part(part: Part) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (name, member) in part.class().members {
            names.insert((*name).to_owned());
            if matches!(member, Member::Field { set: Some(_), .. }) {
                names.insert(format!("set_{name}"));
            }
        }
        names
    }

    /// Of userdata.
    fn of<T: UserData>() -> BTreeSet<String> {
        let mut names = Names::default();
        T::add_fields(&mut names);
        T::add_methods(&mut names);
        names.0
    }
}

impl<T> UserDataFields<T> for Names {
    fn add_field<V: IntoLua + 'static>(&mut self, name: impl Into<String>, _: V) {
        self.0.insert(name.into());
    }

    fn add_field_method_get<M, R>(&mut self, name: impl Into<String>, _: M)
    where
        M: Fn(&Lua, &T) -> Result<R> + MaybeSend + 'static,
        R: IntoLua,
    {
        self.0.insert(name.into());
    }

    fn add_field_method_set<M, A>(&mut self, name: impl Into<String>, _: M)
    where
        M: FnMut(&Lua, &mut T, A) -> Result<()> + MaybeSend + 'static,
        A: FromLua,
    {
        self.0.insert(format!("set_{}", name.into()));
    }

    fn add_field_function_get<F, R>(&mut self, name: impl Into<String>, _: F)
    where
        F: Fn(&Lua, AnyUserData) -> Result<R> + MaybeSend + 'static,
        R: IntoLua,
    {
        self.0.insert(name.into());
    }

    fn add_field_function_set<F, A>(&mut self, name: impl Into<String>, _: F)
    where
        F: FnMut(&Lua, AnyUserData, A) -> Result<()> + MaybeSend + 'static,
        A: FromLua,
    {
        self.0.insert(format!("set_{}", name.into()));
    }

    fn add_meta_field<V: IntoLua + 'static>(&mut self, _: impl Into<String>, _: V) {}

    fn add_meta_field_with<F, R>(&mut self, _: impl Into<String>, _: F)
    where
        F: FnOnce(&Lua) -> Result<R> + 'static,
        R: IntoLua,
    {
    }
}

impl<T> UserDataMethods<T> for Names {
    fn add_method<M, A, R>(&mut self, name: impl Into<String>, _: M)
    where
        M: Fn(&Lua, &T, A) -> Result<R> + MaybeSend + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }

    fn add_method_mut<M, A, R>(&mut self, name: impl Into<String>, _: M)
    where
        M: FnMut(&Lua, &mut T, A) -> Result<R> + MaybeSend + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }

    fn add_async_method<M, A, MR, R>(&mut self, name: impl Into<String>, _: M)
    where
        T: 'static,
        M: Fn(Lua, UserDataRef<T>, A) -> MR + MaybeSend + 'static,
        A: FromLuaMulti,
        MR: Future<Output = Result<R>> + MaybeSend + 'static,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }

    fn add_async_method_mut<M, A, MR, R>(&mut self, name: impl Into<String>, _: M)
    where
        T: 'static,
        M: Fn(Lua, UserDataRefMut<T>, A) -> MR + MaybeSend + 'static,
        A: FromLuaMulti,
        MR: Future<Output = Result<R>> + MaybeSend + 'static,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }

    fn add_function<F, A, R>(&mut self, name: impl Into<String>, _: F)
    where
        F: Fn(&Lua, A) -> Result<R> + MaybeSend + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }

    fn add_function_mut<F, A, R>(&mut self, name: impl Into<String>, _: F)
    where
        F: FnMut(&Lua, A) -> Result<R> + MaybeSend + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }

    fn add_async_function<F, A, FR, R>(&mut self, name: impl Into<String>, _: F)
    where
        F: Fn(Lua, A) -> FR + MaybeSend + 'static,
        A: FromLuaMulti,
        FR: Future<Output = Result<R>> + MaybeSend + 'static,
        R: IntoLuaMulti,
    {
        self.0.insert(name.into());
    }

    fn add_meta_method<M, A, R>(&mut self, _: impl Into<String>, _: M)
    where
        M: Fn(&Lua, &T, A) -> Result<R> + MaybeSend + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
    }

    fn add_meta_method_mut<M, A, R>(&mut self, _: impl Into<String>, _: M)
    where
        M: FnMut(&Lua, &mut T, A) -> Result<R> + MaybeSend + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
    }

    fn add_meta_function<F, A, R>(&mut self, _: impl Into<String>, _: F)
    where
        F: Fn(&Lua, A) -> Result<R> + MaybeSend + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
    }

    fn add_meta_function_mut<F, A, R>(&mut self, _: impl Into<String>, _: F)
    where
        F: FnMut(&Lua, A) -> Result<R> + MaybeSend + 'static,
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
    }
}

/// The WIT package.
fn package() -> Resolve {
    let mut resolve = Resolve::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../weir-plugin/wit");
    resolve.push_dir(folder).expect("the WIT package can be read");
    resolve
}

fn snake(name: &str) -> String {
    name.replace('-', "_")
}

/// The functions of a resource, as Lua would name them.
fn of_resource(resolve: &Resolve, interface: &str, resource: &str) -> BTreeSet<String> {
    let (_, interface) =
        resolve.interfaces.iter().find(|(_, i)| i.name.as_deref() == Some(interface)).expect("there is one");
    let id = interface.types[resource];
    assert!(matches!(resolve.types[id].kind, TypeDefKind::Resource), "{resource}");
    let of = |kind: &FunctionKind| matches!(kind, FunctionKind::Method(of) if *of == id);
    let functions = interface.functions.values().filter(|function| of(&function.kind));
    functions.map(|function| snake(function.item_name())).collect()
}

#[test]
fn handles_have_the_same_functions_on_both_sides() {
    let resolve = package();
    for (interface, resource, lua) in [
        ("message", "request", Names::of_part(Part::Request)),
        ("message", "response", Names::of_part(Part::Response)),
        ("message", "headers", Names::of_part(Part::RequestHeaders)),
        ("message", "headers", Names::of_part(Part::ResponseHeaders)),
        ("message", "query", Names::of_part(Part::Query)),
        ("message", "cookies", Names::of_part(Part::Cookies)),
        ("message", "connection", Names::of::<Connection>()),
        ("message", "body", Names::of::<Body>()),
        ("websocket", "relay", Names::of::<Relay>()),
        ("websocket", "group", Names::of::<Group>()),
        ("ip", "networks", Names::of::<Networks>()),
        ("http", "http-response", Names::of::<crate::http::Response>()),
        ("kv", "store", Names::of::<Store>()),
        ("metrics", "counter-series", Names::of::<Counter>()),
        ("metrics", "gauge-series", Names::of::<Gauge>()),
        ("metrics", "histogram-series", Names::of::<Histogram>()),
    ] {
        let mut wit = of_resource(&resolve, interface, resource);
        if resource == "http-response" {
            // `nil`: of several calls, what has one has failed.
            wit.insert("error".to_owned());
        }
        assert_eq!(wit, lua, "{resource}");
    }
}

#[test]
fn services_have_the_same_functions_on_both_sides() {
    let resolve = package();
    let (_, world) = resolve.worlds.iter().find(|(_, world)| world.name == "services").expect("there is one");
    let mut wit = BTreeSet::new();
    for item in world.imports.values() {
        let wit_parser::WorldItem::Interface { id, .. } = item else { continue };
        let interface = &resolve.interfaces[*id];
        let name = snake(interface.name.as_deref().unwrap_or_default());
        let is_free = |f: &&wit_parser::Function| {
            matches!(f.kind, FunctionKind::Freestanding | FunctionKind::Static(_))
        };
        let free = interface.functions.values().filter(is_free);
        wit.extend(free.map(|function| format!("{name}.{}", snake(function.item_name()))));
    }
    // What these give is said by their names in Lua.
    for (wit_name, lua_name) in [("websocket.open", "websocket.group"), ("websocket.find", "websocket.relay")]
    {
        assert!(wit.remove(wit_name), "{wit_name}");
        wit.insert(lua_name.to_owned());
    }
    let (_, _) = super::run("");
    let plugin = super::load("local names = {} for name, value in weir do if type(value) == 'table' then for f in value do table.insert(names, name .. '.' .. f) end end end return { on_request = function(req) req.headers:set('names', table.concat(names, ' ')) end }").expect("it loads");
    let mut x = super::exchange();
    super::block_on(super::visit(&plugin).on_request(&mut x).finish());
    let names = x.headers["names"].to_str().expect("text").to_owned();
    let lua: BTreeSet<String> = names.split(' ').map(str::to_owned).collect();
    // JSON is Lua's alone: languages that become WebAssembly have their own.
    wit.extend(["json.encode", "json.decode", "json.null"].map(str::to_owned));
    assert_eq!(wit, lua);
}

#[test]
fn hooks_have_the_same_names_on_both_sides() {
    let resolve = package();
    let functions = |name: &str| {
        let found = resolve.interfaces.iter().find(|(_, i)| i.name.as_deref() == Some(name));
        let (_, interface) = found.expect("there is one");
        interface.functions.keys().map(|name| snake(name)).collect::<Vec<_>>()
    };
    let interfaces = ["connect-hooks", "http-hooks", "websocket-hooks", "migrate-hooks", "tick-hooks"];
    let mut wit: BTreeSet<String> = interfaces.into_iter().flat_map(functions).collect();
    assert!(wit.remove("save"), "in Lua it is ctx, without a hook");
    wit.extend(["on_load", "config", "tick_every"].map(str::to_owned));
    assert_eq!(wit, crate::functions::KNOWN.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn frames_have_the_same_fields_on_both_sides() {
    let resolve = package();
    let (_, types) =
        resolve.interfaces.iter().find(|(_, i)| i.name.as_deref() == Some("types")).expect("there is one");
    let TypeDefKind::Record(frame) = &resolve.types[types.types["frame"]].kind else { panic!("no record") };
    let wit: BTreeSet<String> = frame.fields.iter().map(|field| snake(&field.name)).collect();
    assert_eq!(wit, Names::of_part(Part::Frame));
    assert_eq!(wit, Names::of_part(Part::Message));
}

#[test]
fn everything_in_the_package_is_documented() {
    let resolve = package();
    for (_, interface) in &resolve.interfaces {
        let of = interface.name.as_deref().unwrap_or_default();
        assert!(interface.docs.contents.is_some(), "the interface {of} has no words of its own");
        for (name, function) in
            interface.functions.iter().filter(|(_, f)| !matches!(f.kind, FunctionKind::Constructor(_)))
        {
            // The four levels of the log say all by their names.
            assert!(of == "log" || function.docs.contents.is_some(), "{of}: {name} has no words of its own");
        }
    }
}
