//! The program itself: how it starts, what it says, how it stops.

mod acme;
mod admin;
mod begun_wasm;
mod bodies;
mod demo;
mod explain;
mod fetched;
mod hostile_wasm;
mod lent;
mod live;
mod plugins;
mod prove;
mod reload;
mod scripts;
mod shipped;
mod shipped_auth;
mod shipped_wasm;
mod shipped_websocket;
mod sockets;
mod start;
mod stop;
mod supervised;
mod tested_wasm;
mod timers;
mod upgrade;
mod wasm;
mod websockets;

use std::net::SocketAddr;

/// A plain listener `web` in front of one upstream; `more` goes first, where top-level keys belong.
fn configuration(more: &str, upstream: SocketAddr) -> String {
    format!(
        "workers = 2\n{more}
        [[listeners]]
        name = \"web\"
        address = \"127.0.0.1:0\"
        [[routes]]
        name = \"all\"
        upstream = \"app\"
        [upstreams.app]
        endpoints = [\"{upstream}\"]
        "
    )
}
