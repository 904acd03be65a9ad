//! What the hooks of WebSockets see and do.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_plugin::websocket::{CloseReason, Closed, ClosedBy, Direction, Frame, FrameVerdict};
use weir_plugin::websocket::{Opcode, RelayLimits, Watch};
use weir_plugin::{Grants, Talk, WebSocket};
use weir_services::{Done, NotedRelays};

use super::*;

const ALL: Watch = Watch { frames: true, messages: true, send: true };
const NONE: Watch = Watch { frames: false, messages: false, send: false };

/// A plugin that is granted the groups `room:*` and relays of the route `chat`, on a relay.
struct Stage {
    relays: NotedRelays,
    instance: Rc<dyn Instance>,
    visit: Box<dyn Visit>,
    x: Held,
    ws: Rc<WebSocket>,
}

impl Stage {
    fn new(text: &str) -> Stage {
        Stage::with(text, Limits::default())
    }

    fn with(text: &str, limits: Limits) -> Stage {
        let relays = NotedRelays::default();
        let services = Services { websockets: Arc::new(relays.clone()), ..services() };
        let grants = Grants {
            groups: ["room:*".to_owned()].into(),
            relays: ["chat".to_owned()].into(),
            ..Grants::default()
        };
        let policy = Policy { limits, grants, ..Policy::default() };
        let source = Source::text("test.lua", text);
        let plugin = block_on(LuaPlugin::load("test", source, Settings::new(), policy, services));
        let plugin = plugin.expect("it loads");
        let instance: Rc<dyn Instance> = block_on(plugin.instantiate().finish()).expect("it starts");
        let mut stage = Stage {
            visit: instance.clone().visit(),
            relays,
            instance,
            x: exchange(),
            ws: ws(&NotedRelays::default(), 0),
        };
        stage.visit_again(1);
        stage
    }

    /// Another relay.
    fn visit_again(&mut self, id: u64) {
        self.visit = self.instance.clone().visit();
        self.ws = ws(&self.relays, id);
        self.x = exchange();
    }

    fn open(&mut self) -> Result<Watch, String> {
        block_on(self.visit.on_websocket(&mut self.x, &self.ws, ALL).finish())
    }

    fn talk(&mut self) -> Rc<dyn Talk> {
        self.visit.talk(&self.ws).expect("it has hooks")
    }

    /// What comes of a message from the client after `on_websocket`.
    fn message(&mut self, data: &str) -> FrameVerdict {
        self.open().expect("it is accepted");
        block_on(self.talk().on_message(frame(data)).finish())
    }
}

fn ws(relays: &NotedRelays, id: u64) -> Rc<WebSocket> {
    Rc::new(WebSocket {
        relay: relays.open(id, "chat", []),
        route: "chat".into(),
        request_id: "r-1".into(),
        client_ip: "192.0.2.1".into(),
        subprotocol: Some("json".into()),
    })
}

fn frame(data: &str) -> Frame {
    let data = Bytes::copy_from_slice(data.as_bytes());
    Frame {
        direction: Direction::ToUpstream,
        opcode: Opcode::Text,
        size: data.len() as u64,
        data,
        first: true,
        last: true,
        sequence: 3,
        compressed: false,
    }
}

fn sent(to: Direction, opcode: Opcode, data: &'static str) -> Done {
    Done::Sent { to, opcode, data: data.into() }
}

fn close(code: i64, reason: &str) -> CloseReason {
    CloseReason::new(code, reason).expect("it can be sent")
}

/// What comes of `hello` in an `on_message` with this body.
fn run(body: &str) -> FrameVerdict {
    let hook = format!("return {{ on_message = function(message, ws, ctx)\n{body}\nend }}");
    Stage::new(&hook).message("hello")
}

fn failed(verdict: FrameVerdict) -> String {
    match verdict {
        FrameVerdict::Fail(message) => message,
        other => format!("{other:?}"),
    }
}

#[test]
fn a_frame_is_read() {
    let mut stage = Stage::new(
        r#"
        return { on_frame = function(frame, ws, ctx)
          assert(frame.direction == "to_client" and frame.opcode == "binary" and frame.data == "a\0\255")
          assert(frame.first == true and frame.last == false and frame.sequence == 7)
          assert(frame.compressed == true and frame.size == 2)
          assert(ws.id == "1" and ws.route == "chat" and ws.request_id == "r-1")
          assert(ws.client_ip == "192.0.2.1" and ws.subprotocol == "json")
          ctx.count = (ctx.count or 0) + 1
          return `{frame.data}{ctx.count}`
        end }
        "#,
    );
    assert_eq!(stage.open(), Ok(ALL), "without the hook it is what there are hooks for");
    let talk = stage.talk();
    for expected in [&b"a\0\xff1"[..], b"a\0\xff2"] {
        let frame = Frame {
            direction: Direction::ToClient,
            opcode: Opcode::Binary,
            data: Bytes::from_static(b"a\0\xff"),
            first: true,
            last: false,
            sequence: 7,
            compressed: true,
            size: 2,
        };
        let verdict = block_on(talk.on_frame(frame).finish());
        assert_eq!(verdict, FrameVerdict::Replace(Bytes::from_static(expected)));
    }
}

#[test]
fn what_hooks_return_is_what_is_done() {
    for (body, expected) in [
        ("", FrameVerdict::Forward),
        ("return message.data .. '!'", FrameVerdict::Replace("hello!".into())),
        ("return ''", FrameVerdict::Replace(Bytes::new())),
        ("return weir.drop()", FrameVerdict::Drop),
        ("return weir.close(4001)", FrameVerdict::Close(close(4001, ""))),
        ("return weir.close(1008, 'no')", FrameVerdict::Close(close(1008, "no"))),
    ] {
        assert_eq!(run(body), expected, "{body}");
    }
}

#[test]
fn what_cannot_be_is_an_error_that_says_so() {
    for (body, expected) in [
        (
            "return 5",
            "on_message returned a number: it returns nothing, a string, weir.drop() or weir.close(code",
        ),
        ("return weir.refuse()", "on_message returned a userdata"),
        ("return weir.close(1006)", "test.lua:2: 1006 is no close code that may be sent"),
        ("return weir.close(4000, string.rep('r', 124))", "test.lua:2: too large: 123 is the most"),
        ("message.text()", "test.lua:2: a message has no `text`"),
        ("message.data = 'x'", "test.lua:2: `data` of a message cannot be set"),
        ("message:data()", "`data` of a message is no function: write it with . and without ()"),
        ("ws.text()", "a websocket has no `text`"),
        ("ws.id = '5'", "`id` of a websocket cannot be set"),
        (
            "ws:send('client', 'x')",
            "test.lua:2: \"client\" is no side to send to: \"to_upstream\" and \"to_client\" are",
        ),
        (
            "ws:send('to_client', 'x', 'txt')",
            "\"txt\" is no opcode: \"text\", \"binary\", \"ping\" and \"pong\" are",
        ),
        ("ws:send('to_client', '\\255')", "a text message is UTF-8: send it as \"binary\""),
        ("ws:send('to_client', string.rep('p', 126), 'ping')", "too large: 125 is the most"),
        ("ws:close(5)", "test.lua:2: 5 is no close code"),
        (
            "ws:join('hall')",
            "test.lua:2: the plugin was not granted the group \"hall\": `[plugins.test.grants] groups",
        ),
        ("ws:leave('hall')", "was not granted the group \"hall\""),
        ("ws:join('')", "the name of a group has 1 to 128 bytes"),
        ("for i = 1, 65 do ws:join('room:' .. i) end", "too large: 64 is the most"),
        ("ws:limit{ size = 5 }", "a websocket has no limit `size`: there are max_message, idle_timeout"),
        ("ws:limit{ max_age = 'x' }", "`max_age` is a number, not a string"),
        ("ws:limit{ max_age = -1 }", "-1 is no time in seconds"),
        ("ws:limit{ max_message = 1.5 }", "`max_message` is a whole number of bytes"),
        ("ws:limit{ max_message = 0 }", "`max_message` is at least one byte"),
        (
            "weir.watch('frame')",
            "weir.watch takes \"frames\", \"messages\" and \"send\", or none of them, not \"frame\"",
        ),
        ("weir.websocket.group('hall')", "was not granted the group \"hall\""),
        ("weir.websocket.group('room:1'):send('to_client', '\\255')", "a text message is UTF-8"),
        ("weir.websocket.group('room:1'):send('to_client', '', 'text', 'x')", "\"x\" is no id of a relay"),
        ("weir.websocket.relay('x')", "\"x\" is no id of a relay"),
        ("error('my own')", "test.lua:2: my own"),
    ] {
        let message = failed(run(body));
        assert!(message.contains(expected), "{body}: {message}");
    }
}

#[test]
fn on_websocket_says_what_it_wants_to_see() {
    for (returns, expected) in [
        ("", Ok(ALL)),
        ("return weir.watch()", Ok(NONE)),
        ("return weir.watch('frames')", Ok(Watch { frames: true, messages: false, send: false })),
        ("return weir.watch('messages', 'frames', 'send')", Ok(ALL)),
    ] {
        let text = format!(
            "return {{ on_websocket = function(ws, req, ctx) assert(req.path == '/a/b') {returns} end }}"
        );
        assert_eq!(Stage::new(&text).open(), expected, "{returns}");
    }
    let told = Stage::new("return { on_websocket = function() return true end }").open();
    let told = told.expect_err("it is no such thing");
    assert!(told.contains("on_websocket returned a boolean: it returns nothing, or weir.watch"), "{told}");
}

#[test]
fn a_relay_is_sent_to_grouped_bounded_and_ended() {
    let mut stage = Stage::new(
        r#"
        return {
          on_websocket = function(ws, req, ctx)
            ws:join("room:1")
            ws:join("room:2")
            assert(ws:leave("room:2") == true and ws:leave("room:2") == false)
            ws:limit{ max_message = 1000, idle_timeout = 1.5, max_age = 0, ping_interval = 30 }
            ctx.ws = ws
          end,
          on_message = function(message, ws, ctx)
            assert(ctx.ws == ws)
            ws:send("to_client", "one")
            ws:send("to_upstream", "two", "binary")
            ws:close(4000, "over")
          end,
        }
        "#,
    );
    assert_eq!(stage.message("hello"), FrameVerdict::Forward);
    let seconds = |s| Some(Duration::from_millis(s));
    let limits = RelayLimits {
        max_message: Some(1000),
        idle_timeout: seconds(1500),
        max_age: seconds(0),
        ping_interval: seconds(30_000),
    };
    let done = [
        Done::Limited(limits),
        sent(Direction::ToClient, Opcode::Text, "one"),
        sent(Direction::ToUpstream, Opcode::Binary, "two"),
        Done::Closed(close(4000, "over")),
    ];
    assert_eq!(stage.relays.take(1), done);
    assert_eq!(stage.relays.groups(1), ["room:1".to_owned()].into());
}

#[test]
fn groups_and_relays_are_reached_from_anywhere() {
    let mut stage = Stage::new(
        r#"
        return { on_message = function(message, ws)
          local room = weir.websocket.group("room:1")
          assert(room:count() == 3 and #room:members() == 3)
          assert(room:send("to_client", message.data, "text", ws.id) == 2)
          assert(room:send("to_upstream", "all", "binary") == 3)
          local other = weir.websocket.relay("8")
          assert(other.id == "8" and other.route == "chat" and other.request_id == "")
          assert(other.client_ip == nil and other.subprotocol == nil)
          other:join("room:2")
          assert(weir.websocket.relay("9") == nil)
          local ok, message = pcall(weir.websocket.relay, "7")
          assert(string.find(message, "was not granted relays of the route \"hall\"", 1, true), message)
          assert(weir.websocket.group("room:2"):close(4000) == 1)
        end }
        "#,
    );
    stage.relays.open(7, "hall", ["room:1".to_owned()]);
    stage.relays.open(8, "chat", ["room:1".to_owned()]);
    stage.ws.relay.join("room:1").expect("there is room");
    assert_eq!(stage.message("hello"), FrameVerdict::Forward);
    let to_all = sent(Direction::ToUpstream, Opcode::Binary, "all");
    let to_others = sent(Direction::ToClient, Opcode::Text, "hello");
    assert_eq!(stage.relays.take(1), std::slice::from_ref(&to_all));
    assert_eq!(stage.relays.take(7), [to_others.clone(), to_all.clone()]);
    assert_eq!(stage.relays.take(8), [to_others, to_all, Done::Closed(close(4000, ""))]);
}

#[test]
fn a_relay_may_be_kept_for_timers() {
    let mut stage = Stage::new(
        r#"
        local all = {}
        return {
          on_websocket = function(ws) all[ws.id] = ws end,
          on_timer = function(name)
            local ok, message = pcall(all["1"].send, all["1"], "to_client", name)
            if not ok then error(message, 0) end
          end,
        }
        "#,
    );
    stage.open().expect("it is accepted");
    let instance = stage.instance.clone();
    assert_eq!(block_on(instance.on_timer("tick".to_owned()).finish()), Ok(()));
    assert_eq!(stage.relays.take(1), [sent(Direction::ToClient, Opcode::Text, "tick")]);
    stage.relays.end(1);
    let told = block_on(instance.on_timer("tock".to_owned()).finish()).expect_err("it has ended");
    assert!(told.contains("the websocket has ended"), "{told}");
}

#[test]
fn a_frame_is_gone_with_its_hook() {
    let mut stage = Stage::new(
        r#"
        local kept
        return {
          on_frame = function(frame)
            if kept then
              local ok, text = pcall(function() return kept.data end)
              return text
            end
            kept = frame
          end,
          on_timer = function() return kept.data end,
        }
        "#,
    );
    let talk = stage.talk();
    assert_eq!(block_on(talk.on_frame(frame("one")).finish()), FrameVerdict::Forward);
    let FrameVerdict::Replace(text) = block_on(talk.on_frame(frame("two")).finish()) else {
        panic!("no text")
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("test.lua:6: this frame was used after its hook had ended"), "{text}");
    let told = block_on(stage.instance.on_timer(String::new()).finish()).expect_err("it is gone");
    assert!(told.contains("this frame was used after its hook had ended"), "{told}");
}

#[test]
fn the_directions_do_not_see_each_other() {
    let limits = Limits { cpu: Duration::from_secs(60), ..Limits::default() };
    let mut stage = Stage::with(
        r#"
        local kept = {}
        return { on_message = function(message, ws, ctx)
          kept[message.direction] = message
          if message.direction == "to_upstream" then
            while true do end
          end
          local ok, text = pcall(function() return kept.to_upstream.data end)
          return `{message.data} {text}`
        end }
        "#,
        limits,
    );
    let talk = stage.talk();
    let waiting = talk.on_message(frame("up"));
    assert!(matches!(waiting, Step::Wait(_)));
    let down = Frame { direction: Direction::ToClient, ..frame("down") };
    let FrameVerdict::Replace(text) = block_on(talk.on_message(down).finish()) else { panic!("no text") };
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.starts_with("down ") && text.contains("used after its hook had ended"), "{text}");
    // The next one after it was given up has a frame of its own.
    drop(waiting);
    let down = Frame { direction: Direction::ToClient, ..frame("again") };
    assert!(matches!(block_on(talk.on_message(down).finish()), FrameVerdict::Replace(_)));
}

#[test]
fn a_hook_that_waits_still_has_its_frame() {
    let mut stage = Stage::new(
        "return { on_message = function(message) weir.http.request{ upstream = 'none', path = '/' } return message.data .. '!' end }",
    );
    let FrameVerdict::Fail(told) = stage.message("hello") else { panic!("it was not granted") };
    assert!(told.contains("grants.upstreams"), "{told}");
    let limits = Limits { slice: Duration::from_micros(20), ..Limits::default() };
    let text =
        "return { on_message = function(message) for i = 1, 2000000 do end return message.data .. '!' end }";
    assert_eq!(
        Stage::with(text, Limits { cpu: Duration::from_secs(60), ..limits }).message("hello"),
        FrameVerdict::Replace("hello!".into())
    );
}

#[test]
fn on_close_is_told_how_it_ended_and_shares_ctx() {
    let mut stage = Stage::new(
        r#"
        return {
          on_websocket = function(ws, req, ctx) ctx.seen = 0 end,
          on_frame = function(frame, ws, ctx) ctx.seen += 1 end,
          on_close = function(closed, ws, ctx)
            if closed.code then
              error(`{closed.code} {closed.reason} {closed.by} {ws.id} {ctx.seen}`, 0)
            end
            error(`none {closed.reason} {closed.by}`, 0)
          end,
          on_log = function(res, req, ctx) assert(ctx.seen == 1) end,
        }
        "#,
    );
    stage.open().expect("it is accepted");
    let talk = stage.talk();
    block_on(talk.on_frame(frame("one")).finish());
    let closed = Closed { code: Some(4001), reason: "over".into(), by: ClosedBy::Plugin };
    assert_eq!(block_on(talk.on_close(closed).finish()), Err("4001 over plugin 1 1".to_owned()));
    let closed = Closed { code: None, reason: "".into(), by: ClosedBy::Nobody };
    assert_eq!(block_on(talk.on_close(closed).finish()), Err("none  nobody".to_owned()));
    assert_eq!(block_on(stage.visit.on_log(&mut stage.x).finish()), Ok(()));
}

#[test]
fn hooks_get_only_what_they_take() {
    let mut stage = Stage::new(
        "return { on_frame = function(...) return tostring(select('#', ...)) end, on_message = function() end }",
    );
    let talk = stage.talk();
    assert_eq!(block_on(talk.on_frame(frame("one")).finish()), FrameVerdict::Replace("3".into()));
    assert_eq!(block_on(talk.on_message(frame("one")).finish()), FrameVerdict::Forward);
}

#[test]
fn without_a_hook_there_is_nobody_to_talk_to() {
    let mut stage = Stage::new("return { on_request = function() end }");
    assert!(stage.visit.talk(&stage.ws).is_none());
    let plugin = load("return { on_frame = print, on_close = print }").expect("it loads");
    let hooks = plugin.hooks();
    assert!(hooks.frame && hooks.close && !hooks.message && !hooks.websocket && !hooks.migrate);
    assert!(hooks.is_for_relays() && hooks.is_for_routes());
}

#[test]
fn what_is_kept_of_a_relay_is_handed_on() {
    let mut old = Stage::new(
        r#"
        return { on_websocket = function(ws, req, ctx)
          ctx.count, ctx.names, ctx.raw, ctx.bytes = 5, { "a", b = true }, "\0\255", buffer.fromstring("xy")
        end }
        "#,
    );
    old.open().expect("it is accepted");
    let saved = block_on(old.talk().save().finish()).expect("it is data");
    let mut new = Stage::new(
        r#"
        return {
          on_message = function(message, ws, ctx) return `{ctx.count}` end,
          on_migrate = function(old, ws, ctx)
            assert(next(ctx) == nil and ws.id == "1")
            assert(old.names[1] == "a" and old.names.b and old.raw == "\0\255" and buffer.tostring(old.bytes) == "xy")
            ctx.count = old.count + 1
            return weir.watch("messages")
          end,
        }
        "#,
    );
    let step = new.visit.on_migrate(&mut new.x, &new.ws, saved.clone(), ALL);
    assert_eq!(block_on(step.finish()), Ok(Watch { frames: false, messages: true, send: false }));
    let verdict = block_on(new.talk().on_message(frame("hello")).finish());
    assert_eq!(verdict, FrameVerdict::Replace("6".into()));

    let mut none = Stage::new("return { on_frame = function() end }");
    let told = block_on(none.visit.on_migrate(&mut none.x, &none.ws, saved, ALL).finish());
    assert_eq!(told, Err("the plugin has no hook on_migrate(old, ws, ctx)".to_owned()));
    let told = block_on(new.visit.on_migrate(&mut new.x, &new.ws, Bytes::from_static(b"{}"), ALL).finish());
    assert!(
        told.is_err_and(|text| text.contains("what was saved of the relay is not that of a plugin in Lua"))
    );
}

#[test]
fn a_hook_says_what_it_wants_to_see_from_then_on() {
    let mut stage = Stage::new(
        r#"
        return {
          on_websocket = function(ws) ws:watch("messages") end,
          on_message = function(message, ws)
            if message.data == "enough" then ws:watch("send") end
            if message.data == "wrong" then ws:watch("message") end
          end,
        }
        "#,
    );
    assert_eq!(stage.open(), Ok(ALL));
    let talk = stage.talk();
    assert_eq!(talk.changed(), Some(Watch { messages: true, ..NONE }), "what it has returned is older");
    assert_eq!(block_on(talk.on_message(frame("more")).finish()), FrameVerdict::Forward);
    assert_eq!(talk.changed(), None);
    assert_eq!(block_on(talk.on_message(frame("enough")).finish()), FrameVerdict::Forward);
    assert_eq!((talk.changed(), talk.changed()), (Some(Watch { send: true, ..NONE }), None));
    let told = block_on(talk.on_message(frame("wrong")).finish());
    let FrameVerdict::Fail(told) = told else { panic!("{told:?}") };
    assert!(told.contains("ws:watch takes \"frames\", \"messages\" and \"send\""), "{told}");
}

#[test]
fn what_cannot_be_handed_on_is_named() {
    let mut stage = Stage::new("return { on_websocket = function(ws, req, ctx) ctx.socket = ws end }");
    stage.open().expect("it is accepted");
    let told = block_on(stage.talk().save().finish()).expect_err("it is no data");
    assert!(told.contains("ctx.socket is a userdata"), "{told}");
    let mut stage = Stage::new("return { on_websocket = function(ws) end }");
    stage.open().expect("it is accepted");
    assert!(block_on(stage.talk().save().finish()).is_ok(), "a ctx that was never used is empty");
}

#[test]
fn hostile_hooks_end() {
    let limits = Limits { memory: 16 << 20, ..Limits::default() };
    for (name, body, expected) in [
        ("endless loop", "while true do end", "processor time"),
        ("the same in pcall", "while true do pcall(function() while true do end end) end", "processor time"),
        ("groups without end", "local i = 0 while true do i += 1 ws:join('room:' .. i) end", "too large: 64"),
        ("reading without end", "while true do local _ = message.data end", "processor time"),
    ] {
        let text = format!("return {{ on_message = function(message, ws, ctx)\n{body}\nend }}");
        let message = failed(Stage::with(&text, limits.clone()).message("hello"));
        assert!(message.contains(expected), "{name}: {message}");
    }
    let text = "local t = {} return { on_message = function(m) while true do table.insert(t, string.rep('a', 100000) .. #t) end end }";
    let mut stage = Stage::with(text, Limits { cpu: Duration::from_secs(60), ..limits });
    let message = failed(stage.message("hello"));
    assert!(message.contains("memory is used up"), "{message}");
    assert!(stage.instance.is_spent());
}

#[test]
fn an_idle_relay_holds_little_memory() {
    let mut stage = Stage::new(
        "return { on_websocket = function(ws, req, ctx) ctx.a = 1 end, on_frame = function(f, ws, ctx) ctx.a += 1 end, on_timer = function() error(gcinfo() * 1024, 0) end }",
    );
    let instance = stage.instance.clone();
    let used = || -> f64 {
        let told = block_on(instance.on_timer(String::new()).finish()).expect_err("it tells");
        told.parse().expect("a number")
    };
    let before = used();
    let mut kept = Vec::new();
    for id in 0..1000 {
        stage.visit_again(id);
        stage.open().expect("it is accepted");
        let talk = stage.talk();
        block_on(talk.on_frame(frame("one")).finish());
        kept.push((std::mem::replace(&mut stage.visit, instance.clone().visit()), talk));
    }
    let each = (used() - before) / 1000.0;
    println!("{each} bytes of Lua's for each relay");
    assert!(each < 1024.0, "{each} bytes of Lua's for each relay");
}

/// Keeps the request ids of what is logged.
#[derive(Clone, Default)]
struct Ids(Arc<std::sync::Mutex<Vec<String>>>);

impl tracing::Subscriber for Ids {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

impl tracing::field::Visit for Ids {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        if field.name() == "request_id" {
            self.0.lock().expect("nobody failed").push(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

#[test]
fn what_hooks_log_has_the_id_of_the_request() {
    let mut stage = Stage::new(
        "return { on_frame = function() print('a') end, on_message = function() print('b') end, on_close = function() print('c') end }",
    );
    let (talk, ids) = (stage.talk(), Ids::default());
    tracing::subscriber::with_default(ids.clone(), || {
        block_on(talk.on_frame(frame("one")).finish());
        block_on(talk.on_message(frame("one")).finish());
        let closed = Closed { code: None, reason: "".into(), by: ClosedBy::Nobody };
        block_on(talk.on_close(closed).finish()).expect("it comes to its end");
    });
    assert_eq!(*ids.0.lock().expect("nobody failed"), ["r-1", "r-1", "r-1"]);
}
