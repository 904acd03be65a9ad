//! Guests on exchanges, without a proxy.

mod guests;
mod hooks;
mod hostile;
mod load;
mod services;
mod websocket;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_plugin::services::{HttpCall, Services};
use weir_plugin::settings::Settings;
use weir_plugin::{
    Connection, Error, Exchange, Held, Instance, Limits, Peer, Plugin, Policy, Reply, Verdict, Visit,
};

use crate::{Compiled, LoadError, WasmPlugin};
use guests::Text;

/// Runs a future as a worker does.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(Duration::from_secs(60), future).await.expect("nothing hangs")
    })
}

fn exchange(id: u64) -> Held {
    let address = Peer::Ip(([192, 0, 2, 1], 40_000).into());
    let connection =
        Connection { id: 7, listener: "web".into(), peer: address.clone(), local: address, tls: None };
    let mut x = Exchange::new(id, Rc::new(connection), "app".into());
    x.uri = "/a/b?x=1&y=%20z".parse().expect("a target");
    for (name, value) in [("host", "example.com"), ("x-one", "1"), ("x-one", "2"), ("cookie", "a=b; c=\"d\"")]
    {
        x.headers.append(name, value.parse().expect("a value"));
    }
    Held::new(x)
}

/// The real ones; other servers answer with what they were asked.
fn services() -> Services {
    weir_services::local(1 << 20, Arc::new(weir_services::ScriptedClient(answer)))
}

fn answer(call: &HttpCall) -> Result<weir_services::Scripted, Error> {
    Ok((http::StatusCode::ACCEPTED, http::HeaderMap::new(), Bytes::from(call.target.to_string())))
}

async fn load(text: &Text, policy: Policy) -> Result<WasmPlugin, LoadError> {
    load_bytes(&text.component(), policy).await
}

async fn load_bytes(bytes: &[u8], policy: Policy) -> Result<WasmPlugin, LoadError> {
    load_with(bytes, &Settings::new(), policy).await
}

async fn load_with(bytes: &[u8], settings: &Settings, policy: Policy) -> Result<WasmPlugin, LoadError> {
    let compiled = Compiled::new("test", bytes, None)?;
    WasmPlugin::load("test", compiled, settings, policy, services()).await
}

/// An instance of a guest, with these limits.
async fn instance(text: &Text, limits: Limits) -> Rc<dyn Instance> {
    let plugin = load(text, Policy { limits, ..Policy::default() }).await.expect("it loads");
    plugin.instantiate().finish().await.expect("it starts")
}

fn visit(instance: &Rc<dyn Instance>) -> Box<dyn Visit> {
    instance.clone().visit()
}

fn failure(verdict: Verdict) -> String {
    match verdict {
        Verdict::Fail(message) => message,
        other => format!("{other:?}"),
    }
}

fn reply(verdict: Verdict) -> Reply {
    match verdict {
        Verdict::Respond(reply) => reply,
        other => panic!("{other:?}"),
    }
}
