//! Requests of the plugin's own, through the same connections, balance and health as those of clients. Denied but for the
//! upstreams and hosts that the configuration grants. Not in `load`.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::bindings::weir::plugin::http as raw;
use crate::bindings::weir::plugin::types::Header;
use crate::filter;
use crate::sys::http;
pub use crate::sys::http::HttpResponse as Response;

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a call is sent by `send`"]
pub struct Call(raw::Call);

impl Call {
    fn new(url: Option<String>, upstream: Option<String>, path: Option<String>) -> Call {
        let (headers, body) = (Vec::new(), Vec::new());
        Call(raw::Call {
            url,
            upstream,
            path,
            method: None,
            headers,
            body,
            timeout: None,
            limit: None,
            stream: false,
        })
    }

    /// To an `http` or `https` URL, whose origin is granted by `grants.hosts`. `GET`, until something else is said.
    pub fn url(url: impl Into<String>) -> Call {
        Call::new(Some(url.into()), None, None)
    }

    /// To an upstream group, which is granted by `grants.upstreams`: with this path and query.
    pub fn upstream(group: impl Into<String>, path: impl Into<String>) -> Call {
        Call::new(None, Some(group.into()), Some(path.into()))
    }

    /// With this method.
    pub fn method(mut self, method: impl Into<String>) -> Call {
        self.0.method = Some(method.into());
        self
    }

    /// One field more. Those of the connection are left out.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Call {
        self.0.headers.push(Header { name: name.to_ascii_lowercase(), value: value.as_ref().to_vec() });
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Call {
        self.0.body = body.into();
        self
    }

    /// With this value as JSON. Fails where it is none, for example a map whose keys are no text.
    pub fn json(self, body: &impl Serialize) -> filter::Result<Call> {
        Ok(self.header("content-type", "application/json").body(serde_json::to_vec(body)?))
    }

    /// How long the call may take. Default: 5 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Call {
        self.0.timeout = Some(timeout.as_secs_f64());
        self
    }

    /// The most bytes of the response's body. Default, and the most: `limits.body`.
    pub fn limit(mut self, bytes: u64) -> Call {
        self.0.limit = Some(bytes);
        self
    }

    /// The body is not read before the call returns, but as it is asked for.
    pub fn stream(mut self) -> Call {
        self.0.stream = true;
        self
    }

    /// Sends it and waits for the answer. Errors: `Denied` names the missing grant, `Invalid`, `Timeout`, `Failed`.
    pub fn send(&self) -> Result<Response, Error> {
        http::request(&self.0)
    }
}

/// Sends several requests at once, at most 32, and waits for all.
pub fn all(calls: impl IntoIterator<Item = Call>) -> Result<Vec<Result<Response, Error>>, Error> {
    let calls: Vec<raw::Call> = calls.into_iter().map(|call| call.0).collect();
    http::all(&calls)
}

impl Response {
    /// All of the body, as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> filter::Result<T> {
        Ok(serde_json::from_slice(&self.read(None)?)?)
    }
}
