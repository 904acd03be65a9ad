//! The request.

use http::Version;
use mlua::{BorrowedBytes, BorrowedStr, IntoLua, Lua, UserData, UserDataFields, UserDataMethods};
use weir_plugin::message::headers::Side;
use weir_plugin::message::{host, scheme, set_group, set_method, set_path, set_query};
use weir_plugin::{Exchange, Limits, Slot};

use super::{Body, Connection, Cookies, Headers, Part, Query, lua_error, strict, text};

/// The request of an exchange.
pub(crate) struct Request {
    slot: Slot,
    headers: Part,
    query: Part,
    cookies: Part,
    connection: Part,
    body: Part,
    limits: Limits,
}

impl Request {
    pub(crate) fn new(slot: Slot, limits: Limits) -> Self {
        Request {
            slot,
            headers: Part::default(),
            query: Part::default(),
            cookies: Part::default(),
            connection: Part::default(),
            body: Part::default(),
            limits,
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Exchange) -> T) -> mlua::Result<T> {
        self.slot.with("request", f).map_err(lua_error)
    }
}

impl UserData for Request {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        get(fields, "request_id", |lua, x| text(lua, x.request_id.as_bytes()));
        get(fields, "route", |lua, x| text(lua, x.route.as_bytes()));
        get(fields, "method", |lua, x| text(lua, x.method.as_str().as_bytes()));
        get(fields, "scheme", |lua, x| text(lua, scheme(x).as_bytes()));
        get(fields, "host", |lua, x| text(lua, host(x)));
        get(fields, "path", |lua, x| text(lua, x.uri.path().as_bytes()));
        get(fields, "query_string", |lua, x| text(lua, x.uri.query().unwrap_or_default().as_bytes()));
        get(fields, "version", |lua, x| text(lua, version(x.version)));
        get(fields, "client_ip", |lua, x| {
            x.client.map(|ip| text(lua, ip.to_string().as_bytes())).transpose()
        });
        get(fields, "upstream", |lua, x| {
            let upstream = x.group.as_ref().or(x.upstream.as_ref());
            upstream.map(|name| text(lua, name.as_bytes())).transpose()
        });
        set(fields, "method", set_method);
        set(fields, "path", set_path);
        set(fields, "query_string", set_query);
        set(fields, "upstream", |x, value| match std::str::from_utf8(value) {
            Ok(name) => set_group(x, name),
            Err(_) => Err(weir_plugin::Error::invalid("the name of an upstream is UTF-8")),
        });
        fields.add_field_method_get("headers", |lua, this| {
            this.headers.get(lua, || Headers::new(this.slot.clone(), Side::Request))
        });
        fields.add_field_method_get("query", |lua, this| this.query.get(lua, || Query(this.slot.clone())));
        fields.add_field_method_get("cookies", |lua, this| {
            this.cookies.get(lua, || Cookies(this.slot.clone()))
        });
        fields.add_field_method_get("body", |lua, this| {
            this.body.get(lua, || Body::new(this.slot.clone(), Side::Request, this.limits.clone()))
        });
        fields.add_field_method_get("connection", |lua, this| {
            this.connection.get(lua, || Connection(this.slot.clone()))
        });
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("capture", |lua, this, name: BorrowedStr| {
            this.with(|x| {
                let found = x.captures.iter().find(|(n, _)| **n == *name);
                found.map(|(_, value)| text(lua, value.as_bytes())).transpose()
            })?
        });
        strict(methods, "request");
    }
}

fn get<R: IntoLua>(
    fields: &mut impl UserDataFields<Request>,
    name: &str,
    f: impl Fn(&Lua, &mut Exchange) -> mlua::Result<R> + 'static,
) {
    fields.add_field_method_get(name, move |lua, this| this.with(|x| f(lua, x))?);
}

fn set(
    fields: &mut impl UserDataFields<Request>,
    name: &str,
    f: impl Fn(&mut Exchange, &[u8]) -> Result<(), weir_plugin::Error> + 'static,
) {
    fields.add_field_method_set(name, move |_, this, value: BorrowedBytes| {
        this.with(|x| f(x, &value))?.map_err(lua_error)
    });
}

fn version(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2.0",
        _ => b"HTTP/1.1",
    }
}
