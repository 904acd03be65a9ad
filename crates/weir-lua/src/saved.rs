//! What a plugin keeps of a relay, as bytes: how it comes to the next generation.
//!
//! The bytes are `wlu`, a version, and a value: a tag and what it says. A table is its pairs, then [`END`] in the place
//! of a key. Numbers are doubles and lengths have four bytes, both with the least byte first. An array of JSON is a table with
//! a tag of its own, as it has a metatable that says so; `null` of JSON is a tag alone.

use bytes::Bytes;
use mlua::{Buffer, Lua, LuaSerdeExt, Table, Value};

use crate::fault::message;
use crate::handles::text;
use crate::state::kind;

/// What the bytes begin with. The last one is the version.
const BEGIN: &[u8] = b"wlu\x01";

const END: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const NUMBER: u8 = 3;
const STRING: u8 = 4;
const BUFFER: u8 = 5;
const TABLE: u8 = 6;
const ARRAY: u8 = 7;
const NULL: u8 = 8;

/// How deep tables may be nested.
const DEPTH: usize = 64;

/// How many values there may be: they are gone through without a pause.
const VALUES: usize = 100_000;

/// Writes a plugin's state of a relay; one that was never used is an empty table.
///
/// # Errors
/// What in it is no data, by its path, or that it is more than `most` bytes.
pub(crate) fn encode(lua: &Lua, ctx: Option<&Table>, most: usize) -> Result<Bytes, String> {
    let mut writer = Writer {
        out: BEGIN.to_vec(),
        left: VALUES,
        most,
        path: vec!["ctx".to_owned()],
        open: Vec::new(),
        array: lua.array_metatable().to_pointer(),
    };
    match ctx {
        Some(ctx) => writer.table(ctx)?,
        None => writer.out.extend([TABLE, END]),
    }
    Ok(writer.out.into())
}

/// Reads it.
///
/// # Errors
/// Where the bytes are another engine's, or not whole.
pub(crate) fn decode(lua: &Lua, bytes: &[u8]) -> Result<Value, String> {
    let rest =
        bytes.strip_prefix(BEGIN).ok_or("what was saved of the relay is not that of a plugin in Lua")?;
    let mut reader = Reader { lua, rest };
    let value = reader.tag().and_then(|tag| reader.value(tag, DEPTH));
    value
        .filter(|_| reader.rest.is_empty())
        .ok_or_else(|| "what was saved of the relay cannot be read".to_owned())
}

struct Writer {
    out: Vec<u8>,
    /// How many more values there may be.
    left: usize,
    /// The most bytes.
    most: usize,
    /// Where it is, for errors.
    path: Vec<String>,
    /// The tables that it is in.
    open: Vec<*const std::ffi::c_void>,
    /// The metatable of arrays of JSON.
    array: *const std::ffi::c_void,
}

impl Writer {
    fn wrong(&self, is: &str) -> String {
        let path = self.path.concat();
        format!(
            "{path} {is}: only nil, booleans, numbers, strings, buffers, what JSON is decoded to and tables of these can be \
             handed on"
        )
    }

    fn value(&mut self, value: &Value) -> Result<(), String> {
        match value {
            Value::Nil => self.put(END, &[]),
            null if null.is_null() => self.put(NULL, &[]),
            Value::Boolean(false) => self.put(FALSE, &[]),
            Value::Boolean(true) => self.put(TRUE, &[]),
            #[allow(clippy::cast_precision_loss, reason = "numbers of Lua are doubles")]
            Value::Integer(n) => self.put(NUMBER, &(*n as f64).to_le_bytes()),
            Value::Number(n) => self.put(NUMBER, &n.to_le_bytes()),
            Value::String(text) => self.bytes(STRING, &text.as_bytes()),
            Value::Buffer(buffer) => {
                self.room(buffer.len())?;
                self.bytes(BUFFER, &buffer.to_vec())
            }
            Value::Table(table) => self.table(table),
            other => Err(self.wrong(&format!("is a {}", kind(other)))),
        }
    }

    fn table(&mut self, table: &Table) -> Result<(), String> {
        let own = table.to_pointer();
        if self.open.contains(&own) {
            return Err(self.wrong("has itself in it"));
        }
        if self.open.len() == DEPTH {
            return Err(self.wrong(&format!("is nested more than {DEPTH} times")));
        }
        let tag = match table.metatable() {
            None => TABLE,
            Some(metatable) if metatable.to_pointer() == self.array => ARRAY,
            Some(_) => return Err(self.wrong("has a metatable")),
        };
        self.put(tag, &[])?;
        self.open.push(own);
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|error| message(&error))?;
            if !matches!(key, Value::Boolean(_) | Value::Integer(_) | Value::Number(_) | Value::String(_)) {
                return Err(self.wrong(&format!("has a {} as a key", kind(&key))));
            }
            self.value(&key)?;
            self.path.push(step(&key));
            self.value(&value)?;
            self.path.pop();
        }
        self.open.pop();
        self.put(END, &[])
    }

    fn bytes(&mut self, tag: u8, bytes: &[u8]) -> Result<(), String> {
        self.room(bytes.len())?;
        let length = u32::try_from(bytes.len()).map_err(|_| self.too_large())?;
        self.put(tag, &length.to_le_bytes())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn put(&mut self, tag: u8, what: &[u8]) -> Result<(), String> {
        self.left =
            self.left.checked_sub(1).ok_or_else(|| format!("ctx has more than {VALUES} values in it"))?;
        self.room(1 + what.len())?;
        self.out.push(tag);
        self.out.extend_from_slice(what);
        Ok(())
    }

    fn room(&self, more: usize) -> Result<(), String> {
        if self.out.len().saturating_add(more) > self.most { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> String {
        format!("ctx has more than {} bytes in it, which are all that `limits.memory` allows", self.most)
    }
}

/// A key as scripts write it.
fn step(key: &Value) -> String {
    match key {
        Value::String(name) => {
            let name = name.to_string_lossy();
            let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
            if is_name { format!(".{name}") } else { format!("[{name:?}]") }
        }
        Value::Integer(n) => format!("[{n}]"),
        Value::Number(n) => format!("[{n}]"),
        Value::Boolean(b) => format!("[{b}]"),
        other => format!("[a {}]", kind(other)),
    }
}

/// Where something cannot be read, there is nothing.
struct Reader<'a> {
    lua: &'a Lua,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, tag: u8, depth: usize) -> Option<Value> {
        Some(match tag {
            END => Value::Nil,
            FALSE => Value::Boolean(false),
            TRUE => Value::Boolean(true),
            NUMBER => Value::Number(f64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            STRING => Value::String(text(self.lua, self.bytes()?).ok()?),
            BUFFER => Value::Buffer(self.buffer()?),
            TABLE => Value::Table(self.table(depth.checked_sub(1)?)?),
            ARRAY => {
                let array = self.table(depth.checked_sub(1)?)?;
                array.set_metatable(Some(self.lua.array_metatable())).ok()?;
                Value::Table(array)
            }
            NULL => Value::NULL,
            _ => return None,
        })
    }

    fn table(&mut self, depth: usize) -> Option<Table> {
        let table = self.lua.create_table().ok()?;
        loop {
            let key = match self.tag()? {
                END => return Some(table),
                TABLE | ARRAY | BUFFER | NULL => return None,
                tag => self.value(tag, depth)?,
            };
            let tag = self.tag()?;
            // A number that is none is no key.
            table.raw_set(key, self.value(tag, depth)?).ok()?;
        }
    }

    fn buffer(&mut self) -> Option<Buffer> {
        self.lua.create_buffer(self.bytes()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn tag(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What can be handed on. Keys of a table are texts, numbers (as their index in the list) and booleans.
    #[derive(Clone, Debug, PartialEq)]
    enum Data {
        Boolean(bool),
        Number(f64),
        String(Vec<u8>),
        Buffer(Vec<u8>),
        Table(Vec<Data>, Vec<(Vec<u8>, Data)>),
        Array(Vec<Data>),
        Null,
    }

    fn data() -> impl Strategy<Value = Data> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![
            any::<bool>().prop_map(Data::Boolean),
            any::<f64>().prop_filter("is equal to itself", |n| !n.is_nan()).prop_map(Data::Number),
            bytes().prop_map(Data::String),
            bytes().prop_map(Data::Buffer),
            Just(Data::Null),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            let named = proptest::collection::btree_map(bytes(), inner.clone(), 0..5);
            let list = proptest::collection::vec(inner, 0..5);
            prop_oneof![
                (list.clone(), named)
                    .prop_map(|(list, named)| Data::Table(list, named.into_iter().collect())),
                list.prop_map(Data::Array),
            ]
        })
    }

    fn to_lua(lua: &Lua, data: &Data) -> Value {
        match data {
            Data::Boolean(b) => Value::Boolean(*b),
            Data::Number(n) => Value::Number(*n),
            Data::String(bytes) => Value::String(lua.create_string(bytes).expect("there is memory")),
            Data::Buffer(bytes) => Value::Buffer(lua.create_buffer(bytes).expect("there is memory")),
            Data::Table(list, named) => {
                let table = lua.create_table().expect("there is memory");
                for (i, item) in list.iter().enumerate() {
                    table.raw_set(i + 1, to_lua(lua, item)).expect("it is a key");
                }
                for (name, item) in named {
                    let name = lua.create_string(name).expect("there is memory");
                    table.raw_set(name, to_lua(lua, item)).expect("it is a key");
                }
                Value::Table(table)
            }
            Data::Array(list) => {
                let table = lua.create_table().expect("there is memory");
                for item in list {
                    table.raw_push(to_lua(lua, item)).expect("there is memory");
                }
                table.set_metatable(Some(lua.array_metatable())).expect("it is not read-only");
                Value::Table(table)
            }
            Data::Null => Value::NULL,
        }
    }

    fn from_lua(value: &Value) -> Data {
        match value {
            Value::Boolean(b) => Data::Boolean(*b),
            Value::Integer(n) => Data::Number(*n as f64),
            Value::Number(n) => Data::Number(*n),
            Value::String(bytes) => Data::String(bytes.as_bytes().to_vec()),
            Value::Buffer(bytes) => Data::Buffer(bytes.to_vec()),
            Value::Table(table) => {
                let list = table.sequence_values().map(|item| from_lua(&item.expect("a value")));
                let mut named = Vec::new();
                for pair in table.pairs::<Value, Value>() {
                    if let (Value::String(name), value) = pair.expect("a pair") {
                        named.push((name.as_bytes().to_vec(), from_lua(&value)));
                    }
                }
                named.sort_by(|(a, _), (b, _)| a.cmp(b));
                match table.metatable() {
                    Some(_) => Data::Array(list.collect()),
                    None => Data::Table(list.collect(), named),
                }
            }
            null if null.is_null() => Data::Null,
            other => panic!("{other:?}"),
        }
    }

    fn wrapped(lua: &Lua, data: &Data) -> Table {
        let table = lua.create_table().expect("there is memory");
        table.raw_set("it", to_lua(lua, data)).expect("it is a key");
        table
    }

    proptest! {
        #[test]
        fn what_is_saved_is_found_again(data in data()) {
            let lua = Lua::new();
            let bytes = encode(&lua, Some(&wrapped(&lua, &data)), 1 << 20).expect("it is data");
            let read = decode(&lua, &bytes).expect("it was written");
            let it: Value = read.as_table().expect("a table").raw_get("it").expect("it is there");
            prop_assert_eq!(from_lua(&it), data);
        }

        #[test]
        fn bytes_that_are_cut_or_changed_are_read_or_refused(data in data(), at in any::<prop::sample::Index>(), byte: u8) {
            let lua = Lua::new();
            let bytes = encode(&lua, Some(&wrapped(&lua, &data)), 1 << 20).expect("it is data");
            let at = at.index(bytes.len());
            prop_assert!(decode(&lua, &bytes[..at]).is_err());
            let mut changed = bytes.to_vec();
            changed[at] = byte;
            let _ = decode(&lua, &changed);
        }

        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in proptest::collection::vec(0..10u8, 0..60)) {
            let _ = decode(&Lua::new(), &[BEGIN, &bytes].concat());
        }
    }

    /// The error of a table that a script makes.
    fn wrong(script: &str, most: usize) -> String {
        let lua = Lua::new();
        let table: Table = lua.load(script).eval().expect("it runs");
        encode(&lua, Some(&table), most).expect_err("it is no data")
    }

    #[test]
    fn what_is_no_data_is_named() {
        let cases = [
            ("return { socket = print }", "ctx.socket is a function: only nil, booleans"),
            (
                "return { a = { ['b c'] = { [3] = coroutine.create(print) } } }",
                "ctx.a[\"b c\"][3] is a thread",
            ),
            ("local t = {} t.own = { t } return t", "ctx.own[1] has itself in it"),
            ("return { a = { [{}] = 1 } }", "ctx.a has a table as a key"),
            ("return { a = setmetatable({}, {}) }", "ctx.a has a metatable"),
            ("local t = {} for i = 1, 64 do t = { t } end return t", "[1] is nested more than 64 times"),
            (
                "local t = {} for i = 1, 60 do t = { t, t } end return t",
                "ctx has more than 100000 values in it",
            ),
        ];
        for (script, expected) in cases {
            let text = wrong(script, 1 << 20);
            assert!(text.contains(expected), "{script}: {text}");
        }
        for script in [
            "return { ('a'):rep(1000) }",
            "return { buffer.create(1000) }",
            "local t = {} for i = 1, 200 do t[i] = i end return t",
        ] {
            let text = wrong(script, 1000);
            assert!(text.contains("ctx has more than 1000 bytes in it"), "{script}: {text}");
        }
    }

    #[test]
    fn json_is_the_same_json() {
        let lua = Lua::new();
        let json = serde_json::json!({ "it": { "a": [], "b": {}, "c": [[1.5, null], []], "d": null } });
        let ctx = lua.to_value(&json).expect("there is memory");
        let bytes = encode(&lua, ctx.as_table(), 1 << 20).expect("it is data");
        let next = Lua::new();
        let read = decode(&next, &bytes).expect("it was written");
        assert_eq!(serde_json::to_value(&read).expect("it is JSON"), json);
    }

    #[test]
    fn nothing_is_an_empty_table() {
        let lua = Lua::new();
        let read = decode(&lua, &encode(&lua, None, 100).expect("it is data")).expect("it was written");
        assert!(read.as_table().is_some_and(Table::is_empty));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let lua = Lua::new();
        for bytes in [&b""[..], b"wlu\x02\x06\x00", b"{}"] {
            assert!(decode(&lua, bytes).is_err_and(|text| text.contains("not that of a plugin in Lua")));
        }
        assert!(decode(&lua, b"wlu\x01\x06\x00\x00").is_err_and(|text| text.contains("cannot be read")));
        let deep = [BEGIN, &[TABLE, TRUE].repeat(100)].concat();
        assert!(decode(&lua, &deep).is_err());
    }
}
