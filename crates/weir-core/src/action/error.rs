//! The one place that turns an error into a response.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use crate::body::Body;
use crate::error::Kind;
use crate::headers::fill;
use crate::spec::ErrorPage;

const TEXT: &str = "text/plain; charset=utf-8";
const PROBLEM: &str = "application/problem+json";

/// The response that tells a client of an error. Its body is a configured page where there is one that the client
/// takes, else `application/problem+json` (RFC 9457) where the client likes that better than plain text, else plain
/// text. It says what the client can know: the status, what that means, and the id to ask about; never an address,
/// a path of this machine or an error's own text.
pub fn respond(
    kind: Kind,
    accept: Option<&HeaderValue>,
    request_id: &str,
    pages: &[ErrorPage],
) -> Response<Body> {
    respond_status(kind.status(), accept, request_id, pages)
}

/// As [`respond`], for a status that no [`Kind`] has.
pub fn respond_status(
    status: StatusCode,
    accept: Option<&HeaderValue>,
    request_id: &str,
    pages: &[ErrorPage],
) -> Response<Body> {
    let accept = Accept(accept.and_then(|value| value.to_str().ok()).unwrap_or("*/*"));
    // What is no plain word could break out of the body's own syntax.
    let is_plain = request_id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:+/=@".contains(&b));
    let request_id = if is_plain { request_id } else { "" };
    let (text, problem) = (accept.quality("text/plain"), accept.problem_quality());

    let page = pages
        .iter()
        .filter(|page| page.statuses.is_empty() || page.statuses.contains(&status.as_u16()))
        .map(|page| (accept.quality(media_type(&page.content_type)), page))
        .filter(|(quality, _)| *quality > 0 && *quality >= text.max(problem))
        // The first of equals.
        .reduce(|best, next| if next.0 > best.0 { next } else { best });
    let (content_type, body) = match page {
        Some((_, page)) => match HeaderValue::from_str(&page.content_type) {
            Ok(content_type) => (content_type, fill_page(page, status, request_id)),
            Err(_) => (HeaderValue::from_static(TEXT), plain(status, request_id)),
        },
        None if problem > text => (HeaderValue::from_static(PROBLEM), json(status, request_id)),
        None => (HeaderValue::from_static(TEXT), plain(status, request_id)),
    };
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = Response::new(Body::from(Bytes::from(body)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

/// What a status means, for whoever sees it.
fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The request could not be understood.",
        403 => "This is not for you.",
        404 => "There is nothing here.",
        405 => "This cannot be done here.",
        408 => "The request did not come in time.",
        413 => "The request body is too large.",
        414 => "The address is too long.",
        421 => "This connection cannot be used for this host. Try again on a new one.",
        426 => "Only version 13 of WebSocket is spoken here.",
        431 => "The request headers are too large.",
        501 => "The request asks for something that is not supported.",
        502 => "The server behind this one gave no valid answer.",
        503 => "The service is not available at the moment. Try again later.",
        504 => "The server behind this one did not answer in time.",
        _ if status.is_client_error() => "The request cannot be served.",
        _ => "Something went wrong.",
    }
}

fn plain(status: StatusCode, request_id: &str) -> String {
    let mut text = format!("{} {}\n{}\n", status.as_u16(), reason(status), meaning(status));
    if !request_id.is_empty() {
        text.push_str("Request ID: ");
        text.push_str(request_id);
        text.push('\n');
    }
    text
}

/// RFC 9457, section 3. No text in it needs escaping.
fn json(status: StatusCode, request_id: &str) -> String {
    let id = match request_id {
        "" => String::new(),
        id => format!(r#","request_id":"{id}""#),
    };
    format!(
        r#"{{"type":"about:blank","title":"{}","status":{},"detail":"{}"{id}}}"#,
        reason(status),
        status.as_u16(),
        meaning(status),
    )
}

fn fill_page(page: &ErrorPage, status: StatusCode, request_id: &str) -> String {
    fill(&page.body, |name| {
        Some(match name {
            "status" => Cow::Owned(status.as_u16().to_string()),
            "reason" => Cow::Borrowed(reason(status)),
            "request_id" => Cow::Owned(request_id.to_owned()),
            _ => return None,
        })
    })
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or(content_type).trim()
}

/// A value of `Accept` (RFC 9110, section 12.5.1).
struct Accept<'a>(&'a str);

impl Accept<'_> {
    /// The quality of a media type in thousandths: that of the most specific range that takes it.
    fn quality(&self, media_type: &str) -> u16 {
        let family = media_type.split('/').next().unwrap_or(media_type);
        let mut best = (0, 0);
        for member in self.0.split(',') {
            let mut parts = member.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default();
            let specific = match range.split_once('/') {
                _ if range.eq_ignore_ascii_case(media_type) => 3,
                Some((f, "*")) if f.eq_ignore_ascii_case(family) => 2,
                Some(("*", "*")) => 1,
                _ => continue,
            };
            if specific > best.0 {
                best = (specific, quality(parts));
            }
        }
        best.1
    }

    /// Who asks for JSON takes problems in it.
    fn problem_quality(&self) -> u16 {
        self.quality(PROBLEM).max(self.quality("application/json"))
    }
}

/// The weight among parameters, in thousandths (RFC 9110, section 12.4.2); 1000 without one, 0 for a bad one.
pub(super) fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u16 {
    let value = parameters.find_map(|p| {
        let (name, value) = p.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    let Some(value) = value else { return 1000 };
    match value.parse::<f32>() {
        Ok(q) if value.len() <= 5 && (0.0..=1.0).contains(&q) => (q * 1000.0).round() as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(statuses: &[u16], content_type: &str, body: &str) -> ErrorPage {
        ErrorPage { statuses: statuses.to_vec(), content_type: content_type.into(), body: body.into() }
    }

    fn body_of(response: Response<Body>) -> String {
        match response.into_body() {
            Body::Full(bytes) => String::from_utf8(bytes.to_vec()).expect("error bodies are UTF-8"),
            Body::Empty => String::new(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_body_is_what_the_client_accepts() {
        let html = page(&[404], "text/html; charset=utf-8", "<p>{status} {reason} {request_id} {x}");
        let one = std::slice::from_ref(&html);
        for (accept, pages, want) in [
            (None, &[][..], TEXT),
            (Some("*/*"), &[], TEXT),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), &[], TEXT),
            (Some("application/json"), &[], PROBLEM),
            (Some("application/problem+json"), &[], PROBLEM),
            (Some("application/json, text/plain, */*"), &[], TEXT),
            (Some("application/json;q=0.9, text/plain;q=0.5"), &[], PROBLEM),
            (Some("application/json, */*;q=0.5"), &[], PROBLEM),
            (Some("application/*"), &[], PROBLEM),
            (Some("application/json;q=2"), &[], TEXT),
            (Some("image/png"), &[], TEXT),
            (None, one, "text/html; charset=utf-8"),
            (Some("text/html"), one, "text/html; charset=utf-8"),
            (Some("application/json"), one, PROBLEM),
            (Some("text/plain"), one, TEXT),
            (Some("text/html"), &[page(&[500], "text/html", "")], TEXT),
            (Some("text/html"), &[page(&[], "text/html", "")], "text/html"),
        ] {
            let accept = accept.map(HeaderValue::from_static);
            let response = respond(Kind::NoRoute, accept.as_ref(), "id-1", pages);
            assert_eq!(response.status(), 404);
            assert_eq!(response.headers()[header::CONTENT_TYPE], want, "{accept:?}");
            let length: usize =
                response.headers()[header::CONTENT_LENGTH].to_str().unwrap_or("").parse().unwrap_or(9999);
            assert_eq!(length, body_of(response).len());
        }
        assert_eq!(body_of(respond(Kind::NoRoute, None, "id-1", one)), "<p>404 Not Found id-1 {x}");
    }

    #[test]
    fn bodies_are_exact() {
        let json = HeaderValue::from_static("application/json");
        assert_eq!(
            body_of(respond(Kind::Connect, Some(&json), "id-1", &[])),
            "{\"type\":\"about:blank\",\"title\":\"Bad Gateway\",\"status\":502,\
             \"detail\":\"The server behind this one gave no valid answer.\",\"request_id\":\"id-1\"}"
        );
        assert_eq!(
            body_of(respond(Kind::Connect, None, "id-1", &[])),
            "502 Bad Gateway\nThe server behind this one gave no valid answer.\nRequest ID: id-1\n"
        );
        // An id that could break out of the body is left out.
        assert!(!body_of(respond(Kind::Connect, Some(&json), "a\"b", &[])).contains("request_id"));
    }
}
