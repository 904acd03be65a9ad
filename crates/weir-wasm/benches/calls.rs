//! What single calls of a guest cost: `cargo bench -p weir-wasm`.
//!
//! An exchange costs its begin and its end in the guest beside its hooks: what one more hook costs is measured by itself.

#[allow(dead_code, reason = "the tests need all of it")]
#[path = "../src/tests/guests.rs"]
mod guests;

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use guests::{FRAME, REQUEST, Text};
use http::{HeaderMap, StatusCode};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use weir_plugin::settings::Settings;
use weir_plugin::websocket::{Direction, Frame, FrameVerdict, Opcode};
use weir_plugin::{
    Connection, Exchange, Held, Instance, Peer, Plugin, Policy, Step, Verdict, Visit, WebSocket,
};
use weir_services::NotedRelays;
use weir_wasm::{Compiled, WasmPlugin};

/// A worker.
struct Worker {
    runtime: Runtime,
    local: LocalSet,
}

impl Worker {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Worker { runtime: runtime.expect("a runtime"), local: LocalSet::new() }
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.local.block_on(&self.runtime, future)
    }

    fn instance(&self, text: &Text) -> Rc<dyn Instance> {
        let nobody = weir_services::ScriptedClient(|_: &_| Ok((StatusCode::OK, HeaderMap::new(), "".into())));
        let services = weir_services::local(1 << 20, Arc::new(nobody));
        self.run(async {
            let compiled = Compiled::new("bench", &text.component(), None).expect("it compiles");
            let settings = Settings::new();
            let loading = WasmPlugin::load("bench", compiled, &settings, Policy::default(), services);
            let plugin = loading.await.unwrap_or_else(|error| panic!("{error}"));
            plugin.instantiate().finish().await.unwrap_or_else(|error| panic!("{error}"))
        })
    }
}

fn exchange() -> Held {
    let address = Peer::Ip(([192, 0, 2, 1], 40_000).into());
    let local = address.clone();
    let connection = Connection { id: 1, listener: "web".into(), peer: address, local, tls: None };
    let mut x = Exchange::new(1, Rc::new(connection), "app".into());
    for (name, value) in
        [("host", "example.com"), ("accept", "*/*"), ("x-tenant", "beta"), ("user-agent", "bench")]
    {
        x.headers.insert(name, http::HeaderValue::from_static(value));
    }
    Held::new(x)
}

fn request(worker: &Worker, visit: &mut Box<dyn Visit>, x: &mut Held) {
    let verdict = match visit.on_request(x) {
        Step::Done(verdict) => verdict,
        // A turn may end where the machine stood still.
        Step::Wait(waiting) => worker.run(waiting),
    };
    if let Verdict::Fail(message) = verdict {
        panic!("{message}");
    }
}

const EMPTY: Text = Text { groups: &["http-hooks"], hooks: REQUEST, code: "", imports: "" };

/// Three headers are read, one is set.
const HEADERS: Text = Text {
    groups: &["http-hooks"],
    hooks: REQUEST,
    imports: r#"
      (import "weir:plugin/message@1.0.0" "[method]request.headers" (func $headers (param i32) (result i32)))
      (import "weir:plugin/message@1.0.0" "[resource-drop]headers" (func $drop_headers (param i32)))
      (import "weir:plugin/message@1.0.0" "[method]headers.get" (func $get (param i32 i32 i32 i32)))
      (import "weir:plugin/message@1.0.0" "[method]headers.set" (func $set (param i32 i32 i32 i32 i32 i32)))"#,
    code: r#"
      (data (i32.const 1024) "hostacceptx-tenantx-gatewaybench")
      (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
        (local $headers i32)
        (local.set $headers (call $headers (local.get $req)))
        (call $get (local.get $headers) (i32.const 1024) (i32.const 4) (i32.const 512))
        (call $get (local.get $headers) (i32.const 1028) (i32.const 6) (i32.const 512))
        (call $get (local.get $headers) (i32.const 1034) (i32.const 8) (i32.const 512))
        (call $set (local.get $headers) (i32.const 1042) (i32.const 9) (i32.const 1051) (i32.const 5) (i32.const 512))
        (call $drop_headers (local.get $headers))
        (call $drop_request (local.get $req))
        (call $nothing))"#,
};

/// What wasmtime alone takes for a call without arguments, in the same way: what is above it is weir's.
fn alone(c: &mut Criterion) {
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true).concurrency_support(false);
    config.allocation_strategy(wasmtime::PoolingAllocationConfig::new());
    let engine = wasmtime::Engine::new(&config).expect("an engine");
    let text = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func (export "f") (canon lift (core func $i "f"))))"#;
    let component = wasmtime::component::Component::new(&engine, wat::parse_str(text).expect("text"));
    let linker = wasmtime::component::Linker::<()>::new(&engine);
    let mut store = wasmtime::Store::new(&engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    let worker = Worker::new();
    let call = worker.run(async {
        let instance = linker.instantiate_async(&mut store, &component.expect("a component")).await;
        instance.expect("it starts").get_typed_func::<(), ()>(&mut store, "f").expect("a function")
    });
    c.bench_function("wasmtime alone", |b| {
        b.iter(|| {
            let mut calling = Box::pin(call.call_async(&mut store, ()));
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(calling.as_mut().poll(&mut cx).is_ready());
        });
    });
}

fn requests(c: &mut Criterion) {
    let worker = Worker::new();
    for (name, text) in [("empty hook", &EMPTY), ("three headers read, one set", &HEADERS)] {
        let instance = worker.instance(text);
        let mut x = exchange();
        let _entered = worker.local.enter();
        let _in_runtime = worker.runtime.enter();
        let mut visit = instance.clone().visit();
        request(&worker, &mut visit, &mut x);
        c.bench_function(name, |b| b.iter(|| request(&worker, &mut visit, &mut x)));
        c.bench_function(&format!("{name}, an exchange"), |b| {
            b.iter(|| request(&worker, &mut instance.clone().visit(), &mut x));
        });
    }
}

fn frames(c: &mut Criterion) {
    let worker = Worker::new();
    let text = Text { groups: &["http-hooks", "websocket-hooks"], hooks: FRAME, code: "", imports: "" };
    let instance = worker.instance(&text);
    let _entered = worker.local.enter();
    let _in_runtime = worker.runtime.enter();
    let (relay, mut visit) = (NotedRelays::default().open(1, "app", []), instance.visit());
    let ws = Rc::new(WebSocket {
        relay,
        route: "app".into(),
        request_id: "r-1".into(),
        client_ip: "192.0.2.1".into(),
        subprotocol: None,
    });
    let talk = visit.talk(&ws).expect("it has hooks");
    for size in [128_usize, 4096] {
        let frame = Frame {
            direction: Direction::ToUpstream,
            opcode: Opcode::Text,
            data: "x".repeat(size).into(),
            first: true,
            last: true,
            sequence: 1,
            compressed: false,
            size: 128,
        };
        c.bench_function(&format!("frame of {size} bytes"), |b| {
            b.iter(|| {
                let verdict = match talk.on_frame(frame.clone()) {
                    Step::Done(verdict) => verdict,
                    Step::Wait(waiting) => worker.run(waiting),
                };
                if let FrameVerdict::Fail(message) = verdict {
                    panic!("{message}");
                }
            });
        });
    }
}

fn starts(c: &mut Criterion) {
    let worker = Worker::new();
    let nobody = weir_services::ScriptedClient(|_: &_| Ok((StatusCode::OK, HeaderMap::new(), "".into())));
    let services = weir_services::local(1 << 20, Arc::new(nobody));
    let plugin = worker.run(async {
        let compiled = Compiled::new("bench", &EMPTY.component(), None).expect("it compiles");
        WasmPlugin::load("bench", compiled, &Settings::new(), Policy::default(), services).await
    });
    let plugin = plugin.expect("it loads");
    c.bench_function("a fresh instance", |b| {
        b.iter(|| black_box(worker.run(plugin.instantiate().finish())).map(drop));
    });
}

criterion_group!(benches, alone, requests, frames, starts);
criterion_main!(benches);
