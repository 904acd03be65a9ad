//! `weir.crypto`.

use mlua::{BorrowedBytes, BorrowedStr, Lua, Table};
use weir_plugin::services::{Hash, Services, Signature, input, random};

use crate::handles::{lua_error, text};

pub(super) fn table(lua: &Lua, services: &Services) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let crypto = services.crypto.clone();
    table.set(
        "hash",
        lua.create_function(move |lua, (name, data): (BorrowedStr, BorrowedBytes)| {
            text(lua, &crypto.hash(Hash::named(&name).map_err(lua_error)?, input(&data).map_err(lua_error)?))
        })?,
    )?;
    let crypto = services.crypto.clone();
    table.set(
        "hmac",
        lua.create_function(move |lua, (name, key, data): (BorrowedStr, BorrowedBytes, BorrowedBytes)| {
            text(
                lua,
                &crypto.hmac(
                    Hash::named(&name).map_err(lua_error)?,
                    input(&key).map_err(lua_error)?,
                    input(&data).map_err(lua_error)?,
                ),
            )
        })?,
    )?;
    let crypto = services.crypto.clone();
    table.set(
        "equal",
        lua.create_function(move |_, (a, b): (BorrowedBytes, BorrowedBytes)| Ok(crypto.equal(&a, &b)))?,
    )?;
    let crypto = services.crypto.clone();
    table.set(
        "random",
        lua.create_function(move |lua, count: usize| {
            text(lua, &random(&*crypto, count).map_err(lua_error)?)
        })?,
    )?;
    let crypto = services.crypto.clone();
    table.set("uuid", lua.create_function(move |_, ()| crypto.uuid().map_err(lua_error))?)?;
    let crypto = services.crypto.clone();
    type Sealing = (BorrowedBytes, BorrowedBytes, Option<BorrowedBytes>);
    table.set(
        "encrypt",
        lua.create_function(move |lua, (key, plaintext, aad): Sealing| {
            let sealed = crypto.encrypt(&key, &plaintext, aad.as_deref().unwrap_or_default());
            text(lua, &sealed.map_err(lua_error)?)
        })?,
    )?;
    let crypto = services.crypto.clone();
    table.set(
        "decrypt",
        lua.create_function(move |lua, (key, sealed, aad): Sealing| {
            let plaintext = crypto.decrypt(&key, &sealed, aad.as_deref().unwrap_or_default());
            text(lua, &plaintext.map_err(lua_error)?)
        })?,
    )?;
    let crypto = services.crypto.clone();
    type Signed = (BorrowedStr, BorrowedBytes, BorrowedBytes, BorrowedBytes);
    table.set(
        "verify",
        lua.create_function(move |_, (algorithm, key, data, signature): Signed| {
            let algorithm = Signature::named(&algorithm).map_err(lua_error)?;
            crypto.verify(algorithm, &key, &data, &signature).map_err(lua_error)
        })?,
    )?;
    Ok(table)
}
