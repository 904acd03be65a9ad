//! What a route does without an upstream: redirects, fixed answers, files, metrics; error responses and compression.

pub mod compress;
pub mod decompress;
pub mod error;
pub mod files;
pub mod metrics;

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use crate::body::Body;
use crate::error::{Error, Kind, Result};
use crate::headers::{Facts, fill};

pub use compress::compress;
pub use decompress::decompress;

/// A redirect to `to`, in which `{scheme} {host} {path} {query}` and captures are filled in (RFC 9110, section
/// 15.4). A `?` is left out where the query that follows it is empty. A path is never made into another host: what
/// is filled in does not turn the `/` that the text begins with into `//` (RFC 3986, section 4.2).
///
/// # Errors
/// `Internal` where what comes out cannot be a `Location`.
pub fn redirect(status: StatusCode, to: &str, facts: &Facts<'_>) -> Result<Response<Body>> {
    let mut location = fill(to, |name| facts.value(name));
    if facts.query.is_empty() && to.ends_with("?{query}") {
        location.pop();
    }
    if !to.starts_with("//") && location.starts_with("//") {
        location = format!("/{}", location.trim_start_matches('/'));
    }
    let location = HeaderValue::try_from(location)
        .map_err(|error| Error::because(Kind::Internal, "the redirect has no valid location", error))?;
    let mut response = respond(status, &HeaderMap::new(), &Bytes::new());
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// A fixed answer. Its length is set, except where a status has no body (RFC 9110, section 8.6).
pub fn respond(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    *response.headers_mut() = headers.clone();
    let headers = response.headers_mut();
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        *response.body_mut() = Body::from(body.clone());
    }
    response
}

/// Percent-decodes one segment of a normalised path.
fn decode(segment: &str) -> Cow<'_, [u8]> {
    percent_encoding::percent_decode_str(segment).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_fill_in_what_was_asked() {
        let captures = vec![("rest".into(), "/evil.example".to_owned()), ("id".into(), "7".to_owned())];
        for (to, path, query, want) in [
            ("https://{host}{path}?{query}", "/a", "b=1", "https://a.example:8080/a?b=1"),
            ("https://{host}{path}?{query}", "/a", "", "https://a.example:8080/a"),
            ("https://other.example/u/{id}", "/a", "", "https://other.example/u/7"),
            ("{path}/", "/a", "", "/a/"),
            ("{path}", "//evil.example", "", "/evil.example"),
            ("/{rest}", "/", "", "/evil.example"),
            ("//cdn.example{path}", "/a", "", "//cdn.example/a"),
            ("{scheme}:{none}", "/", "", "https:{none}"),
        ] {
            let facts = Facts {
                client: None,
                host: "a.example:8080",
                scheme: "https",
                path,
                query,
                request_id: "",
                route: "r",
                captures: &captures,
            };
            let response = redirect(StatusCode::PERMANENT_REDIRECT, to, &facts).expect("a location");
            assert_eq!(response.status(), 308);
            assert_eq!(response.headers()[header::LOCATION], want, "{to}");
            assert_eq!(response.headers()[header::CONTENT_LENGTH], "0");
        }
    }

    #[test]
    fn fixed_answers_are_framed() {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from_static("99"));
        headers.insert("x-a", HeaderValue::from_static("1"));
        for (status, length) in [(200, Some("2")), (404, Some("2")), (204, None), (304, None)] {
            let status = StatusCode::from_u16(status).expect("a status");
            let response = respond(status, &headers, &Bytes::from_static(b"hi"));
            assert_eq!(
                response.headers().get(header::CONTENT_LENGTH).map(|v| v.as_bytes()),
                length.map(str::as_bytes)
            );
            assert_eq!(response.headers()["x-a"], "1");
        }
    }
}
