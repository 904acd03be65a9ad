//! What the WIT package says, as Rust. Each exported interface is looked up by its own name, and may be absent: nothing
//! here is used that asks for a whole world.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "made from the WIT package")]

wasmtime::component::bindgen!({
    path: "../weir-plugin/wit",
    world: "filter",
    imports: {
        "weir:plugin/message.[method]body.read": async | trappable,
        "weir:plugin/password.verify": async | trappable,
        "weir:plugin/time.sleep": async | trappable,
        "weir:plugin/http.request": async | trappable,
        "weir:plugin/http.all": async | trappable,
        "weir:plugin/http.[method]http-response.read": async | trappable,
        "weir:plugin/http.[method]http-response.piece": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    require_store_data_send: true,
    with: {
        "weir:plugin/message.headers": crate::host::message::Headers,
        "weir:plugin/message.query": crate::host::message::Query,
        "weir:plugin/message.cookies": crate::host::message::Cookies,
        "weir:plugin/message.body": crate::host::message::Body,
        "weir:plugin/message.connection": crate::host::message::Connection,
        "weir:plugin/message.request": crate::host::message::Request,
        "weir:plugin/message.response": crate::host::message::Response,
        "weir:plugin/websocket.relay": crate::host::websocket::Relay,
        "weir:plugin/websocket.group": crate::host::websocket::Group,
        "weir:plugin/kv.store": crate::host::kv::Store,
        "weir:plugin/metrics.counter-series": crate::host::metrics::Counter,
        "weir:plugin/metrics.gauge-series": crate::host::metrics::Gauge,
        "weir:plugin/metrics.histogram-series": crate::host::metrics::Histogram,
        "weir:plugin/ip.networks": crate::host::services::Networks,
        "weir:plugin/http.http-response": crate::host::http::Response,
    },
});

pub use exports::weir::plugin as exported;
pub use weir::plugin as imported;
