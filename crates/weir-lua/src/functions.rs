//! The table that a script returns: its hooks.

use std::time::Duration;

use mlua::{Function, Table, Value};
use weir_plugin::Hooks;

use crate::state::kind;

/// Names that the table of a plugin may have.
pub(crate) const KNOWN: [&str; 17] = [
    "config",
    "on_load",
    "on_connect",
    "on_request",
    "on_request_body",
    "select_upstream",
    "on_response",
    "on_response_body",
    "on_websocket",
    "on_frame",
    "on_message",
    "on_close",
    "on_migrate",
    "on_log",
    "on_timer",
    "on_tick",
    "tick_every",
];

/// The functions of a plugin's table.
pub(crate) struct Functions {
    pub(crate) load: Option<Function>,
    pub(crate) connect: Option<Function>,
    pub(crate) request: Option<Hook>,
    pub(crate) request_body: Option<Hook>,
    pub(crate) select_upstream: Option<Hook>,
    pub(crate) response: Option<Hook>,
    pub(crate) response_body: Option<Hook>,
    pub(crate) websocket: Option<Hook>,
    pub(crate) frame: Option<Hook>,
    pub(crate) message: Option<Hook>,
    pub(crate) close: Option<Hook>,
    pub(crate) migrate: Option<Hook>,
    pub(crate) log: Option<Hook>,
    pub(crate) timer: Option<Function>,
    pub(crate) tick: Option<Function>,
    pub(crate) tick_every: Duration,
}

/// Something that is wrong with a plugin's table.
pub(crate) struct Wrong {
    /// The name of what is wrong.
    pub(crate) name: String,
    pub(crate) message: String,
}

/// A hook and what it takes.
pub(crate) struct Hook {
    pub(crate) function: Function,
    /// How many arguments.
    pub(crate) takes: u8,
    /// Whether one of them is the plugin's state of the exchange.
    pub(crate) ctx: bool,
}

impl Functions {
    /// Takes them, if all that is in the table can be there.
    pub(crate) fn take(table: &Table) -> Result<Self, Wrong> {
        for pair in table.pairs::<Value, Value>() {
            let name = match pair {
                Ok((Value::String(name), _)) => name.to_string_lossy(),
                Ok((other, _)) => {
                    let message = format!("a plugin's table has names, not a {}", kind(&other));
                    return Err(Wrong { name: "return".to_owned(), message });
                }
                Err(error) => return Err(Wrong { name: "return".to_owned(), message: error.to_string() }),
            };
            if !KNOWN.contains(&name.as_str()) {
                let message =
                    format!("unknown name `{name}` in the plugin's table: there are {}", KNOWN.join(", "));
                return Err(Wrong { name, message });
            }
        }
        let function = |name: &str| match table.raw_get(name).unwrap_or(Value::Nil) {
            Value::Nil => Ok(None),
            Value::Function(function) => Ok(Some(function)),
            other => {
                let message = format!("`{name}` is a {}: a function is wanted", kind(&other));
                Err(Wrong { name: name.to_owned(), message })
            }
        };
        let hook = |name: &str, before_ctx: u8| {
            let made = |function: Function| {
                let info = function.info();
                let takes = if info.is_vararg { u8::MAX } else { info.num_params };
                Hook { function, takes, ctx: takes > before_ctx }
            };
            function(name).map(|function| function.map(made))
        };
        Ok(Functions {
            load: function("on_load")?,
            connect: function("on_connect")?,
            request: hook("on_request", 1)?,
            request_body: hook("on_request_body", 2)?,
            select_upstream: hook("select_upstream", 2)?,
            response: hook("on_response", 2)?,
            response_body: hook("on_response_body", 2)?,
            websocket: hook("on_websocket", 2)?,
            frame: hook("on_frame", 2)?,
            message: hook("on_message", 2)?,
            close: hook("on_close", 2)?,
            migrate: hook("on_migrate", 2)?,
            log: hook("on_log", 2)?,
            timer: function("on_timer")?,
            tick: function("on_tick")?,
            tick_every: tick_every(table)?,
        })
    }

    /// The hooks that there are.
    pub(crate) fn wanted(&self) -> Hooks {
        Hooks {
            connect: self.connect.is_some(),
            request: self.request.is_some(),
            request_body: self.request_body.is_some(),
            select_upstream: self.select_upstream.is_some(),
            response: self.response.is_some(),
            response_body: self.response_body.is_some(),
            log: self.log.is_some(),
            websocket: self.websocket.is_some(),
            frame: self.frame.is_some(),
            message: self.message.is_some(),
            close: self.close.is_some(),
            migrate: self.migrate.is_some(),
            timer: self.timer.is_some(),
            tick: self.tick.is_some().then_some(self.tick_every),
        }
    }
}

/// Seconds between two ticks.
fn tick_every(table: &Table) -> Result<Duration, Wrong> {
    match table.raw_get::<Value>("tick_every").unwrap_or(Value::Nil) {
        Value::Nil => Ok(TICK_EVERY),
        value => match value.as_f64().or_else(|| value.as_i64().map(|n| n as f64)) {
            Some(seconds) if (1.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
            _ => Err(Wrong {
                name: "tick_every".to_owned(),
                message: "`tick_every` is a number of seconds from 1 to 86400".to_owned(),
            }),
        },
    }
}

/// Between two ticks of a plugin that does not say.
const TICK_EVERY: Duration = Duration::from_secs(60);
