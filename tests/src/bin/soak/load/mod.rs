//! The load: what goes through the proxy all the time.

mod requests;
mod websockets;

use std::sync::Arc;

pub(crate) use requests::{Seen, fresh, see};

use crate::client::{Door, Soak};
use crate::count::Kind;

/// Connections, or streams, of each kind.
const HTTP1: usize = 16;
const HTTPS1: usize = 8;
const HTTP2: usize = 4;
const STREAMS: usize = 8;
const DOWNLOADS: usize = 2;
const SIDE: usize = 4;

/// Starts all of it; it ends when the soak is stopped. With `side` also what goes to the listener that moves.
pub(crate) fn start(soak: &Arc<Soak>, websockets: usize, side: bool) -> Vec<tokio::task::JoinHandle<()>> {
    let mut tasks = Vec::new();
    for _ in 0..HTTP1 {
        tasks.push(tokio::spawn(requests::keep_alive(soak.clone(), Kind::Http1, Door::Web)));
    }
    for _ in 0..HTTPS1 {
        tasks.push(tokio::spawn(requests::keep_alive(soak.clone(), Kind::Https1, Door::Tls)));
    }
    for _ in 0..HTTP2 {
        tasks.push(tokio::spawn(requests::streams(soak.clone(), STREAMS)));
    }
    for door in [Door::Web, Door::Tls, Door::Tls2] {
        for _ in 0..DOWNLOADS {
            tasks.push(tokio::spawn(requests::downloads(soak.clone(), door)));
        }
    }
    for number in 0..websockets {
        let door = if number % 2 == 0 { Door::Web } else { Door::Tls };
        // Half of each are held from the begin to the end, half come and go.
        tasks.push(tokio::spawn(websockets::hold(soak.clone(), door, number % 4 < 2)));
    }
    if side {
        for _ in 0..SIDE {
            tasks.push(tokio::spawn(requests::keep_alive(soak.clone(), Kind::Side, Door::Side)));
            tasks.push(tokio::spawn(websockets::hold(soak.clone(), Door::Side, false)));
        }
    }
    tasks
}
