//! The plugin's settings: as they are written, and what they mean.

use std::collections::BTreeMap;

use json_schema::{Builder, Draft, Schema, Schemas};
use serde::Deserialize;
use serde_json::Value;
use weir_guest::prelude::*;

/// `[plugins.NAME.settings]` of the configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    client: Option<RawRules>,
    upstream: Option<RawRules>,
    draft: Draft,
    formats: bool,
    codes: Codes,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            client: None,
            upstream: None,
            draft: Draft::default(),
            formats: true,
            codes: Codes::default(),
        }
    }
}

/// What the messages of one side must be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRules {
    #[serde(rename = "type")]
    kind: Option<String>,
    schema: Option<Value>,
    schemas: BTreeMap<String, Value>,
    max_size: usize,
    action: Fate,
    unknown: Fate,
    not_json: Fate,
    binary: Fate,
    large: Fate,
}

impl Default for RawRules {
    fn default() -> RawRules {
        RawRules {
            kind: None,
            schema: None,
            schemas: BTreeMap::new(),
            max_size: 64 * 1024,
            action: Fate::Close,
            unknown: Fate::Close,
            not_json: Fate::Close,
            binary: Fate::Close,
            large: Fate::Close,
        }
    }
}

/// What becomes of a message that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// The WebSocket ends.
    Close,
    /// It goes no further.
    Drop,
    /// It goes on, and the log tells of it.
    Report,
    /// It goes on.
    Pass,
}

/// The close code of each outcome.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Codes {
    pub invalid: u16,
    pub unknown: u16,
    pub not_json: u16,
    pub binary: u16,
    pub large: u16,
}

impl Default for Codes {
    fn default() -> Codes {
        Codes { invalid: 1008, unknown: 1008, not_json: 1007, binary: 1003, large: 1009 }
    }
}

/// What settings mean.
pub struct Plan {
    /// For messages of the client; none: they pass unseen.
    pub client: Option<Rules>,
    /// For messages of the upstream.
    pub upstream: Option<Rules>,
    pub schemas: Schemas,
    pub codes: Codes,
}

/// What the messages of one side must be.
pub struct Rules {
    pub select: Select,
    /// Bytes.
    pub max_size: usize,
    pub invalid: Fate,
    pub unknown: Fate,
    pub not_json: Fate,
    pub binary: Fate,
    pub large: Fate,
}

/// Which schema is a message's.
pub enum Select {
    /// One for all.
    One(Schema),
    /// By what stands at this JSON pointer.
    ByType(String, BTreeMap<String, Schema>),
}

impl Settings {
    /// Checks everything. Errors say what would be right.
    pub fn resolve(self) -> Result<Plan> {
        let Settings { client, upstream, draft, formats, codes } = self;
        if client.is_none() && upstream.is_none() {
            return Err(Failure::new(
                "nothing to check: `client` has rules for what clients send, `upstream` for what they are sent",
            ));
        }
        codes.check()?;
        let mut builder = Builder::new(draft, formats);
        let mut rules = |side: &str, raw: Option<RawRules>| {
            raw.map(|raw| raw.resolve(side, &mut builder)).transpose().map_err(Failure::new)
        };
        let client = rules("client", client)?;
        let upstream = rules("upstream", upstream)?;
        Ok(Plan { client, upstream, schemas: builder.finish(), codes })
    }
}

impl Codes {
    /// Whether they can be sent (RFC 6455, section 7.4).
    fn check(&self) -> Result<()> {
        let Codes { invalid, unknown, not_json, binary, large } = *self;
        for (name, code) in [
            ("invalid", invalid),
            ("unknown", unknown),
            ("not_json", not_json),
            ("binary", binary),
            ("large", large),
        ] {
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(Failure::new(format!(
                    "codes.{name}: {code} cannot be sent; 1000 to 1003, 1007 to 1014, 3000 to 4999"
                )));
            }
        }
        Ok(())
    }
}

impl RawRules {
    fn resolve(self, side: &str, builder: &mut Builder) -> std::result::Result<Rules, String> {
        if self.max_size == 0 {
            return Err(format!("{side}.max_size: 0 bytes; at least 1"));
        }
        let select = match (self.kind, self.schema, self.schemas) {
            (None, Some(schema), schemas) if schemas.is_empty() => {
                Select::One(compile(builder, &format!("{side}.schema"), side.to_owned(), schema)?)
            }
            (Some(pointer), None, schemas) if !schemas.is_empty() => {
                if !pointer.starts_with('/') {
                    return Err(format!(
                        "{side}.type: `{pointer}` is no JSON pointer; it begins with `/`, as `/type`"
                    ));
                }
                let compiled = schemas.into_iter().enumerate().map(|(at, (kind, schema))| {
                    let place = format!("{side}.schemas.{kind}");
                    Ok((kind, compile(builder, &place, format!("{side}-{at}"), schema)?))
                });
                Select::ByType(pointer, compiled.collect::<std::result::Result<_, String>>()?)
            }
            _ => {
                return Err(format!(
                    "{side}: either `schema`, which is for all messages, or `type`, a JSON pointer to what tells the \
                     type of a message, and `schemas`, by type"
                ));
            }
        };
        Ok(Rules {
            select,
            max_size: self.max_size,
            invalid: self.action,
            unknown: self.unknown,
            not_json: self.not_json,
            binary: self.binary,
            large: self.large,
        })
    }
}

/// A schema of the settings: a table, or a text of JSON.
fn compile(
    builder: &mut Builder,
    place: &str,
    name: String,
    schema: Value,
) -> std::result::Result<Schema, String> {
    let schema = match schema {
        Value::String(text) => {
            json_schema::read(text.as_bytes()).map_err(|error| format!("{place}: no JSON: {error}"))?
        }
        table => table,
    };
    builder.add(&name, schema).map_err(|error| format!("{place}: {error}"))?;
    builder.schema(&name, "").map_err(|error| format!("{place}: {error}"))
}
