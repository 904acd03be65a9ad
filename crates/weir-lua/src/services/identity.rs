//! `weir.password` and `weir.jwt`: who somebody is.

use mlua::{BorrowedBytes, IntoLua, Lua, LuaSerdeExt, LuaString, Table, Value};
use weir_plugin::Error;
use weir_plugin::services::{Services, TokenKeys, TokenOptions};

use crate::handles::lua_error;
use crate::state::kind;

pub(super) fn password(lua: &Lua, services: &Services) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let passwords = services.passwords.clone();
    table.set(
        "verify",
        lua.create_async_function(move |_, (hash, password): (LuaString, LuaString)| {
            let verified = passwords.verify(hash.to_string_lossy(), password.as_bytes().to_vec());
            async move { verified.await.map_err(lua_error) }
        })?,
    )?;
    Ok(table)
}

pub(super) fn jwt(lua: &Lua, services: &Services) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let tokens = services.tokens.clone();
    table.set(
        "verify",
        lua.create_function(move |lua, (token, keys_, options_): (BorrowedBytes, Value, Table)| {
            match tokens.verify(&token, &keys(keys_)?, &options(&options_)?) {
                Ok(claims) => {
                    let claims: serde_json::Value = serde_json::from_str(&claims)
                        .map_err(|error| lua_error(Error::Failed(error.to_string())))?;
                    Ok((lua.to_value(&claims)?, Value::Nil))
                }
                // A token that is not accepted is no failure of the script.
                Err(Error::Denied(why)) => Ok((Value::Nil, why.into_lua(lua)?)),
                Err(error) => Err(lua_error(error)),
            }
        })?,
    )?;
    Ok(table)
}

fn wrong(message: String) -> mlua::Error {
    lua_error(Error::invalid(format!("weir.jwt.verify: {message}")))
}

/// A JWKS as text, or a table with one of `jwks`, `secret` and `pem`.
fn keys(value: Value) -> mlua::Result<TokenKeys> {
    let table = match value {
        Value::String(text) => return Ok(TokenKeys::Jwks(text.to_str()?.to_owned())),
        Value::Table(table) => table,
        other => return Err(wrong(format!("the keys are a JWKS or a table, not a {}", kind(&other)))),
    };
    let pairs: Vec<(String, LuaString)> = table.pairs().take(2).collect::<mlua::Result<_>>()?;
    let [(name, key)] = pairs.as_slice() else {
        return Err(wrong("the keys are a table with one of jwks, secret and pem".to_owned()));
    };
    match name.as_str() {
        "jwks" => Ok(TokenKeys::Jwks(key.to_str()?.to_owned())),
        "secret" => Ok(TokenKeys::Secret(key.as_bytes().to_vec())),
        "pem" => Ok(TokenKeys::Pem(key.to_str()?.to_owned())),
        name => Err(wrong(format!("unknown name `{name}` in the keys: there are jwks, secret, pem"))),
    }
}

/// What may be in the table of options.
const OPTIONS: [&str; 5] = ["algorithms", "issuers", "audiences", "leeway", "required"];

fn options(table: &Table) -> mlua::Result<TokenOptions> {
    for pair in table.pairs::<Value, Value>() {
        let (name, _) = pair?;
        let name = name.as_string().map(|name| name.to_string_lossy()).unwrap_or_default();
        if !OPTIONS.contains(&name.as_str()) {
            return Err(wrong(format!("unknown name `{name}`: there are {}", OPTIONS.join(", "))));
        }
    }
    Ok(TokenOptions {
        algorithms: texts(table, "algorithms")?,
        issuers: texts(table, "issuers")?,
        audiences: texts(table, "audiences")?,
        leeway: table.raw_get::<Option<u32>>("leeway")?.unwrap_or(0),
        required: texts(table, "required")?,
    })
}

/// One text, or a list of them.
fn texts(table: &Table, name: &str) -> mlua::Result<Vec<String>> {
    match table.raw_get::<Value>(name)? {
        Value::Nil => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text.to_str()?.to_owned()]),
        Value::Table(list) => list.sequence_values().collect(),
        other => Err(wrong(format!("`{name}` is a text or a list of texts, not a {}", kind(&other)))),
    }
}
