//! What single calls of a script cost: `cargo bench -p weir-lua`.
//!
//! Each measurement is of whole hook calls; what one host call costs is the difference to `empty hook`, divided by
//! [`TIMES`].

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, StatusCode};
use weir_lua::{LuaPlugin, Source};
use weir_plugin::settings::Settings;
use weir_plugin::websocket::{Direction, Frame, FrameVerdict, Opcode};
use weir_plugin::{Connection, Exchange, Held, Instance, Peer, Plugin, Policy, Step, WebSocket};
use weir_services::NotedRelays;

/// How often a hook does what is measured.
const TIMES: u32 = 10;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

fn instance(text: &str) -> Rc<dyn Instance> {
    let nobody = weir_services::ScriptedClient(|_: &_| Ok((StatusCode::OK, HeaderMap::new(), "".into())));
    let services = weir_services::local(1 << 20, Arc::new(nobody));
    let source = Source::text("bench.lua", text);
    let loading = LuaPlugin::load("bench", source, Settings::new(), Policy::default(), services);
    let plugin = block_on(loading).unwrap_or_else(|error| panic!("{error:?}"));
    block_on(plugin.instantiate().finish()).unwrap_or_else(|error| panic!("{error}"))
}

fn exchange() -> Held {
    let address = Peer::Ip(SocketAddr::from(([192, 0, 2, 1], 40_000)));
    let connection = Rc::new(Connection {
        id: 1,
        listener: "web".into(),
        peer: address.clone(),
        local: address,
        tls: None,
    });
    let mut x = Exchange::new(1, connection, "app".into());
    for (name, value) in
        [("host", "example.com"), ("accept", "*/*"), ("x-tenant", "beta"), ("user-agent", "bench")]
    {
        x.headers.insert(name, http::HeaderValue::from_static(value));
    }
    Held::new(x)
}

/// Measures `on_request` of a script, on an exchange each.
fn measure(c: &mut Criterion, name: &str, text: &str) {
    let instance = instance(text);
    let mut x = exchange();
    c.bench_function(name, |b| {
        b.iter(|| {
            let mut visit = instance.clone().visit();
            // A turn may end where the machine stood still.
            let verdict = match visit.on_request(&mut x) {
                Step::Done(verdict) => verdict,
                Step::Wait(waiting) => block_on(waiting),
            };
            if let weir_plugin::Verdict::Fail(message) = verdict {
                panic!("{name}: {message}");
            }
        });
    });
}

/// Measures a hook of frames or messages of 128 bytes, on one relay.
fn measure_frames(c: &mut Criterion, name: &str, text: &str) {
    let instance = instance(text);
    let (relay, mut visit) = (NotedRelays::default().open(1, "app", []), instance.visit());
    let ws = Rc::new(WebSocket {
        relay,
        route: "app".into(),
        request_id: "r-1".into(),
        client_ip: "192.0.2.1".into(),
        subprotocol: None,
    });
    let talk = visit.talk(&ws).expect("it has hooks");
    let is_frame = text.contains("on_frame");
    let frame = Frame {
        direction: Direction::ToUpstream,
        opcode: Opcode::Text,
        data: "x".repeat(128).into(),
        first: true,
        last: true,
        sequence: 1,
        compressed: false,
        size: 128,
    };
    c.bench_function(name, |b| {
        b.iter(|| {
            let frame = frame.clone();
            let step = if is_frame { talk.on_frame(frame) } else { talk.on_message(frame) };
            let verdict = match step {
                Step::Done(verdict) => verdict,
                Step::Wait(waiting) => block_on(waiting),
            };
            if let FrameVerdict::Fail(message) = verdict {
                panic!("{name}: {message}");
            }
        });
    });
}

fn frames(c: &mut Criterion) {
    let on = |hook: &str, parameters: &str, body: &str| {
        format!("return {{ {hook} = function({parameters}) {body} end }}")
    };
    measure_frames(c, "frame: empty hook", &on("on_frame", "", ""));
    measure_frames(c, "frame: empty hook with all", &on("on_frame", "frame, ws, ctx", "return"));
    measure_frames(c, "frame: data", &on("on_frame", "frame", "local a = frame.data"));
    measure_frames(c, "frame: find", &on("on_frame", "frame", "string.find(frame.data, 'word', 1, true)"));
    measure_frames(c, "message: replace", &on("on_message", "message", "return message.data .. '!'"));
    measure_frames(c, "message: drop", &on("on_message", "message", "return weir.drop()"));
}

fn all(c: &mut Criterion) {
    let hook =
        |parameters: &str, body: &str| format!("return {{ on_request = function({parameters}) {body} end }}");
    let often = |what: &str| hook("req, ctx", &what.repeat(TIMES as usize));
    measure(c, "empty hook", &hook("", ""));
    measure(c, "empty hook with a request", &hook("req", "return"));
    measure(c, "path", &often("local a = req.path "));
    measure(c, "header get", &often("local a = req.headers:get('x-tenant') "));
    measure(c, "header set", &often("req.headers:set('x-gateway', 'bench') "));
    measure(c, "ctx round trip", &often("ctx.a = 'b' local a = ctx.a "));
    measure(c, "key-value get", &often("local a = weir.kv.get('a') "));
    measure(c, "arithmetic", &often("local a = 1 for i = 1, 100 do a += i end "));
}

criterion_group!(benches, all, frames);
criterion_main!(benches);
