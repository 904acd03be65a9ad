//! Requests and responses as scripts see them. A getter without arguments in the WIT package is a field here, and
//! `set-x` is an assignment to `x`.
//!
//! What hooks use for every request has handles for which nothing is allocated: a [`Handle`] is a number, and what it
//! has are the tables of `request`, `response` and `fields`. Lua gets at these through `raw`. The rest are userdata.

mod body;
mod connection;
mod fields;
mod frame;
mod raw;
mod relay;
mod request;
mod response;

use std::borrow::Cow;

use mlua::{Lua, LuaString, MetaMethod, Table, UserDataMethods, Value};
use weir_plugin::Exchange;
use weir_plugin::error::{Error, Result};
use weir_plugin::message::headers::Side;
use weir_plugin::websocket::Frame;

pub(crate) use body::Body;
pub(crate) use connection::Connection;
pub(crate) use frame::FrameSlot;
pub(crate) use raw::register;
pub(crate) use relay::{Group, Relay, id as relay_id};

/// What a handle is a handle to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The request.
    Request = 1,
    /// Its headers.
    RequestHeaders,
    /// The parameters of its query.
    Query,
    /// Its cookies.
    Cookies,
    /// The response.
    Response,
    /// Its headers.
    ResponseHeaders,
    /// A frame of a WebSocket.
    Frame,
    /// A message of one.
    Message,
}

impl Part {
    /// All of them, by their numbers.
    pub(crate) const ALL: [Part; 8] = [
        Part::Request,
        Part::RequestHeaders,
        Part::Query,
        Part::Cookies,
        Part::Response,
        Part::ResponseHeaders,
        Part::Frame,
        Part::Message,
    ];

    /// What it is and has.
    pub(crate) fn class(self) -> &'static Class {
        match self {
            Part::Request => &request::CLASS,
            Part::RequestHeaders => &fields::REQUEST_HEADERS,
            Part::Query => &fields::QUERY,
            Part::Cookies => &fields::COOKIES,
            Part::Response => &response::CLASS,
            Part::ResponseHeaders => &fields::RESPONSE_HEADERS,
            Part::Frame => &frame::FRAME,
            Part::Message => &frame::MESSAGE,
        }
    }
}

/// A part of the exchange in the slot of this number, or the frame that was lent as this number. To Lua it is one number
/// of 64 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handle {
    pub(crate) part: Part,
    /// [`weir_plugin::Slot::id`], or a number of [`FrameSlot::lend`]: far from the 2^60 that fit.
    pub(crate) slot: u64,
}

impl Handle {
    /// Bits of the number that say the part.
    const PART: u32 = 4;

    pub(crate) fn to_bits(self) -> usize {
        (self.slot as usize) << Self::PART | self.part as usize
    }

    pub(crate) fn from_bits(bits: usize) -> Option<Handle> {
        let part = bits & ((1 << Self::PART) - 1);
        let part = *Part::ALL.get(part.checked_sub(1)?)?;
        Some(Handle { part, slot: (bits >> Self::PART) as u64 })
    }
}

/// What handles of one kind are and have.
pub(crate) struct Class {
    /// As errors name it after "a".
    pub(crate) name: &'static str,
    /// As errors name it that is used too late.
    pub(crate) late: &'static str,
    pub(crate) members: &'static [(&'static str, Member)],
}

/// Something that handles have.
pub(crate) enum Member {
    Field {
        get: for<'x> fn(&'x Exchange) -> Out<'x>,
        set: Option<Set>,
    },
    /// A field of a frame or a message.
    OfFrame(for<'x> fn(&'x Frame) -> Out<'x>),
    /// A handle to another part.
    Part(Part),
    /// A handle that is an object of its own.
    Made(Made),
    Method {
        /// How many texts it takes.
        takes: usize,
        call: for<'x> fn(&'x mut Exchange, &[&[u8]]) -> Result<Out<'x>>,
    },
}

/// What an assignment calls.
pub(crate) enum Set {
    Text(fn(&mut Exchange, &[u8]) -> Result<()>),
    Integer(fn(&mut Exchange, i64) -> Result<()>),
}

/// Handles that are objects of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Body(Side),
    Connection,
}

/// A name and its value.
pub(crate) type Pair<'x> = (Cow<'x, [u8]>, Cow<'x, [u8]>);

/// What a member gives.
pub(crate) enum Out<'x> {
    /// Nothing, which is `nil`.
    Nil,
    Text(Cow<'x, [u8]>),
    Integer(i64),
    Boolean(bool),
    List(Vec<Cow<'x, [u8]>>),
    /// A list of tables with `name` and `value`.
    Pairs(Vec<Pair<'x>>),
}

impl<'x> Out<'x> {
    fn text(text: &'x (impl AsRef<[u8]> + ?Sized)) -> Out<'x> {
        Out::Text(Cow::Borrowed(text.as_ref()))
    }

    /// Numbers of Lua are exact to 2^53.
    fn count(count: u64) -> Out<'x> {
        Out::Integer(i64::try_from(count).unwrap_or(i64::MAX))
    }

    fn maybe(text: Option<impl Into<Cow<'x, [u8]>>>) -> Out<'x> {
        text.map_or(Out::Nil, |text| Out::Text(text.into()))
    }
}

/// An error of the host as scripts see it.
pub(crate) fn lua_error(error: Error) -> mlua::Error {
    mlua::Error::RuntimeError(error.to_string())
}

/// Bytes as a Lua string.
pub(crate) fn text(lua: &Lua, bytes: &[u8]) -> mlua::Result<LuaString> {
    lua.create_string(bytes)
}

/// A list of texts.
pub(crate) fn list(lua: &Lua, values: impl Iterator<Item = impl AsRef<[u8]>>) -> mlua::Result<Table> {
    let values: mlua::Result<Vec<LuaString>> = values.map(|value| text(lua, value.as_ref())).collect();
    lua.create_sequence_from(values?)
}

/// A list of tables with `name` and `value`.
pub(crate) fn pairs(
    lua: &Lua,
    pairs: impl Iterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>,
) -> mlua::Result<Table> {
    let entries = lua.create_table()?;
    for (i, (name, value)) in pairs.enumerate() {
        let entry = lua.create_table_with_capacity(0, 2)?;
        entry.raw_set("name", text(lua, name.as_ref())?)?;
        entry.raw_set("value", text(lua, value.as_ref())?)?;
        entries.raw_set(i + 1, entry)?;
    }
    Ok(entries)
}

/// Makes what is not there an error that names it.
pub(crate) fn strict<T>(methods: &mut impl UserDataMethods<T>, what: &'static str) {
    methods.add_meta_method(MetaMethod::Index, move |_, _, name: Value| -> mlua::Result<Value> {
        Err(mlua::Error::RuntimeError(format!("a {what} has no `{}`", shown(&name))))
    });
    methods.add_meta_method_mut(
        MetaMethod::NewIndex,
        move |_, _, (name, _): (Value, Value)| -> mlua::Result<()> {
            Err(mlua::Error::RuntimeError(format!("`{}` of a {what} cannot be set", shown(&name))))
        },
    );
}

fn shown(name: &Value) -> String {
    match name {
        Value::String(name) => name.to_string_lossy(),
        other => crate::state::kind(other).to_owned(),
    }
}
