//! Calls of plugins to other servers.

use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};

use crate::Content;
use crate::error::Result;

/// A request of a plugin's own.
#[derive(Clone, Debug)]
pub struct HttpCall {
    /// The upstream group that takes it: its name in the configuration, or an origin that the plugin was granted
    /// (`https://login.example.com`), which is a group of its own.
    pub group: Arc<str>,
    /// Request method.
    pub method: Method,
    /// Path and query.
    pub target: PathAndQuery,
    /// With `host`; without fields of the connection.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// For the whole call: until the head of the response is there, and for each piece of its body.
    pub timeout: Duration,
}

/// The answer to a request of a plugin's own.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Final, never informational.
    pub status: StatusCode,
    /// Without fields of the connection.
    pub headers: HeaderMap,
    /// Its body, which is read as it is asked for.
    pub body: Content,
}

/// Sends requests of plugins, through the same connections, balance and health as those of clients.
pub trait HttpClient: Debug + Send + Sync {
    /// Sends a request and waits for the head of its response. Dropping the future gives it up.
    fn send(&self, call: HttpCall) -> Pin<Box<dyn Future<Output = Result<HttpAnswer>>>>;
}

/// The most calls that a plugin sends at once.
pub const MOST_AT_ONCE: usize = 32;

/// Sends a request and reads as much as `limit` of the body of its answer, to its end, so that the connection is free for
/// others; without a limit it is read as it is asked for.
///
/// # Errors
/// What [`HttpClient::send`] says; [`crate::Error::TooLarge`] for a body over the limit.
pub async fn fetch(client: &dyn HttpClient, call: HttpCall, limit: Option<usize>) -> Result<HttpAnswer> {
    let mut answer = client.send(call).await?;
    if let Some(limit) = limit {
        let whole = poll_fn(|cx| answer.body.poll_read(cx, limit)).await?;
        answer.body = Content::new(Box::new(whole));
    }
    Ok(answer)
}

/// Drives several futures of one kind, which end in any order. What they come to, in their order.
pub async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Some(Box::pin(future)), None)).collect();
    poll_fn(|cx| {
        for (future, output) in &mut running {
            if let Some(waiting) = future
                && let Poll::Ready(value) = waiting.as_mut().poll(cx)
            {
                *output = Some(value);
                *future = None;
            }
        }
        match running.iter().all(|(future, _)| future.is_none()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
