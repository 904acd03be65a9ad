//! Handles as Lua gets at them: three functions in C's manner, which are the metatable of all handles. A call of one
//! through mlua's userdata costs half a microsecond, these a tenth of that.
//!
//! # Why this is sound
//! - Luau throws C++ exceptions through these functions, which are `C-unwind`: what they hold is dropped on the way.
//!   Nothing here catches while Lua may throw; code that may panic runs in [`ask`], where Lua is not called.
//! - Texts of a script are borrowed from the stack of the call, where they stay while it runs, and nothing that they
//!   are given to keeps them.
//! - What the first upvalue points to lives as long as the state: the state's application data holds it.
//! - A handle is a number that scripts cannot make, and means nothing but by the slot that is open now.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::slice;
use std::sync::LazyLock;

use mlua::{Function, LightUserData, Lua, Value, ffi};
use weir_plugin::message::headers::Side;
use weir_plugin::websocket::Frame;
use weir_plugin::{Error, Exchange, Limits};

use super::{Body, Connection, Handle, Made, Member, Out, Part, Result, Set};
use crate::call::For;

/// What the call that runs now is for.
type Now = RefCell<For>;

/// Makes a state know handles.
pub(crate) fn register(lua: &Lua, now: &Rc<Now>, limits: &Limits) -> mlua::Result<()> {
    let (held, limits) = (now.clone(), limits.clone());
    let make = lua.create_function(move |lua, number: usize| {
        let For::Exchange(slot) = &*held.borrow() else { return Ok(Value::Nil) };
        let made = match MADE.get(number) {
            Some(Made::Body(side)) => lua.create_userdata(Body::new(slot.clone(), *side, limits.clone()))?,
            Some(Made::Connection) => lua.create_userdata(Connection(slot.clone()))?,
            None => return Ok(Value::Nil),
        };
        Ok(Value::UserData(made))
    })?;
    lua.set_app_data(now.clone());
    let pointer = LightUserData(Rc::as_ptr(now).cast_mut().cast());
    let table = lua.create_table()?;
    for (name, function, says) in [
        ("__index", index as ffi::lua_CFunction, c"index"),
        ("__newindex", new_index, c"newindex"),
        ("__namecall", name_call, c"namecall"),
    ] {
        // SAFETY: the two values are on the stack and become the upvalues that the functions expect.
        let function = unsafe {
            lua.exec_raw::<Function>((pointer, make.clone()), |l| {
                ffi::lua_pushcclosurek(l, function, says.as_ptr(), 2, None);
            })?
        };
        table.raw_set(name, function)?;
    }
    table.raw_set("__metatable", false)?;
    table.set_readonly(true);
    lua.set_type_metatable::<LightUserData>(Some(table));
    // SAFETY: the callback is of the right type and calls nothing of Lua.
    unsafe { lua.exec_raw::<()>((), |l| (*ffi::lua_callbacks(l)).useratom = Some(atom)) }
}

/// Handles that are objects of their own, by the number that the function which makes them takes.
const MADE: [Made; 3] = [Made::Body(Side::Request), Made::Body(Side::Response), Made::Connection];

/// Members of all handles. Luau keeps for each of its strings which name in here it is.
static MEMBERS: LazyLock<Members> = LazyLock::new(Members::new);

struct Members {
    names: HashMap<&'static [u8], i16>,
    /// By part, then by the number of the name.
    of: [Vec<Option<&'static Member>>; Part::ALL.len()],
}

impl Members {
    fn new() -> Self {
        let mut names = HashMap::new();
        for (name, _) in Part::ALL.iter().flat_map(|part| part.class().members) {
            let next = i16::try_from(names.len()).unwrap_or(-1);
            names.entry(name.as_bytes()).or_insert(next);
        }
        let of = Part::ALL.map(|part| {
            let mut of: Vec<Option<&Member>> = Vec::new();
            of.resize_with(names.len(), || None);
            for (name, member) in part.class().members {
                let number = names.get(name.as_bytes()).and_then(|number| usize::try_from(*number).ok());
                if let Some(place) = number.and_then(|number| of.get_mut(number)) {
                    *place = Some(member);
                }
            }
            of
        });
        Members { names, of }
    }

    fn get(&self, part: Part, atom: c_int) -> Option<&'static Member> {
        *self.of.get(part as usize - 1)?.get(usize::try_from(atom).ok()?)?
    }
}

/// The number of a name, for Luau to keep; -1 for others.
unsafe extern "C-unwind" fn atom(_: *mut ffi::lua_State, text: *const c_char, length: usize) -> i16 {
    // SAFETY: Luau gives one of its strings.
    let text = unsafe { slice::from_raw_parts(text.cast::<u8>(), length) };
    MEMBERS.names.get(text).copied().unwrap_or(-1)
}

/// `handle.name`: the handle, the name.
unsafe extern "C-unwind" fn index(l: *mut ffi::lua_State) -> c_int {
    // SAFETY: see the module.
    unsafe {
        let handle = match subject(l) {
            Ok(handle) => handle,
            Err(what) => return raise(l, format!("attempt to index {what}")),
        };
        let class = handle.part.class();
        match MEMBERS.get(handle.part, name_at(l, 2)) {
            Some(Member::Field { get, .. }) => answer(l, handle, |x| Ok(get(x))),
            Some(Member::OfFrame(get)) => answer_of_frame(l, handle, *get),
            Some(Member::Part(part)) => {
                push_handle(l, Handle { part: *part, ..handle });
                1
            }
            Some(Member::Made(made)) => {
                if let Err(error) = reach(l, handle, |_| Ok(())) {
                    return raise(l, error.to_string());
                }
                let number = MADE.iter().position(|other| other == made).unwrap_or(MADE.len());
                ffi::lua_pushvalue(l, ffi::lua_upvalueindex(2));
                ffi::lua_pushnumber(l, number as f64);
                ffi::lua_call(l, 1, 1);
                1
            }
            Some(Member::Method { .. }) => {
                ffi::lua_pushvalue(l, ffi::lua_upvalueindex(1));
                ffi::lua_pushvalue(l, 2);
                ffi::lua_pushcclosurek(l, method, c"method".as_ptr(), 2, None);
                1
            }
            None => raise(l, format!("a {} has no `{}`", class.name, shown(l, 2))),
        }
    }
}

/// `handle.name = value`: the handle, the name, the value.
unsafe extern "C-unwind" fn new_index(l: *mut ffi::lua_State) -> c_int {
    // SAFETY: see the module.
    unsafe {
        let handle = match subject(l) {
            Ok(handle) => handle,
            Err(what) => return raise(l, format!("attempt to index {what}")),
        };
        let class = handle.part.class();
        let wrong = |wanted: &str| {
            let (name, what) = (shown(l, 2), kind(l, 3));
            format!("`{name}` of a {} is {wanted}, not a {what}", class.name)
        };
        match MEMBERS.get(handle.part, name_at(l, 2)) {
            Some(Member::Field { set: Some(Set::Text(set)), .. }) => match text_at(l, 3) {
                Some(value) => answer(l, handle, |x| set(x, value).map(|()| Out::Nil)),
                None => raise(l, wrong("a string")),
            },
            Some(Member::Field { set: Some(Set::Integer(set)), .. }) => {
                let mut is_number = 0;
                let number = ffi::lua_tonumberx(l, 3, &mut is_number);
                if is_number == 0 || number.fract() != 0.0 {
                    return raise(l, wrong("a whole number"));
                }
                answer(l, handle, |x| set(x, number as i64).map(|()| Out::Nil))
            }
            _ => raise(l, format!("`{}` of a {} cannot be set", shown(l, 2), class.name)),
        }
    }
}

/// `handle:name(…)`: the handle, arguments; Luau keeps the name.
unsafe extern "C-unwind" fn name_call(l: *mut ffi::lua_State) -> c_int {
    // SAFETY: see the module. Names have no zero bytes in them that matter: one that has is unknown.
    unsafe {
        let mut atom = -1;
        let name = ffi::lua_namecallatom(l, &mut atom);
        call(l, atom, || {
            if name.is_null() {
                return "?".to_owned();
            }
            std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
        })
    }
}

/// A method as a value: its upvalues are the first one of the others, and its name.
unsafe extern "C-unwind" fn method(l: *mut ffi::lua_State) -> c_int {
    // SAFETY: see the module.
    unsafe {
        let name = ffi::lua_upvalueindex(2);
        call(l, name_at(l, name), || shown(l, name))
    }
}

/// Calls the method of this number; its name is for errors.
unsafe fn call(l: *mut ffi::lua_State, atom: c_int, name: impl Fn() -> String) -> c_int {
    // SAFETY: see the module.
    unsafe {
        let handle = match subject(l) {
            Ok(handle) => handle,
            Err(what) => return raise(l, format!("attempt to call `{}` of {what}", name())),
        };
        let class = handle.part.class();
        match MEMBERS.get(handle.part, atom) {
            Some(Member::Method { takes, call }) => {
                let mut texts: [&[u8]; MOST] = [&[]; MOST];
                for (text, at) in texts.iter_mut().take(*takes).zip(2..) {
                    *text = match text_at(l, at) {
                        Some(text) => text,
                        None => {
                            let (what, number) = (kind(l, at), at - 1);
                            let name = format!("`{}` of a {}", name(), class.name);
                            return raise(
                                l,
                                format!("argument {number} of {name} is a string, not a {what}"),
                            );
                        }
                    };
                }
                let texts = texts.get(..*takes).unwrap_or_default();
                answer(l, handle, |x| call(x, texts))
            }
            Some(_) => raise(
                l,
                format!("`{}` of a {} is no function: write it with . and without ()", name(), class.name),
            ),
            None => raise(l, format!("a {} has no `{}`", class.name, name())),
        }
    }
}

/// The most texts that a method takes.
const MOST: usize = 2;

/// The handle that is the first argument.
unsafe fn subject(l: *mut ffi::lua_State) -> Result<Handle, &'static str> {
    // SAFETY: the stack may be asked beyond its end.
    let bits = unsafe {
        match ffi::lua_type(l, 1) {
            ffi::LUA_TLIGHTUSERDATA => ffi::lua_tolightuserdata(l, 1) as usize,
            _ => return Err("what is no handle: write it with : instead of ."),
        }
    };
    Handle::from_bits(bits).ok_or("null")
}

/// Runs `f` on the exchange, if the hook that the handle is of runs now.
unsafe fn reach<T>(
    l: *mut ffi::lua_State,
    handle: Handle,
    f: impl FnOnce(&mut Exchange) -> Result<T>,
) -> Result<T> {
    let late = handle.part.class().late;
    // SAFETY: the first upvalue of each function here is this pointer.
    let now = unsafe { now(l) }.borrow();
    match &*now {
        For::Exchange(slot) if slot.id() == handle.slot => f(&mut *slot.borrow(late)?),
        _ => Err(Error::Expired(late)),
    }
}

/// The same, and gives Lua what comes of it: how many values, which is one.
unsafe fn answer(
    l: *mut ffi::lua_State,
    handle: Handle,
    f: impl for<'x> FnOnce(&'x mut Exchange) -> Result<Out<'x>>,
) -> c_int {
    // SAFETY: the exchange is held while Lua copies of it, which may throw.
    let done = unsafe { reach(l, handle, |x| ask(|| f(x)).map(|out| push(l, out))) };
    match done {
        Ok(()) => 1,
        // SAFETY: nothing else is held.
        Err(error) => unsafe { raise(l, error.to_string()) },
    }
}

/// Gives Lua a field of a frame, if the hook that the handle is of runs now: how many values, which is one.
unsafe fn answer_of_frame(l: *mut ffi::lua_State, handle: Handle, get: fn(&Frame) -> Out<'_>) -> c_int {
    let late = handle.part.class().late;
    let done = {
        // SAFETY: as in `reach`; the frame is held while Lua copies of it, which may throw.
        let now = unsafe { now(l) }.borrow();
        let read = |frame: &Frame| ask(|| Ok(get(frame))).map(|out| unsafe { push(l, out) });
        match &*now {
            For::Frame(slot) => slot.with(handle.slot, read).unwrap_or(Err(Error::Expired(late))),
            _ => Err(Error::Expired(late)),
        }
    };
    match done {
        Ok(()) => 1,
        // SAFETY: nothing else is held.
        Err(error) => unsafe { raise(l, error.to_string()) },
    }
}

/// Runs what may panic and does not call Lua. The message of a panic is in the log.
fn ask<'x>(f: impl FnOnce() -> Result<Out<'x>>) -> Result<Out<'x>> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(Error::Failed("weir failed at this".to_owned())))
}

unsafe fn now<'l>(l: *mut ffi::lua_State) -> &'l Now {
    // SAFETY: see the module.
    unsafe { &*ffi::lua_tolightuserdata(l, ffi::lua_upvalueindex(1)).cast::<Now>().cast_const() }
}

unsafe fn push_handle(l: *mut ffi::lua_State, handle: Handle) {
    // SAFETY: functions have room for some values.
    unsafe { ffi::lua_pushlightuserdata(l, handle.to_bits() as *mut _) }
}

/// Copies a value onto the stack.
unsafe fn push(l: *mut ffi::lua_State, out: Out<'_>) {
    // SAFETY: functions have room for twenty values; these are at most four.
    unsafe {
        match out {
            Out::Nil => ffi::lua_pushnil(l),
            Out::Text(text) => push_text(l, &text),
            Out::Integer(number) => ffi::lua_pushnumber(l, number as f64),
            Out::Boolean(is) => ffi::lua_pushboolean(l, c_int::from(is)),
            Out::List(texts) => {
                ffi::lua_createtable(l, c_int::try_from(texts.len()).unwrap_or(0), 0);
                for (text, at) in texts.iter().zip(1..) {
                    push_text(l, text);
                    ffi::lua_rawseti(l, -2, at);
                }
            }
            Out::Pairs(pairs) => {
                ffi::lua_createtable(l, c_int::try_from(pairs.len()).unwrap_or(0), 0);
                for ((name, value), at) in pairs.iter().zip(1..) {
                    ffi::lua_createtable(l, 0, 2);
                    push_text(l, name);
                    ffi::lua_rawsetfield(l, -2, c"name".as_ptr());
                    push_text(l, value);
                    ffi::lua_rawsetfield(l, -2, c"value".as_ptr());
                    ffi::lua_rawseti(l, -2, at);
                }
            }
        }
    }
}

unsafe fn push_text(l: *mut ffi::lua_State, text: &[u8]) {
    // SAFETY: Lua copies it.
    unsafe { ffi::lua_pushlstring_(l, text.as_ptr().cast(), text.len()) }
}

/// The number of the name at a place of the stack, -1 where it is unknown.
unsafe fn name_at(l: *mut ffi::lua_State, at: c_int) -> c_int {
    let (mut atom, mut length) = (-1, 0);
    // SAFETY: only strings are looked at.
    unsafe {
        if ffi::lua_type(l, at) == ffi::LUA_TSTRING {
            ffi::lua_tolstringatom(l, at, &mut length, &mut atom);
        }
    }
    atom
}

/// The text at a place of the stack: a string, or a number, which becomes one there.
unsafe fn text_at<'l>(l: *mut ffi::lua_State, at: c_int) -> Option<&'l [u8]> {
    // SAFETY: the text stays on the stack while the function runs.
    unsafe {
        if !matches!(ffi::lua_type(l, at), ffi::LUA_TSTRING | ffi::LUA_TNUMBER) {
            return None;
        }
        let mut length = 0;
        let text = ffi::lua_tolstring(l, at, &mut length);
        (!text.is_null()).then(|| slice::from_raw_parts(text.cast::<u8>(), length))
    }
}

/// What is at a place of the stack, for an error.
unsafe fn shown(l: *mut ffi::lua_State, at: c_int) -> String {
    // SAFETY: as in `text_at`.
    unsafe {
        match text_at(l, at) {
            Some(text) => String::from_utf8_lossy(text).into_owned(),
            None => kind(l, at).to_owned(),
        }
    }
}

/// What kind of value is at a place of the stack.
unsafe fn kind<'l>(l: *mut ffi::lua_State, at: c_int) -> &'l str {
    // SAFETY: names of types live for ever.
    let name = unsafe { std::ffi::CStr::from_ptr(ffi::lua_typename(l, ffi::lua_type(l, at))) };
    match name.to_str() {
        Ok("no value") | Err(_) => "nil",
        Ok(name) => name,
    }
}

/// Throws an error of the place of the script that called.
unsafe fn raise(l: *mut ffi::lua_State, message: String) -> c_int {
    // SAFETY: nothing is held when Lua throws but the message, which is copied and dropped before.
    unsafe {
        ffi::luaL_where(l, 1);
        push_text(l, message.as_bytes());
        drop(message);
        ffi::lua_concat(l, 2);
        ffi::lua_error(l)
    }
}
