//! A plugin that does what its settings say: for each hook a list of steps, which call the host by the names of the WIT
//! package and end with a verdict. One component serves every case of the tests.
//!
//! ```toml
//! [plugins.case.settings.hooks]
//! request = [
//!   { call = "kv.incr", args = ["hits", 1, 0, null], save = "hits" },
//!   { call = "request.headers.set", args = ["x-hits", "$hits"] },
//! ]
//! ```
//!
//! An argument `"$name"` is what was saved under that name in this exchange, or what the hook was given: `data`, `last`,
//! `frame`, `selection`, `closed`, `name` and `old`. Bytes are text where they are UTF-8, else `{ hex = "…" }`. A call that
//! fails makes the hook fail, but where `save` is there: then that is `{ error = "…" }`.

mod calls;
mod steps;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use weir_guest::prelude::*;

use calls::Given;
use steps::{Say, Step, bytes_value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// By the hook's name in the WIT package's flags, and `load`, `save`.
    #[serde(default)]
    hooks: BTreeMap<String, Vec<Step>>,
    /// Seconds.
    #[serde(default)]
    tick_every: Option<f64>,
}

struct Conformance {
    settings: Settings,
    /// What hooks without an exchange have saved.
    kept: RefCell<Map<String, Value>>,
}

/// What was saved in an exchange.
#[derive(Default)]
struct Exchange {
    kept: Map<String, Value>,
}

impl Conformance {
    /// Takes the steps of a hook. What the last of them says; none where none says anything.
    fn take(&self, hook: &str, kept: &mut Map<String, Value>, given: &Given<'_>) -> Result<Option<Say>> {
        let steps = self.settings.hooks.get(hook).map(Vec::as_slice).unwrap_or_default();
        steps::take(steps, kept, given)
    }
}

impl Filter for Conformance {
    type Settings = Settings;
    type Exchange = Exchange;

    fn load(settings: Settings) -> Result<Conformance> {
        let mut kept = Map::new();
        if let Some(steps) = settings.hooks.get("load") {
            steps::take(steps, &mut kept, &Given::default())?;
        }
        Ok(Conformance { settings, kept: RefCell::new(kept) })
    }

    fn wants(&self) -> Hooks {
        let flags = [
            ("connect", Hooks::CONNECT),
            ("request", Hooks::REQUEST),
            ("request-body", Hooks::REQUEST_BODY),
            ("select-upstream", Hooks::SELECT_UPSTREAM),
            ("response", Hooks::RESPONSE),
            ("response-body", Hooks::RESPONSE_BODY),
            ("websocket", Hooks::WEBSOCKET),
            ("frame", Hooks::FRAME),
            ("message", Hooks::MESSAGE),
            ("close", Hooks::CLOSE),
            ("migrate", Hooks::MIGRATE),
            ("log", Hooks::LOG),
            ("timer", Hooks::TIMER),
            ("tick", Hooks::TICK),
        ];
        let wanted = flags.into_iter().filter(|(name, _)| self.settings.hooks.contains_key(*name));
        wanted.fold(Hooks::empty(), |hooks, (_, flag)| hooks | flag)
    }

    fn open(&self, id: u64) -> Exchange {
        Exchange { kept: Map::from_iter([("exchange".to_owned(), json!(id))]) }
    }
}

impl OnConnect for Conformance {
    fn on_connect(&self, connection: &Connection) -> Result<ConnectVerdict> {
        let given = Given { connection: Some(connection), ..Given::default() };
        match self.take("connect", &mut self.kept.borrow_mut(), &given)? {
            None => Ok(ConnectVerdict::Accept),
            Some(Say::Refuse) => Ok(ConnectVerdict::Refuse),
            Some(other) => other.misplaced("connect"),
        }
    }
}

impl Conformance {
    fn verdict(&self, hook: &str, x: &mut Exchange, given: &Given<'_>) -> Result<Verdict> {
        match self.take(hook, &mut x.kept, given)? {
            None => Ok(Verdict::Proceed),
            Some(Say::Respond(reply)) => Ok(reply.into_reply().into()),
            Some(other) => other.misplaced(hook),
        }
    }

    fn piece(&self, hook: &str, x: &mut Exchange, data: &[u8], last: bool) -> Result<Piece> {
        x.kept.insert("data".to_owned(), bytes_value(data));
        x.kept.insert("last".to_owned(), json!(last));
        match self.take(hook, &mut x.kept, &Given::default())? {
            None => Ok(Piece::Pass),
            Some(Say::Replace(data)) => Ok(Piece::Replace(data.into_bytes())),
            Some(Say::Respond(reply)) => Ok(reply.into_reply().into()),
            Some(other) => other.misplaced(hook),
        }
    }

    fn frame_verdict(&self, hook: &str, x: &mut Exchange, ws: &Relay, frame: &Frame) -> Result<FrameVerdict> {
        x.kept.insert("data".to_owned(), bytes_value(&frame.data));
        x.kept.insert("frame".to_owned(), steps::frame_value(frame));
        match self.take(hook, &mut x.kept, &Given { relay: Some(ws), ..Given::default() })? {
            None => Ok(FrameVerdict::Forward),
            Some(Say::Replace(data)) => Ok(FrameVerdict::Replace(data.into_bytes())),
            Some(Say::Drop) => Ok(FrameVerdict::Drop),
            Some(Say::Close { code, reason }) => Ok(FrameVerdict::Close { code, reason }),
            Some(other) => other.misplaced(hook),
        }
    }

    fn watch(&self, hook: &str, x: &mut Exchange, given: &Given<'_>) -> Result<Watch> {
        match self.take(hook, &mut x.kept, given)? {
            None => Ok(Watch::all()),
            Some(Say::Watch(names)) => steps::watch(&names),
            Some(other) => other.misplaced(hook),
        }
    }
}

impl OnRequest for Conformance {
    fn on_request(&self, x: &mut Exchange, req: &Request) -> Result<Verdict> {
        self.verdict("request", x, &Given { request: Some(req), ..Given::default() })
    }
}

impl OnRequestBody for Conformance {
    fn on_request_body(&self, x: &mut Exchange, data: &[u8], last: bool) -> Result<Piece> {
        self.piece("request-body", x, data, last)
    }
}

impl SelectUpstream for Conformance {
    fn select_upstream(&self, x: &mut Exchange, selection: &Selection, req: &Request) -> Result<Target> {
        x.kept.insert("selection".to_owned(), steps::selection_value(selection));
        let given = Given { request: Some(req), ..Given::default() };
        Ok(match self.take("select-upstream", &mut x.kept, &given)? {
            None => Target::Default,
            Some(Say::Group(name)) => Target::Group(name),
            Some(Say::Endpoint(address)) => Target::Endpoint(address),
            Some(Say::HashKey(key)) => Target::HashKey(key.into_bytes()),
            Some(other) => return other.misplaced("select-upstream"),
        })
    }
}

impl OnResponse for Conformance {
    fn on_response(&self, x: &mut Exchange, res: &Response, req: &Request) -> Result<Verdict> {
        self.verdict("response", x, &Given { request: Some(req), response: Some(res), ..Given::default() })
    }
}

impl OnResponseBody for Conformance {
    fn on_response_body(&self, x: &mut Exchange, data: &[u8], last: bool) -> Result<Piece> {
        self.piece("response-body", x, data, last)
    }
}

impl OnLog for Conformance {
    fn on_log(&self, x: &mut Exchange, res: &Response, req: &Request) -> Result<()> {
        let given = Given { request: Some(req), response: Some(res), ..Given::default() };
        self.take("log", &mut x.kept, &given).map(drop)
    }
}

impl OnWebsocket for Conformance {
    fn on_websocket(&self, x: &mut Exchange, ws: &Relay, req: &Request) -> Result<Watch> {
        let given = Given { request: Some(req), relay: Some(ws), ..Given::default() };
        self.watch("websocket", x, &given)
    }
}

impl OnFrame for Conformance {
    fn on_frame(&self, x: &mut Exchange, ws: &Relay, frame: &Frame) -> Result<FrameVerdict> {
        self.frame_verdict("frame", x, ws, frame)
    }
}

impl OnMessage for Conformance {
    fn on_message(&self, x: &mut Exchange, ws: &Relay, message: &Frame) -> Result<FrameVerdict> {
        self.frame_verdict("message", x, ws, message)
    }
}

impl OnClose for Conformance {
    fn on_close(&self, x: &mut Exchange, ws: &Relay, closed: &Closed) -> Result<()> {
        x.kept.insert("closed".to_owned(), steps::closed_value(closed));
        self.take("close", &mut x.kept, &Given { relay: Some(ws), ..Given::default() }).map(drop)
    }
}

impl Migrate for Conformance {
    fn save(&self, x: &mut Exchange) -> Result<Vec<u8>> {
        self.take("save", &mut x.kept, &Given::default())?;
        Ok(serde_json::to_vec(&x.kept)?)
    }

    fn on_migrate(&self, x: &mut Exchange, ws: &Relay, old: &[u8]) -> Result<Watch> {
        x.kept.insert("old".to_owned(), serde_json::from_slice(old)?);
        self.watch("migrate", x, &Given { relay: Some(ws), ..Given::default() })
    }
}

impl OnTick for Conformance {
    fn tick_every(&self) -> Option<Duration> {
        self.settings.tick_every.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
    }

    fn on_tick(&self) -> Result<()> {
        self.take("tick", &mut self.kept.borrow_mut(), &Given::default()).map(drop)
    }
}

impl OnTimer for Conformance {
    fn on_timer(&self, name: &str) -> Result<()> {
        let mut kept = self.kept.borrow_mut();
        kept.insert("name".to_owned(), json!(name));
        self.take("timer", &mut kept, &Given::default()).map(drop)
    }
}

weir_guest::export!(Conformance);

#[cfg(test)]
mod tests;
