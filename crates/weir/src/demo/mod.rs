//! The embedded demo upstream: lets a fresh clone show what weir does with nothing else installed.
//!
//! It listens on a loopback port that the kernel chooses and runs on a thread of its own, so that it is an
//! upstream like any other. Nothing else knows that it is in the same process.

mod body;
mod service;
mod websocket;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

/// Starts it. It runs until the process ends.
///
/// # Errors
/// When no loopback port can be had or no thread started.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("demo-upstream".to_owned()).spawn(move || {
        runtime.block_on(async {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => accept(listener).await,
                Err(error) => tracing::error!(%error, "the demo upstream cannot serve"),
            }
        });
    })?;
    Ok(address)
}

async fn accept(listener: tokio::net::TcpListener) {
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the demo upstream cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let _ = socket.set_nodelay(true);
        tokio::spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(120))
                .serve_connection(TokioIo::new(socket), service_fn(service::serve))
                .with_upgrades()
                .await;
            if let Err(error) = served {
                tracing::debug!(%peer, %error, "demo upstream: the connection broke off");
            }
        });
    }
}

#[cfg(test)]
mod tests;
