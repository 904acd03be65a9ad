//! `weir.http`: requests of a plugin's own.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use mlua::{
    IntoLuaMulti, Lua, LuaString, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value,
};
use weir_plugin::message::{body, call};
use weir_plugin::services::{HttpAnswer, HttpCall, HttpClient, MOST_AT_ONCE, fetch, together};
use weir_plugin::{Content, Error, Limits, Policy};

use crate::handles::{list, lua_error, pairs, strict, text};
use crate::host::fields;
use crate::services::seconds;
use crate::state::kind;

/// The table `weir.http`.
pub(crate) fn table(lua: &Lua, client: &Arc<dyn HttpClient>, policy: &Policy) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let lend = || (client.clone(), Rc::new(policy.clone()));
    let (to, policy) = lend();
    table.set(
        "request",
        lua.create_async_function(move |lua, what: Value| {
            let asked = Asked::new("weir.http.request", &what, &policy);
            let to = to.clone();
            async move {
                let asked = asked?;
                outcome(&lua, asked.send(&*to).await)
            }
        })?,
    )?;
    let (to, policy) = lend();
    table.set(
        "all",
        lua.create_async_function(move |lua, what: Table| {
            let asked = several(&what, &policy);
            let to = to.clone();
            async move {
                let answers = together(asked?.into_iter().map(|asked| asked.send(&*to)).collect()).await;
                let results = lua.create_table_with_capacity(answers.len(), 0)?;
                for (i, answer) in answers.into_iter().enumerate() {
                    let result = match answer {
                        Ok(response) => Value::UserData(lua.create_userdata(response)?),
                        Err(error) => {
                            let failed = lua.create_table_with_capacity(0, 1)?;
                            failed.raw_set("error", text(&lua, error.to_string().as_bytes())?)?;
                            Value::Table(failed)
                        }
                    };
                    results.raw_set(i + 1, result)?;
                }
                Ok(results)
            }
        })?,
    )?;
    Ok(table)
}

/// An answer, or `nil` and why there is none: that a server does not answer is nothing out of the ordinary.
fn outcome(lua: &Lua, answer: Result<Response, Error>) -> mlua::Result<MultiValue> {
    match answer {
        Ok(response) => lua.create_userdata(response)?.into_lua_multi(lua),
        Err(error) => (Value::Nil, error.to_string()).into_lua_multi(lua),
    }
}

/// What may be in the table that a call takes.
const NAMES: [&str; 8] = ["url", "upstream", "path", "method", "headers", "body", "timeout", "limit"];

/// A call as a script asks for it.
struct Asked {
    call: HttpCall,
    /// What is read of the body before the script goes on; `None`: it is read as it is asked for.
    limit: Option<usize>,
    limits: Limits,
}

fn several(what: &Table, policy: &Policy) -> mlua::Result<Vec<Asked>> {
    if what.raw_len() > MOST_AT_ONCE {
        return Err(lua_error(Error::TooLarge(MOST_AT_ONCE as u64)));
    }
    what.sequence_values::<Value>().map(|one| Asked::new("weir.http.all", &one?, policy)).collect()
}

impl Asked {
    fn new(function: &str, what: &Value, policy: &Policy) -> mlua::Result<Self> {
        let wrong = |message: String| mlua::Error::RuntimeError(format!("{function}: {message}"));
        let Value::Table(table) = what else {
            return Err(wrong(format!(
                "a table with url, or upstream and path, is wanted, not a {}",
                kind(what)
            )));
        };
        for pair in table.pairs::<Value, Value>() {
            let name = pair?.0;
            let name = name.as_string().map(|name| name.to_string_lossy()).unwrap_or_default();
            if name != "stream" && !NAMES.contains(&name.as_str()) {
                let names = NAMES.join(", ");
                return Err(wrong(format!("unknown name `{name}`: there are {names}, stream")));
            }
        }
        let string = |name: &str| match table.raw_get::<Value>(name)? {
            Value::Nil => Ok(None),
            Value::String(text) => Ok(Some(text)),
            other => Err(wrong(format!("`{name}` is a string, not a {}", kind(&other)))),
        };
        let url = string("url")?;
        let upstream = string("upstream")?;
        let path = string("path")?;
        let bytes = |text: &Option<LuaString>| text.as_ref().map(|text| text.as_bytes().to_vec());
        let (url, path) = (bytes(&url), bytes(&path));
        let group = upstream.map(|name| name.to_string_lossy());
        let to = match (&url, &group) {
            (Some(url), None) if path.is_none() => call::To::Url(url),
            (None, Some(group)) => call::To::Upstream { group, target: path.as_deref().unwrap_or(b"/") },
            _ => return Err(wrong("either `url`, or `upstream` with `path`, says where it goes".to_owned())),
        };
        let timeout = match table.raw_get::<Option<f64>>("timeout")? {
            Some(time) => seconds(time)?,
            None => call::TIMEOUT,
        };
        let limit = table.raw_get::<Option<u64>>("limit")?;
        let limit = match table.raw_get::<Option<bool>>("stream")?.unwrap_or(false) {
            true => None,
            false => Some(body::limit(&policy.limits, limit).map_err(lua_error)?),
        };
        let method = string("method")?.map_or(b"GET".to_vec(), |method| method.as_bytes().to_vec());
        let body = string("body")?.map_or(Bytes::new(), |body| Bytes::copy_from_slice(&body.as_bytes()));
        let fields = fields(&table.raw_get("headers")?).map_err(wrong)?;
        let fields = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let call = call::call(&policy.grants, to, &method, fields, body, timeout).map_err(lua_error)?;
        Ok(Asked { call, limit, limits: policy.limits.clone() })
    }

    async fn send(self, client: &dyn HttpClient) -> Result<Response, Error> {
        let HttpAnswer { status, headers, body } = fetch(client, self.call, self.limit).await?;
        Ok(Response {
            status: status.as_u16(),
            headers,
            body: Rc::new(RefCell::new(body)),
            limits: self.limits,
        })
    }
}

/// The answer to a call.
pub(crate) struct Response {
    status: u16,
    headers: HeaderMap,
    body: Rc<RefCell<Content>>,
    limits: Limits,
}

impl Response {
    /// Makes Lua know it.
    pub(crate) fn register(lua: &Lua) -> mlua::Result<()> {
        let (headers, body, limits) = (HeaderMap::new(), Rc::default(), Limits::default());
        lua.create_userdata(Response { status: 200, headers, body, limits }).map(drop)
    }
}

impl UserData for Response {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("status", |_, this| Ok(this.status));
        // Of several calls some may have failed: in the place of an answer there is a table with `error`.
        fields.add_field_method_get("error", |_, _| Ok(mlua::Nil));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("header", |lua, this, name: LuaString| {
            let name = http::HeaderName::from_bytes(&name.as_bytes()).ok();
            let value = name.and_then(|name| this.headers.get(name));
            value.map(|value| text(lua, value.as_bytes())).transpose()
        });
        methods.add_method("header_all", |lua, this, name: LuaString| {
            let name = http::HeaderName::from_bytes(&name.as_bytes()).ok();
            let values = name.into_iter().flat_map(|name| this.headers.get_all(name));
            list(lua, values.map(|value| value.as_bytes()))
        });
        methods.add_method("headers", |lua, this, ()| {
            let fields = this.headers.iter();
            pairs(lua, fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())))
        });
        methods.add_async_method("read", |lua, this, limit: Option<u64>| async move {
            let limit = body::limit(&this.limits, limit).map_err(lua_error)?;
            let read = poll_fn(|cx| this.body.borrow_mut().poll_read(cx, limit)).await;
            text(&lua, &read.map_err(lua_error)?)
        });
        methods.add_async_method("piece", |lua, this, ()| async move {
            let piece = poll_fn(|cx| this.body.borrow_mut().poll_piece(cx)).await;
            piece.transpose().map_err(lua_error)?.map(|piece| text(&lua, &piece)).transpose()
        });
        strict(methods, "response of a call");
    }
}
