//! The steps of a hook, and the values that they speak of.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use weir_guest::prelude::*;

use crate::calls::{self, Given};

/// One step: a call, or what the hook says, which ends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// A function of the host.
    #[serde(default)]
    call: Option<String>,
    #[serde(default)]
    args: Vec<Value>,
    /// Where the result is kept.
    #[serde(default)]
    save: Option<String>,
    /// What the hook says: values in it may be `"$name"`, too.
    #[serde(default)]
    say: Option<Value>,
    /// Only where what was saved under this name is neither absent, null nor false.
    #[serde(default, rename = "if")]
    when: Option<String>,
}

/// What a hook says.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Say {
    /// Nothing: the hook's default.
    Nothing,
    Refuse,
    Drop,
    Respond(Answer),
    Replace(String),
    Group(String),
    Endpoint(String),
    HashKey(String),
    Close {
        code: u16,
        #[serde(default)]
        reason: String,
    },
    Watch(#[serde(deserialize_with = "names")] Vec<String>),
    /// The hook fails.
    Fail(String),
    /// The instance traps.
    Panic(String),
    /// The hook does not come to an end.
    Loop,
    /// The instance asks for so many bytes of memory.
    Allocate(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
}

fn ok() -> u16 {
    200
}

/// Names. An empty table of Lua is a list and an object at once.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Object(fields) if fields.is_empty() => Ok(Vec::new()),
        value => serde_json::from_value(value).map_err(D::Error::custom),
    }
}

impl Answer {
    pub(crate) fn into_reply(self) -> Reply {
        let reply = Reply::new(self.status).body(self.body);
        self.headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value))
    }
}

impl Say {
    /// Of a verdict that this hook cannot give.
    pub(crate) fn misplaced<T>(self, hook: &str) -> Result<T> {
        Err(Failure::new(format!("`{hook}` cannot say this")))
    }
}

/// Takes steps in order.
pub(crate) fn take(steps: &[Step], kept: &mut Map<String, Value>, given: &Given<'_>) -> Result<Option<Say>> {
    for step in steps {
        if let Some(name) = &step.when
            && kept.get(name).is_none_or(|value| value.is_null() || *value == Value::Bool(false))
        {
            continue;
        }
        if let Some(function) = &step.call {
            let args: Vec<Value> = step.args.iter().map(|arg| filled(arg, kept)).collect();
            match (calls::call(function, &args, given), &step.save) {
                (Ok(value), Some(name)) => drop(kept.insert(name.clone(), value)),
                (Err(failure), Some(name)) => {
                    drop(kept.insert(name.clone(), json!({ "error": failure.text() })))
                }
                (result, None) => drop(result?),
            }
        }
        if let Some(say) = &step.say {
            return said(serde_json::from_value(filled(say, kept))?);
        }
    }
    Ok(None)
}

fn said(say: Say) -> Result<Option<Say>> {
    match say {
        Say::Nothing => Ok(None),
        Say::Fail(text) => Err(Failure::new(text)),
        Say::Panic(text) => panic!("{text}"),
        Say::Loop => loop {
            std::hint::black_box(());
        },
        Say::Allocate(bytes) => {
            std::hint::black_box(vec![1u8; bytes]);
            Ok(None)
        }
        say => Ok(Some(say)),
    }
}

/// A value with what was saved in the place of `"$name"`, also within texts that are longer: `"a $name b"`.
fn filled(value: &Value, kept: &Map<String, Value>) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix('$').and_then(|name| kept.get(name)) {
            Some(value) => value.clone(),
            None => Value::String(replaced(text, kept)),
        },
        Value::Array(values) => values.iter().map(|value| filled(value, kept)).collect(),
        Value::Object(values) => values
            .iter()
            .map(|(name, value)| (name.clone(), filled(value, kept)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn replaced(text: &str, kept: &Map<String, Value>) -> String {
    let mut out = text.to_owned();
    for (name, value) in kept {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        out = out.replace(&format!("${{{name}}}"), &shown);
    }
    out
}

/// Bytes as a value: text, or hexadecimal.
pub(crate) fn bytes_value(data: &[u8]) -> Value {
    match std::str::from_utf8(data) {
        Ok(text) => json!(text),
        Err(_) => json!({ "hex": data.iter().map(|b| format!("{b:02x}")).collect::<String>() }),
    }
}

pub(crate) fn direction_name(direction: Direction) -> &'static str {
    match direction {
        Direction::ToUpstream => "to-upstream",
        Direction::ToClient => "to-client",
    }
}

pub(crate) fn opcode_name(opcode: Opcode) -> &'static str {
    match opcode {
        Opcode::Text => "text",
        Opcode::Binary => "binary",
        Opcode::Ping => "ping",
        Opcode::Pong => "pong",
    }
}

pub(crate) fn frame_value(frame: &Frame) -> Value {
    json!({
        "direction": direction_name(frame.direction),
        "opcode": opcode_name(frame.opcode),
        "first": frame.first,
        "last": frame.last,
        "sequence": frame.sequence,
        "compressed": frame.compressed,
        "size": frame.size,
    })
}

pub(crate) fn closed_value(closed: &Closed) -> Value {
    let by = match closed.by {
        ClosedBy::Client => "client",
        ClosedBy::Upstream => "upstream",
        ClosedBy::Plugin => "plugin",
        ClosedBy::Weir => "weir",
        ClosedBy::Nobody => "nobody",
    };
    json!({ "code": closed.code, "reason": closed.reason, "by": by })
}

pub(crate) fn selection_value(selection: &Selection) -> Value {
    let candidates: Vec<Value> = selection
        .candidates
        .iter()
        .map(
            |c| json!({ "address": c.address, "weight": c.weight, "load": c.load, "available": c.available }),
        )
        .collect();
    json!({
        "group": selection.group,
        "candidates": candidates,
        "attempt": selection.attempt,
        "failure": selection.failure,
    })
}

pub(crate) fn watch(names: &[String]) -> Result<Watch> {
    names.iter().try_fold(Watch::empty(), |watch, name| match name.as_str() {
        "frames" => Ok(watch | Watch::FRAMES),
        "messages" => Ok(watch | Watch::MESSAGES),
        "send" => Ok(watch | Watch::SEND),
        other => Err(Failure::new(format!("`{other}` is nothing to watch"))),
    })
}
