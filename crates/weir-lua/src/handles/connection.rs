//! The client's connection.

use mlua::{Lua, LuaString, UserData, UserDataFields, UserDataMethods};
use weir_plugin::{ClientCertificate, Connection as Told, Slot, Tls};

use super::{lua_error, strict, text};

/// The connection that an exchange came on, or one that has none yet.
pub(crate) struct Connection(pub(crate) Slot);

impl UserData for Connection {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        get(fields, "id", |c| Some(c.id.to_string()));
        get(fields, "listener", |c| Some(c.listener.to_string()));
        get(fields, "peer", |c| Some(c.peer.to_string()));
        get(fields, "peer_ip", |c| c.peer.ip().map(|ip| ip.to_string()));
        get(fields, "local_address", |c| Some(c.local.to_string()));
        get(fields, "tls_version", |c| tls(c).map(|tls| tls.version.to_owned()));
        get(fields, "tls_cipher", |c| tls(c).map(|tls| tls.cipher.to_owned()));
        get(fields, "sni", |c| tls(c).and_then(|tls| tls.sni.as_deref().map(str::to_owned)));
        get(fields, "alpn", |c| tls(c).and_then(|tls| tls.alpn.as_deref().map(str::to_owned)));
        get(fields, "client_subject", |c| client(c).map(|client| client.subject.clone()));
        get(fields, "client_fingerprint", |c| client(c).map(|client| client.fingerprint.clone()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        strict(methods, "connection");
    }
}

fn tls(connection: &Told) -> Option<&Tls> {
    connection.tls.as_deref()
}

fn client(connection: &Told) -> Option<&ClientCertificate> {
    tls(connection)?.client.as_ref()
}

fn get(
    fields: &mut impl UserDataFields<Connection>,
    name: &str,
    f: impl Fn(&Told) -> Option<String> + 'static,
) {
    fields.add_field_method_get(name, move |lua: &Lua, this| -> mlua::Result<Option<LuaString>> {
        let value = this.0.connection("connection", &f).map_err(lua_error)?;
        value.map(|value| text(lua, value.as_bytes())).transpose()
    });
}
