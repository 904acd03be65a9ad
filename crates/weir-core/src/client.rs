//! Requests of plugins: through the same connections, balance and health as those of clients.

use std::pin::Pin;

use weir_plugin::Error;
use weir_plugin::error::Result;
use weir_plugin::services::{HttpAnswer, HttpCall, HttpClient};

use crate::exchange::call;
use crate::shadow;
use crate::worker::Worker;

/// Sends requests of plugins from the worker on which they run.
#[derive(Debug, Default)]
pub struct WorkerClient;

impl HttpClient for WorkerClient {
    fn send(&self, call: HttpCall) -> Pin<Box<dyn Future<Output = Result<HttpAnswer>>>> {
        match Worker::current() {
            Some(worker) => Box::pin(call::call(worker, call)),
            None => Box::pin(async {
                Err(Error::denied("on_load can send no requests: it runs before there is a worker"))
            }),
        }
    }
}

/// Sends nothing: for plugins that are tried on requests beside those that serve. One that waits for an answer is not
/// judged by that request.
#[derive(Debug, Default)]
pub struct NoClient;

impl HttpClient for NoClient {
    fn send(&self, _: HttpCall) -> Pin<Box<dyn Future<Output = Result<HttpAnswer>>>> {
        shadow::lose();
        Box::pin(std::future::pending())
    }
}
