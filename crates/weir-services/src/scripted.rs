//! Calls to other servers that a test answers.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use weir_plugin::Content;
use weir_plugin::error::Result;
use weir_plugin::services::{HttpAnswer, HttpCall, HttpClient};

/// An answer that is all there.
pub type Scripted = (StatusCode, HeaderMap, Bytes);

/// Answers calls by a function instead of a server: for tests of plugins.
pub struct ScriptedClient<F>(pub F);

impl<F: Fn(&HttpCall) -> Result<Scripted> + Send + Sync> HttpClient for ScriptedClient<F> {
    fn send(&self, call: HttpCall) -> Pin<Box<dyn Future<Output = Result<HttpAnswer>>>> {
        let answer = (self.0)(&call).map(|(status, headers, body)| HttpAnswer {
            status,
            headers,
            body: Content::new(Box::new(body)),
        });
        Box::pin(std::future::ready(answer))
    }
}

impl<F> fmt::Debug for ScriptedClient<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedClient").finish_non_exhaustive()
    }
}
