//! What the demo upstream answers.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use super::body::DemoBody;
use super::websocket;

/// Bytes of a request body that `/echo` shows.
const ECHO_LIMIT: usize = 64 << 10;
/// The largest download.
const DOWNLOAD_LIMIT: u64 = 100 << 30;
/// The longest delay.
const DELAY_LIMIT: Duration = Duration::from_secs(60);
/// Events of `/events` unless `?count=` says otherwise, and at most.
const EVENTS_LIMIT: u64 = 86_400;

const TEXT: &str = "text/plain; charset=utf-8";

pub(super) type Answer = Response<DemoBody>;

pub(super) async fn serve(request: Request<Incoming>) -> Result<Answer, Infallible> {
    Ok(answer(request).await)
}

async fn answer(request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    match path.as_str() {
        "/" if reads => page(StatusCode::OK, "text/html; charset=utf-8", include_str!("index.html")),
        "/ws" => websocket::answer(request),
        "/events" if reads => events(&request),
        "/download" if reads => download(&request),
        "/upload" if matches!(*request.method(), Method::POST | Method::PUT) => upload(request).await,
        "/" | "/events" | "/download" => not_allowed("GET, HEAD"),
        "/upload" => not_allowed("POST, PUT"),
        path if path == "/echo" || path.starts_with("/echo/") => echo(request).await,
        path => {
            if let Some(code) = path.strip_prefix("/status/") {
                status(code)
            } else if let Some(milliseconds) = path.strip_prefix("/delay/") {
                delay(milliseconds).await
            } else {
                text(StatusCode::NOT_FOUND, format!("The demo upstream has nothing at {path}; see /\n"))
            }
        }
    }
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(DemoBody::from(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert("server", HeaderValue::from_static("weir-demo"));
    answer
}

pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    page(status, TEXT, body)
}

fn not_allowed(allow: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("Try {allow}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    answer
}

/// The value of a query parameter; no decoding, as nothing here needs it.
fn query<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&');
    pairs.filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The request as it came here.
async fn echo(request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let wants_json =
        head.headers.get_all(ACCEPT).iter().any(|v| v.as_bytes().starts_with(b"application/json"));
    let body = match Limited::new(body, ECHO_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let message =
                format!("/echo shows bodies of at most {ECHO_LIMIT} bytes; /upload counts larger ones\n");
            return text(StatusCode::PAYLOAD_TOO_LARGE, message);
        }
    };
    let target = head.uri.to_string();
    if wants_json {
        let mut headers = Map::new();
        for (name, value) in &head.headers {
            let values = headers.entry(name.as_str()).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(values) = values {
                values.push(String::from_utf8_lossy(value.as_bytes()).into());
            }
        }
        let json = json!({
            "method": head.method.as_str(),
            "target": target,
            "version": format!("{:?}", head.version),
            "headers": headers,
            "body": String::from_utf8_lossy(&body),
        });
        return page(StatusCode::OK, "application/json", format!("{json:#}\n"));
    }
    let mut shown = format!("{} {target} {:?}\n", head.method, head.version).into_bytes();
    for (name, value) in &head.headers {
        shown.extend_from_slice(name.as_str().as_bytes());
        shown.extend_from_slice(b": ");
        shown.extend_from_slice(value.as_bytes());
        shown.push(b'\n');
    }
    shown.push(b'\n');
    shown.extend_from_slice(&body);
    text(StatusCode::OK, shown)
}

fn events(request: &Request<Incoming>) -> Answer {
    let number = |name| query(request, name).and_then(|v| v.parse::<u64>().ok());
    let every = Duration::from_millis(number("every_ms").unwrap_or(1000).clamp(1, 60_000));
    let count = number("count").unwrap_or(EVENTS_LIMIT).min(EVENTS_LIMIT);
    let mut answer = page(StatusCode::OK, "text/event-stream", Bytes::new());
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    *answer.body_mut() = DemoBody::events(every, count);
    answer
}

fn download(request: &Request<Incoming>) -> Answer {
    let Some(size) = size(query(request, "size").unwrap_or("100MiB")) else {
        return text(StatusCode::BAD_REQUEST, "size is a number of bytes or such as 64KiB, 100MiB, 1GiB\n");
    };
    let mut answer = page(StatusCode::OK, "application/octet-stream", Bytes::new());
    *answer.body_mut() = DemoBody::download(size);
    answer
}

/// Bytes, with or without a unit.
fn size(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|size| *size <= DOWNLOAD_LIMIT)
}

/// Counts the bytes of a body and forgets them.
async fn upload(request: Request<Incoming>) -> Answer {
    let mut body = request.into_body();
    let mut bytes = 0u64;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Err(_) => return text(StatusCode::BAD_REQUEST, "the body broke off\n"),
        }
    }
    page(StatusCode::OK, "application/json", format!("{}\n", json!({ "bytes": bytes })))
}

fn status(number: &str) -> Answer {
    match number.parse::<u16>().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
        // An informational status is not an answer.
        Some(code) if code.as_u16() >= 200 => {
            let empty = matches!(code, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            text(code, if empty { String::new() } else { format!("{code}\n") })
        }
        _ => text(StatusCode::BAD_REQUEST, "a status is a number from 200 to 999\n"),
    }
}

async fn delay(milliseconds: &str) -> Answer {
    let Some(wait) = milliseconds.parse().ok().map(Duration::from_millis).filter(|d| *d <= DELAY_LIMIT)
    else {
        return text(StatusCode::BAD_REQUEST, "a delay is a number of milliseconds up to 60000\n");
    };
    tokio::time::sleep(wait).await;
    text(StatusCode::OK, format!("waited {milliseconds} ms\n"))
}
