//! Requests of plugins: through the same connections, balance and health as those of clients.

use std::pin::Pin;

use weir_plugin::Error;
use weir_plugin::error::Result;
use weir_plugin::services::{HttpAnswer, HttpCall, HttpClient};

/// Sends requests of plugins from the worker on which they run.
#[derive(Debug, Default)]
pub struct WorkerClient;

impl HttpClient for WorkerClient {
    fn send(&self, _call: HttpCall) -> Pin<Box<dyn Future<Output = Result<HttpAnswer>>>> {
        Box::pin(async { Err(Error::denied("requests can only be sent from hooks of an exchange")) })
    }
}
