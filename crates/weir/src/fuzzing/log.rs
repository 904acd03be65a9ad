//! The format of the access log, and what peers send in the records that it writes.

use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use weir_core::log::{Record, Timings};
use weir_plugin::{Connection, Exchange, Peer};

use crate::telemetry::Format;
use crate::telemetry::access_log::write_record;
use crate::telemetry::format::{COMBINED, COMMON};

/// A format on the first line; what follows it is what a client sends.
pub fn access_log_format(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == b'\n');
    let (format, sent) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Ok(text) = std::str::from_utf8(format) else { return };
    match text.parse::<Format>() {
        Ok(format) => written(text, &format, sent),
        Err(error) => {
            assert!(text.is_char_boundary(error.offset), "{} in {text:?}", error.offset);
            assert!(!error.message.is_empty());
        }
    }
    written("json", &Format::Json, sent);
}

fn written(text: &str, format: &Format, sent: &[u8]) {
    let target = String::from_utf8_lossy(sent);
    let exchange = exchange(sent);
    let mut out = Vec::new();
    write_record(format, &record(&exchange, &target), &mut out);
    let line = String::from_utf8(out).expect("logs are UTF-8");
    let line = line.strip_suffix('\n').expect("a record ends in a line feed");
    assert!(
        line.chars().all(|c| !c.is_control() || c == '\t'),
        "one line, and nothing for a terminal: {line:?}"
    );
    match format {
        Format::Json => {
            let json: serde_json::Value = serde_json::from_str(line).expect("a record in JSON is JSON");
            assert_eq!(json["status"], 200);
        }
        Format::Text(_) => {
            let text = match text {
                "common" => COMMON,
                "combined" => COMBINED,
                text => text,
            };
            let quotes = |text: &str| text.matches('"').count();
            assert_eq!(quotes(line), quotes(text), "nothing that a peer sends ends a quote: {line:?}");
        }
    }
}

/// An exchange that carries this wherever a peer has the say.
fn exchange(sent: &[u8]) -> Exchange {
    let printable: Vec<u8> = sent.iter().copied().filter(|b| !matches!(b, 0..=8 | 10..=31 | 127)).collect();
    let value = HeaderValue::from_bytes(&printable).unwrap_or_else(|_| HeaderValue::from_static(""));
    let mut headers = HeaderMap::new();
    for name in [header::HOST, header::USER_AGENT, header::REFERER, HeaderName::from_static("x")] {
        headers.insert(name, value.clone());
    }
    let connection = Connection {
        id: 1,
        listener: "web".into(),
        peer: Peer::Unix,
        local: Peer::Ip(([127, 0, 0, 1], 80).into()),
        tls: None,
    };
    Exchange {
        request_id: value,
        method: Method::from_bytes(sent).unwrap_or(Method::GET),
        uri: Uri::try_from(sent).unwrap_or_default(),
        response_headers: headers.clone(),
        headers,
        ..Exchange::new(1, Rc::new(connection), "app".into())
    }
}

fn record<'a>(exchange: &'a Exchange, target: &'a str) -> Record<'a> {
    Record {
        exchange,
        target,
        started: UNIX_EPOCH + Duration::from_millis(1_767_225_599_123),
        timings: Timings::default(),
        bytes_in: 0,
        bytes_out: u64::MAX,
        reason: None,
        detail: None,
        upgraded: false,
    }
}
