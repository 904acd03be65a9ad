//! Requests of a plugin's own.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use wasmtime::component::Resource;
use weir_plugin::Content;
use weir_plugin::error::{Error, Result};
use weir_plugin::message::{body, call};
use weir_plugin::services::{HttpAnswer, HttpCall, MOST_AT_ONCE, fetch, seconds, together};

use super::Data;
use super::convert::{error, fields, header};
use crate::bindings::imported::http::{Call, Host, HostHttpResponse};
use crate::bindings::imported::types::{Error as WitError, Header};
use crate::local::{self, Local};

/// The most answers that a guest keeps at once: each holds a connection, or memory that is not the guest's.
const MOST_ANSWERS: usize = 64;

/// The answer to a call.
pub struct Response {
    status: u16,
    headers: HeaderMap,
    body: Local<Content>,
}

impl Response {
    fn new(answer: HttpAnswer) -> Self {
        let HttpAnswer { status, headers, body } = answer;
        Response { status: status.as_u16(), headers, body: Local::new(body) }
    }
}

type Answer<T> = wasmtime::Result<T>;
type Try<T> = wasmtime::Result<Result<T, WitError>>;

/// A call, if the plugin may send it, and what is read of the answer's body before the plugin goes on.
fn asked(data: &Data, asked: Call) -> Result<(HttpCall, Option<usize>)> {
    let Call { url, upstream, path, method, headers, body, timeout, limit, stream } = asked;
    let to = match (&url, &upstream) {
        (Some(url), None) if path.is_none() => call::To::Url(url.as_bytes()),
        (None, Some(group)) => {
            call::To::Upstream { group, target: path.as_deref().map_or(b"/", str::as_bytes) }
        }
        _ => return Err(Error::invalid("either `url`, or `upstream` with `path`, says where it goes")),
    };
    let timeout: Duration = timeout.map_or(Ok(call::TIMEOUT), seconds)?;
    let limit = match stream {
        true => None,
        false => Some(body::limit(&data.policy.limits, limit)?),
    };
    let method = method.as_deref().unwrap_or("GET").as_bytes();
    let call = call::call(&data.policy.grants, to, method, fields(&headers), Bytes::from(body), timeout)?;
    Ok((call, limit))
}

impl Data {
    /// Whether so many answers may be kept beside those that are.
    fn has_room(&self, more: usize) -> Result<()> {
        match self.answers + more <= MOST_ANSWERS {
            true => Ok(()),
            false => Err(Error::Failed(format!(
                "the plugin keeps {} answers to its calls; {MOST_ANSWERS} are the most, drop some",
                self.answers
            ))),
        }
    }

    fn keep(&mut self, response: Response) -> Answer<Resource<Response>> {
        let kept = self.table.push(response)?;
        self.answers += 1;
        Ok(kept)
    }
}

impl Host for Data {
    async fn request(&mut self, call: Call) -> Try<Resource<Response>> {
        if let Err(wrong) = self.has_room(1) {
            return Ok(Err(error(wrong)));
        }
        let client = self.services.http.clone();
        let (call, limit) = match asked(self, call) {
            Ok(asked) => asked,
            Err(wrong) => return Ok(Err(error(wrong))),
        };
        let sending =
            local::wait_for(Box::pin(async move { fetch(&*client, call, limit).await.map(Response::new) }));
        match sending.await.flatten() {
            Ok(response) => Ok(Ok(self.keep(response)?)),
            Err(failed) => Ok(Err(error(failed))),
        }
    }

    async fn all(&mut self, calls: Vec<Call>) -> Try<Vec<Result<Resource<Response>, WitError>>> {
        if calls.len() > MOST_AT_ONCE {
            return Ok(Err(error(Error::TooLarge(MOST_AT_ONCE as u64))));
        }
        if let Err(wrong) = self.has_room(calls.len()) {
            return Ok(Err(error(wrong)));
        }
        let client = self.services.http.clone();
        let all: Result<Vec<_>> = calls.into_iter().map(|call| asked(self, call)).collect();
        let all = match all {
            Ok(all) => all,
            Err(wrong) => return Ok(Err(error(wrong))),
        };
        let sending = local::wait_for(Box::pin(async move {
            let send = |(call, limit)| fetch(&*client, call, limit);
            let answers = together(all.into_iter().map(send).collect()).await;
            answers.into_iter().map(|answer| answer.map(Response::new)).collect::<Vec<_>>()
        }));
        let answers = match sending.await {
            Ok(answers) => answers,
            Err(failed) => return Ok(Err(error(failed))),
        };
        let mut handles = Vec::with_capacity(answers.len());
        for answer in answers {
            handles.push(match answer {
                Ok(response) => Ok(self.keep(response)?),
                Err(failed) => Err(error(failed)),
            });
        }
        Ok(Ok(handles))
    }
}

impl HostHttpResponse for Data {
    fn status(&mut self, of: Resource<Response>) -> Answer<u16> {
        Ok(self.table.get(&of)?.status)
    }

    fn header(&mut self, of: Resource<Response>, name: String) -> Answer<Option<Vec<u8>>> {
        let value = self.table.get(&of)?.headers.get(&name);
        Ok(value.map(|value| value.as_bytes().to_vec()))
    }

    fn header_all(&mut self, of: Resource<Response>, name: String) -> Answer<Vec<Vec<u8>>> {
        let headers = &self.table.get(&of)?.headers;
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        let values = name.into_iter().flat_map(|name| headers.get_all(name));
        Ok(values.map(|value| value.as_bytes().to_vec()).collect())
    }

    fn headers(&mut self, of: Resource<Response>) -> Answer<Vec<Header>> {
        let fields = self.table.get(&of)?.headers.iter();
        Ok(fields.map(|(name, value)| header(name.as_ref(), value.as_bytes())).collect())
    }

    async fn read(&mut self, of: Resource<Response>, limit: Option<u64>) -> Try<Vec<u8>> {
        let limit = match body::limit(&self.policy.limits, limit) {
            Ok(limit) => limit,
            Err(wrong) => return Ok(Err(error(wrong))),
        };
        let content = &self.table.get(&of)?.body;
        let read = local::wait(|cx| match content.with(|content| content.poll_read(cx, limit)) {
            Ok(polled) => polled,
            Err(lost) => std::task::Poll::Ready(Err(lost)),
        });
        Ok(read.await.map(Into::into).map_err(error))
    }

    async fn piece(&mut self, of: Resource<Response>) -> Try<Option<Vec<u8>>> {
        let content = &self.table.get(&of)?.body;
        let piece = local::wait(|cx| match content.with(|content| content.poll_piece(cx)) {
            Ok(polled) => polled.map(Option::transpose),
            Err(lost) => std::task::Poll::Ready(Err(lost)),
        });
        Ok(piece.await.map(|piece| piece.map(Into::into)).map_err(error))
    }

    fn drop(&mut self, of: Resource<Response>) -> Answer<()> {
        self.table.delete(of)?;
        self.answers = self.answers.saturating_sub(1);
        Ok(())
    }
}
