//! Scripts on exchanges, without a proxy.

mod bodies;
mod connect;
mod hooks;
mod hostile;
mod load;
mod services;
mod websocket;
mod wit;

use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use weir_plugin::services::{HttpCall, Services};
use weir_plugin::settings::Settings;
use weir_plugin::{
    Connection, Error, Exchange, Held, Instance, Limits, Peer, Plugin, Policy, Step, Verdict, Visit,
};

use crate::plugin::LoadError;
use crate::{LuaPlugin, Source};

/// Polls until it is there: nothing here waits for anything but its turn.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return value;
        }
    }
}

fn exchange() -> Held {
    let address = Peer::Ip(([192, 0, 2, 1], 40_000).into());
    let connection =
        Connection { id: 7, listener: "web".into(), peer: address.clone(), local: address, tls: None };
    let mut x = Exchange::new(1, Rc::new(connection), "app".into());
    x.uri = "/a/b?x=1&y=%20z".parse().expect("a target");
    for (name, value) in [("host", "example.com"), ("x-one", "1"), ("x-one", "2"), ("cookie", "a=b; c=\"d\"")]
    {
        x.headers.append(name, value.parse().expect("a value"));
    }
    Held::new(x)
}

fn load(text: &str) -> Result<LuaPlugin, LoadError> {
    load_with(text, Settings::new(), Policy::default())
}

fn load_with(text: &str, settings: Settings, policy: Policy) -> Result<LuaPlugin, LoadError> {
    block_on(LuaPlugin::load("test", Source::text("test.lua", text), settings, policy, services()))
}

/// The real ones; other servers answer with what they were asked.
fn services() -> Services {
    weir_services::local(1 << 20, std::sync::Arc::new(weir_services::ScriptedClient(answer)))
}

fn answer(call: &HttpCall) -> Result<weir_services::Scripted, Error> {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-group", http::HeaderValue::from_str(&call.group).expect("a name"));
    let body = format!("{} {}\n{:?}\n{}", call.method, call.target, call.headers, call.body.escape_ascii());
    match call.target.path() {
        "/refused" => Err(Error::Failed("connection refused".into())),
        _ => Ok((http::StatusCode::ACCEPTED, headers, body.into())),
    }
}

fn visit(plugin: &LuaPlugin) -> Box<dyn Visit> {
    let instance: Rc<dyn Instance> = block_on(plugin.instantiate().finish()).expect("it starts");
    instance.visit()
}

/// Runs `on_request` of a script whose hook has this body.
fn run(body: &str) -> (Held, Verdict) {
    run_with(body, Limits::default())
}

fn run_with(body: &str, limits: Limits) -> (Held, Verdict) {
    let text = format!("return {{ on_request = function(req, ctx)\n{body}\nend }}");
    let plugin = load_with(&text, Settings::new(), Policy { limits, ..Policy::default() }).expect("it loads");
    let mut x = exchange();
    let verdict = block_on(visit(&plugin).on_request(&mut x).finish());
    (x, verdict)
}

fn failure(verdict: Verdict) -> String {
    match verdict {
        Verdict::Fail(message) => message,
        other => format!("{other:?}"),
    }
}
