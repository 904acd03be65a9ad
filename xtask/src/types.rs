//! `cargo xtask types`: what editors and people are told of the Lua API, made from the host API's WIT package. The files
//! are kept in the repository, so that the program has them without a parser of WIT in it; a test tells when they are
//! out of date.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use wit_parser::{Function, FunctionKind, Interface, Resolve, Type, TypeDefKind, WorldItem};

use crate::process::root;

/// Definitions for editors, in the form of luau-lsp.
const DEFINITIONS: &str = "crates/weir/src/cli/weir.d.luau";
/// The reference.
const REFERENCE: &str = "docs/lua-reference.md";

/// Resources whose functions without arguments are fields in Lua. Those of the others are methods.
const WITH_FIELDS: [&str; 4] = ["request", "response", "connection", "relay"];

/// Fields of resources whose other functions are methods.
const ALSO_FIELDS: [(&str, &str); 1] = [("http-response", "status")];

/// Arguments that may be left out in Lua alone.
const OPTIONAL: [(&str, &str); 9] = [
    ("incr", "by"),
    ("incr", "initial"),
    ("add", "n"),
    ("counter", "labels"),
    ("gauge", "labels"),
    ("histogram", "labels"),
    ("histogram", "buckets"),
    ("send", "opcode"),
    ("close", "reason"),
];

/// Functions that have another name in Lua, one that says what they give.
const RENAMED: [(&str, &str, &str); 2] = [("websocket", "open", "group"), ("websocket", "find", "relay")];

/// Types of the package that have a form of their own in Lua. What headers may be is left to weir: to a type checker a
/// table whose values are all texts is none of texts or lists.
const FORMS: [(&str, &str); 8] = [
    ("Keys", "string | { jwks: string } | { secret: string } | { pem: string }"),
    (
        "Options",
        "{ algorithms: string | { string }, issuers: (string | { string })?, audiences: (string | { string })?, leeway: number?, required: { string }? }",
    ),
    ("Label", "string | number | boolean"),
    ("Direction", "\"to_upstream\" | \"to_client\""),
    ("Opcode", "\"text\" | \"binary\" | \"ping\" | \"pong\""),
    ("ClosedBy", "\"client\" | \"upstream\" | \"plugin\" | \"weir\" | \"nobody\""),
    (
        "RelayLimits",
        "{ max_message: number?, idle_timeout: number?, max_age: number?, ping_interval: number? }",
    ),
    (
        "Call",
        "{ url: string?, upstream: string?, path: string?, method: string?, headers: { [string]: any }?, body: string?, timeout: number?, limit: number?, stream: boolean? }",
    ),
];

/// Functions that give something else in Lua: what went wrong beside nothing. That is a text wherever it is looked at.
const RESULTS: [(&str, &str, &str); 3] = [
    ("http", "request", "(HttpResponse?, string)"),
    ("http", "all", "{ HttpResponse | { error: string } }"),
    ("jwt", "verify", "({ [string]: any }?, string)"),
];

/// What Lua has beside the package: the parts of `weir` that make what hooks return, and JSON.
const OWN: &str = "    --- An answer of the plugin's own. The status is 200 if it is left out; a header is a text or a list of them.
    respond: (what: { status: number?, headers: { [string]: any }?, body: string? }) -> Answer,
    --- Closes the connection without an answer: what `on_connect` returns.
    refuse: () -> Refusal,
    --- The upstream group of this name, balanced as configured.
    group: (name: string) -> Choice,
    --- This endpoint of the group, by its configured address.
    endpoint: (address: string) -> Choice,
    --- The group, by consistent hash of these bytes.
    hash_key: (key: string) -> Choice,
    --- A frame or a message goes no further.
    drop: () -> FrameVerdict,
    --- The relay ends on both sides: code (RFC 6455, section 7.4; 4000 to 4999 are for applications) and a reason of at
    --- most 123 bytes.
    close: (code: number, reason: string?) -> FrameVerdict,
    --- What the plugin wants of a relay: to see its \"frames\" or its \"messages\", to \"send\" into it. Any of them or none.
    watch: (...(\"frames\" | \"messages\" | \"send\")) -> Watch,
    --- JSON. At most 1 MiB.
    json: {
        --- A value as JSON.
        encode: (value: any) -> string,
        --- A value from JSON; `null` of it is `weir.json.null`.
        decode: (text: string) -> any,
        --- `null` of JSON.
        null: any,
    },
";

/// What is made: path and text.
fn files() -> Result<[(PathBuf, String); 2]> {
    let package = Package::read()?;
    Ok([(root().join(DEFINITIONS), package.definitions()?), (root().join(REFERENCE), package.reference()?)])
}

/// Writes the files.
pub(crate) fn write() -> Result<()> {
    for (path, text) in files()? {
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The WIT package.
struct Package(Resolve);

/// A function as Lua has it.
struct Shown {
    name: String,
    /// A field of this type; `None`: a function.
    field: Option<String>,
    /// Names and types.
    arguments: Vec<(String, String)>,
    result: String,
    docs: String,
}

impl Package {
    fn read() -> Result<Self> {
        let mut resolve = Resolve::default();
        let folder = root().join("crates/weir-plugin/wit");
        resolve.push_dir(&folder).map_err(|error| anyhow!("{}: {error:#}", folder.display()))?;
        Ok(Package(resolve))
    }

    fn interface(&self, name: &str) -> Result<&Interface> {
        let found = self.0.interfaces.iter().find(|(_, interface)| interface.name.as_deref() == Some(name));
        found.map(|(_, interface)| interface).with_context(|| format!("there is no interface {name}"))
    }

    /// What a plugin may call, in the order of the world.
    fn services(&self) -> Result<Vec<&Interface>> {
        let world = self.0.worlds.iter().find(|(_, world)| world.name == "services");
        let (_, world) = world.context("there is no world `services`")?;
        let interface = |item: &WorldItem| match item {
            WorldItem::Interface { id, .. } => Some(&self.0.interfaces[*id]),
            _ => None,
        };
        Ok(world.imports.values().filter_map(interface).collect())
    }

    /// Resources of an interface with what Lua has of them.
    fn resources<'a>(&'a self, interface: &'a Interface) -> Result<Vec<(&'a str, &'a str, Vec<Shown>)>> {
        let mut all = Vec::new();
        for (name, id) in &interface.types {
            if !matches!(self.0.types[*id].kind, TypeDefKind::Resource) {
                continue;
            }
            let docs = self.0.types[*id].docs.contents.as_deref().unwrap_or_default();
            let functions = || interface.functions.values().filter(|f| f.kind == FunctionKind::Method(*id));
            let setters: BTreeMap<String, &Function> =
                functions().filter_map(|f| Some((snake(f.item_name().strip_prefix("set-")?), f))).collect();
            let with_fields = WITH_FIELDS.contains(&name.as_str());
            let mut shown = Vec::new();
            for function in functions().filter(|f| !(with_fields && f.item_name().starts_with("set-"))) {
                let is_field = with_fields || ALSO_FIELDS.contains(&(name, function.item_name()));
                let mut item = self.shown(function, is_field)?;
                if item.field.is_some() {
                    match setters.get(&item.name) {
                        Some(setter) => {
                            let _ = write!(item.docs, "\nCan be set. {}", docs_of(setter));
                        }
                        None => item.docs.push_str("\nRead only."),
                    }
                }
                shown.push(item);
            }
            all.push((name.as_str(), docs, shown));
        }
        Ok(all)
    }

    fn free<'a>(&'a self, interface: &'a Interface) -> Result<Vec<Shown>> {
        let is_free = |f: &&Function| matches!(f.kind, FunctionKind::Freestanding | FunctionKind::Static(_));
        let functions = interface.functions.values().filter(is_free);
        let of = interface.name.as_deref().unwrap_or_default();
        functions
            .map(|function| {
                let mut shown = self.shown(function, false)?;
                let renamed =
                    RENAMED.iter().find(|(interface, name, _)| (*interface, *name) == (of, &*shown.name));
                if let Some((_, _, name)) = renamed {
                    shown.name = (*name).to_owned();
                }
                if let Some((_, _, result)) = RESULTS
                    .iter()
                    .find(|(interface, name, _)| *interface == of && *name == function.item_name())
                {
                    shown.result = (*result).to_owned();
                }
                Ok(shown)
            })
            .collect()
    }

    fn shown<'a>(&'a self, function: &'a Function, with_fields: bool) -> Result<Shown> {
        let mut arguments = Vec::new();
        for param in function.params.iter().filter(|param| param.name != "self") {
            let (name, mut ty) = (snake(&param.name), self.ty(&param.ty)?);
            if OPTIONAL.contains(&(function.item_name(), param.name.as_str())) {
                ty = if ty.contains('|') && !ty.starts_with('{') { format!("({ty})?") } else { ty + "?" };
            }
            // Flags are names.
            match ty == "Watch" {
                true => arguments.push(("...".to_owned(), "\"frames\" | \"messages\" | \"send\"".to_owned())),
                false => arguments.push((name, ty)),
            }
        }
        let result = function.result.as_ref().map(|ty| self.ty(ty)).transpose()?.unwrap_or_default();
        let field = (with_fields && arguments.is_empty()).then(|| result.clone());
        let docs = docs_of(function);
        Ok(Shown { name: snake(function.item_name()), field, arguments, result, docs })
    }

    /// A type as Luau writes it. Results are what they hold: an error is one of the language.
    fn ty(&self, ty: &Type) -> Result<String> {
        let id = match ty {
            Type::Bool => return Ok("boolean".to_owned()),
            Type::String => return Ok("string".to_owned()),
            Type::U16 | Type::U32 | Type::U64 | Type::S64 | Type::F64 => return Ok("number".to_owned()),
            Type::Id(id) => *id,
            other => return Err(anyhow!("{other:?} has no form in Lua yet")),
        };
        let def = &self.0.types[id];
        Ok(match &def.kind {
            TypeDefKind::Option(inner) => optional(&self.ty(inner)?),
            TypeDefKind::List(Type::U8) => "string".to_owned(),
            TypeDefKind::List(inner) if self.ty(inner)? == form("Label") => {
                format!("{{ [string]: {} }}", form("Label"))
            }
            TypeDefKind::List(inner) => match self.ty(inner)?.as_str() {
                // A list of Lua has no holes.
                "string?" => "{ string | false }".to_owned(),
                inner => format!("{{ {inner} }}"),
            },
            TypeDefKind::Result(result) => match &result.ok {
                Some(inner) => self.ty(inner)?,
                None => String::new(),
            },
            TypeDefKind::Type(inner) => self.ty(inner)?,
            TypeDefKind::Handle(wit_parser::Handle::Own(id) | wit_parser::Handle::Borrow(id)) => {
                self.ty(&Type::Id(*id))?
            }
            _ => form(&pascal(def.name.as_deref().context("a type without a name")?)).to_owned(),
        })
    }

    fn definitions(&self) -> Result<String> {
        let mut out = String::from(
            "-- The API of weir for plugins in Lua, for editors (luau-lsp). Made by `cargo xtask types`; printed by `weir types lua`.\n",
        );
        let types = self.interface("types")?;
        for name in ["header", "candidate", "selection", "frame", "closed"] {
            let id = types.types.get(name).with_context(|| format!("there is no type {name}"))?;
            let def = &self.0.types[*id];
            let TypeDefKind::Record(record) = &def.kind else { return Err(anyhow!("{name} is no record")) };
            out.push('\n');
            write_docs(&mut out, "", def.docs.contents.as_deref().unwrap_or_default());
            let _ = writeln!(out, "export type {} = {{", pascal(name));
            for field in &record.fields {
                write_docs(&mut out, "    ", field.docs.contents.as_deref().unwrap_or_default());
                let _ = writeln!(out, "    {}: {},", snake(&field.name), self.ty(&field.ty)?);
            }
            out.push_str("}\n");
        }
        out.push_str("\n--- What `weir.respond` makes.\ndeclare extern type Answer with\nend\n");
        out.push_str(
            "\n--- What `weir.group`, `weir.endpoint` and `weir.hash_key` make.\ndeclare extern type Choice with\nend\n",
        );
        out.push_str("\n--- What `weir.refuse` makes.\ndeclare extern type Refusal with\nend\n");
        out.push_str(
            "\n--- What `weir.drop` and `weir.close` make.\ndeclare extern type FrameVerdict with\nend\n",
        );
        out.push_str("\n--- What `weir.watch` makes.\ndeclare extern type Watch with\nend\n");
        let services = self.services()?;
        for interface in &services {
            for (name, docs, shown) in self.resources(interface)? {
                out.push('\n');
                write_docs(&mut out, "", docs);
                let _ = writeln!(out, "declare extern type {} with", pascal(name));
                for item in &shown {
                    write_docs(&mut out, "    ", &item.docs);
                    match &item.field {
                        Some(ty) => {
                            let name = &item.name;
                            let _ = writeln!(out, "    {name}: {ty}");
                        }
                        None => {
                            let _ =
                                writeln!(out, "    function {}{}", item.name, item.signature("self", ": "));
                        }
                    }
                }
                out.push_str("end\n");
            }
        }
        self.write_plugin(&mut out)?;
        out.push_str("\ndeclare weir: {\n");
        out.push_str(OWN);
        for interface in &services {
            let free = self.free(interface)?;
            if free.is_empty() {
                continue;
            }
            write_docs(&mut out, "    ", interface.docs.contents.as_deref().unwrap_or_default());
            let _ = writeln!(out, "    {}: {{", snake(interface.name.as_deref().unwrap_or_default()));
            for item in &free {
                write_docs(&mut out, "        ", &item.docs);
                let _ = writeln!(out, "        {}: {},", item.name, item.signature("", " -> "));
            }
            out.push_str("    },\n");
        }
        out.push_str("}\n");
        Ok(out)
    }

    /// The table that a plugin returns.
    fn write_plugin(&self, out: &mut String) -> Result<()> {
        out.push_str(
            "\n--- What a plugin returns: `local plugin: Plugin = { … }`, then `return plugin`, has editors know what hooks get.\n",
        );
        out.push_str("export type Plugin = {\n");
        out.push_str(
            "    --- What its settings may be, by name.\n    config: { [string]: { [string]: any } }?,\n",
        );
        out.push_str("    --- Runs once in each state, and once more before a configuration is published; an error refuses it.\n");
        out.push_str("    on_load: ((config: any) -> ())?,\n");
        out.push_str("    --- Seconds between two `on_tick`. Default: 60.\n    tick_every: number?,\n");
        for hook in self.hooks()? {
            write_docs(out, "    ", &hook.docs);
            let name = &hook.name;
            let arguments: Vec<String> =
                hook.arguments.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
            let _ = writeln!(out, "    {name}: (({}) -> {})?,", arguments.join(", "), hook.result);
        }
        out.push_str("}\n");
        Ok(())
    }

    /// The hooks, with the arguments that their docs say they have in Lua.
    fn hooks(&self) -> Result<Vec<Shown>> {
        let interfaces = ["connect-hooks", "http-hooks", "websocket-hooks", "migrate-hooks", "tick-hooks"];
        let interfaces = interfaces.map(|name| self.interface(name));
        let interfaces = interfaces.into_iter().collect::<Result<Vec<_>>>()?;
        let mut all = Vec::new();
        let functions = interfaces.iter().flat_map(|interface| interface.functions.values());
        // What `save` gives is `ctx` in Lua, without a hook.
        for function in functions.filter(|function| function.name != "save") {
            let (name, docs) = (snake(&function.name), docs_of(function));
            let start = docs
                .find(&format!("`{name}("))
                .with_context(|| format!("{name}: its docs lack its form in Lua"))?;
            let form = docs
                .get(start + name.len() + 2..)
                .and_then(|rest| rest.split(')').next())
                .unwrap_or_default();
            let ty = |argument: &str| match argument {
                "connection" => Ok("Connection"),
                "req" => Ok("Request"),
                "res" => Ok("Response"),
                "selection" => Ok("Selection"),
                "ctx" | "old" => Ok("{ [any]: any }"),
                "ws" => Ok("Relay"),
                "frame" | "message" => Ok("Frame"),
                "closed" => Ok("Closed"),
                "piece" | "name" => Ok("string"),
                "last" => Ok("boolean"),
                other => Err(anyhow!("{name}: the argument {other} has no type yet")),
            };
            let arguments = form
                .split(", ")
                .filter(|form| !form.is_empty())
                .map(|argument| Ok((argument.to_owned(), ty(argument)?.to_owned())));
            let result = match function.result.as_ref().map(|ty| self.ty(ty)).transpose()?.as_deref() {
                None | Some("") => "()",
                // As many as there are, so that a hook that comes to its end without a `return` is one, too.
                Some("ConnectVerdict") => "...Refusal?",
                Some("Verdict") => "...Answer?",
                Some("Target") => "...Choice?",
                Some("Piece") if name == "on_response_body" => "...string?",
                Some("Piece") => "...(string | Answer)?",
                Some("FrameVerdict") => "...(string | FrameVerdict)?",
                Some("Watch") => "...Watch?",
                Some(other) => return Err(anyhow!("{name}: {other} has no form in Lua yet")),
            };
            let shown = Shown {
                name: name.clone(),
                field: None,
                arguments: arguments.collect::<Result<_>>()?,
                result: result.to_owned(),
                docs,
            };
            all.push(shown);
        }
        Ok(all)
    }

    fn reference(&self) -> Result<String> {
        let mut out = String::from(
            "# Lua reference\n\nAll that plugins in Lua may call. Made by `cargo xtask types` from the host API; the guide is [lua.md](lua.md). Where \
             something fails, that is an error with a text that says why.\n",
        );
        for interface in self.services()? {
            let name = snake(interface.name.as_deref().unwrap_or_default());
            let docs = interface.docs.contents.as_deref().unwrap_or_default();
            let free = self.free(interface)?;
            if !free.is_empty() {
                let _ = writeln!(out, "\n## weir.{name}\n\n{}\n", flat(docs));
                write_table(&mut out, &format!("weir.{name}."), &free);
            }
            for (resource, docs, shown) in self.resources(interface)? {
                let _ = writeln!(out, "\n## {}\n\n{}\n", pascal(resource), flat(docs));
                write_table(&mut out, if WITH_FIELDS.contains(&resource) { "." } else { ":" }, &shown);
            }
        }
        Ok(out)
    }
}

impl Shown {
    /// Arguments and result, with `first` before the arguments.
    fn signature(&self, first: &str, arrow: &str) -> String {
        let own = self.arguments.iter().map(|(name, ty)| format!("{name}: {ty}"));
        let first = (!first.is_empty()).then(|| first.to_owned());
        let arguments: Vec<String> = first.into_iter().chain(own).collect();
        let result = if self.result.is_empty() { "()" } else { &self.result };
        format!("({}){arrow}{result}", arguments.join(", "))
    }
}

/// Words of a function, with names as Lua has them.
fn docs_of(function: &Function) -> String {
    lua_names(function.docs.contents.as_deref().unwrap_or_default())
}

fn lua_names(docs: &str) -> String {
    let mut docs = docs.replace("`request.set-upstream`", "`req.upstream`");
    for hook in [
        "on-connect",
        "on-request",
        "on-request-body",
        "select-upstream",
        "on-response",
        "on-response-body",
        "on-websocket",
        "on-frame",
        "on-message",
        "on-close",
        "on-migrate",
        "on-log",
        "on-timer",
        "on-tick",
        "tick-every",
    ] {
        docs = docs.replace(&format!("`{hook}`"), &format!("`{}`", snake(hook)));
    }
    docs
}

fn write_docs(out: &mut String, indent: &str, docs: &str) {
    for line in lua_names(docs).lines() {
        let _ = writeln!(out, "{indent}--- {}", line.trim());
    }
}

fn write_table(out: &mut String, before: &str, items: &[Shown]) {
    out.push_str("| | |\n|---|---|\n");
    for item in items {
        let form = match &item.field {
            Some(ty) => format!("{before}{}: {ty}", item.name),
            None => format!(
                "{}{}{}",
                before.replace('.', if before == "." { ":" } else { "." }),
                item.name,
                item.signature("", ": ")
            ),
        };
        let _ =
            writeln!(out, "| `{}` | {} |", form.replace('|', "\\|"), flat(&item.docs).replace('|', "\\|"));
    }
}

fn flat(docs: &str) -> String {
    docs.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn optional(ty: &str) -> String {
    if ty.contains('|') { format!("({ty})?") } else { format!("{ty}?") }
}

/// A type as Lua has it.
fn form(name: &str) -> &str {
    FORMS.iter().find(|(known, _)| *known == name).map_or(name, |(_, form)| form)
}

fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn pascal(name: &str) -> String {
    let upper = |part: &str| {
        let mut letters = part.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(upper).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_files_are_up_to_date() {
        for (path, text) in super::files().expect("the package can be read") {
            let kept = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(kept == text, "{} is out of date: run `cargo xtask types`", path.display());
        }
    }
}
