//! The fields of an access log record and their values.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Version, header};
use weir_core::log::Record;
use weir_plugin::{Peer, Tls};

/// A field of an access log record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Time,
    TimeClf,
    TimeUnix,
    RequestId,
    Id,
    Client,
    Peer,
    Listener,
    Local,
    Scheme,
    Method,
    Host,
    Target,
    Path,
    Query,
    Protocol,
    Status,
    Route,
    Upstream,
    Endpoint,
    Attempts,
    BytesIn,
    BytesOut,
    ConnectMs,
    FirstByteMs,
    TotalMs,
    TlsVersion,
    TlsCipher,
    TlsSni,
    TlsAlpn,
    TlsResumed,
    TlsClientSubject,
    TlsClientFingerprint,
    UserAgent,
    Referer,
    Upgraded,
    Reason,
    Detail,
    Header(HeaderName),
    ResponseHeader(HeaderName),
}

/// Every field that has a fixed name, by the name it has in format strings; documented in `docs/logging.md`.
pub(super) const NAMES: &[(&str, Field)] = &[
    ("time", Field::Time),
    ("time_clf", Field::TimeClf),
    ("time_unix", Field::TimeUnix),
    ("request_id", Field::RequestId),
    ("id", Field::Id),
    ("client", Field::Client),
    ("peer", Field::Peer),
    ("listener", Field::Listener),
    ("local", Field::Local),
    ("scheme", Field::Scheme),
    ("method", Field::Method),
    ("host", Field::Host),
    ("target", Field::Target),
    ("path", Field::Path),
    ("query", Field::Query),
    ("protocol", Field::Protocol),
    ("status", Field::Status),
    ("route", Field::Route),
    ("upstream", Field::Upstream),
    ("endpoint", Field::Endpoint),
    ("attempts", Field::Attempts),
    ("bytes_in", Field::BytesIn),
    ("bytes_out", Field::BytesOut),
    ("connect_ms", Field::ConnectMs),
    ("first_byte_ms", Field::FirstByteMs),
    ("total_ms", Field::TotalMs),
    ("tls_version", Field::TlsVersion),
    ("tls_cipher", Field::TlsCipher),
    ("tls_sni", Field::TlsSni),
    ("tls_alpn", Field::TlsAlpn),
    ("tls_resumed", Field::TlsResumed),
    ("tls_client_subject", Field::TlsClientSubject),
    ("tls_client_fingerprint", Field::TlsClientFingerprint),
    ("user_agent", Field::UserAgent),
    ("referer", Field::Referer),
    ("upgraded", Field::Upgraded),
    ("reason", Field::Reason),
    ("detail", Field::Detail),
];

/// The fields of a JSON record in their order, each as `"key":`. Those without a value are left out.
pub(super) const JSON: &[(&str, Field)] = &[
    ("\"time\":", Field::Time),
    ("\"request_id\":", Field::RequestId),
    ("\"client\":", Field::Client),
    ("\"listener\":", Field::Listener),
    ("\"method\":", Field::Method),
    ("\"scheme\":", Field::Scheme),
    ("\"host\":", Field::Host),
    ("\"target\":", Field::Target),
    ("\"protocol\":", Field::Protocol),
    ("\"status\":", Field::Status),
    ("\"route\":", Field::Route),
    ("\"upstream\":", Field::Upstream),
    ("\"endpoint\":", Field::Endpoint),
    ("\"attempts\":", Field::Attempts),
    ("\"bytes_in\":", Field::BytesIn),
    ("\"bytes_out\":", Field::BytesOut),
    ("\"connect_ms\":", Field::ConnectMs),
    ("\"first_byte_ms\":", Field::FirstByteMs),
    ("\"total_ms\":", Field::TotalMs),
    ("\"tls_version\":", Field::TlsVersion),
    ("\"tls_cipher\":", Field::TlsCipher),
    ("\"tls_sni\":", Field::TlsSni),
    ("\"tls_alpn\":", Field::TlsAlpn),
    ("\"tls_resumed\":", Field::TlsResumed),
    ("\"tls_client_subject\":", Field::TlsClientSubject),
    ("\"user_agent\":", Field::UserAgent),
    ("\"referer\":", Field::Referer),
    ("\"upgraded\":", Field::Upgraded),
    ("\"reason\":", Field::Reason),
    ("\"detail\":", Field::Detail),
];

/// The value of a field.
pub(super) enum Value<'a> {
    Absent,
    /// Bytes that may come from anywhere.
    Text(&'a [u8]),
    /// Text of weir's own that needs no escaping.
    Plain(&'static str),
    Number(u64),
    Flag(bool),
    Duration(Duration),
    Ip(IpAddr),
    Peer(&'a Peer),
    Time(SystemTime),
    TimeClf(SystemTime),
    TimeUnix(SystemTime),
}

impl<'a> Value<'a> {
    fn text(text: Option<&'a str>) -> Self {
        text.map_or(Value::Absent, |t| Value::Text(t.as_bytes()))
    }

    fn header(headers: &'a HeaderMap, name: &HeaderName) -> Self {
        headers.get(name).map_or(Value::Absent, |v| Value::Text(v.as_bytes()))
    }

    fn duration(duration: Option<Duration>) -> Self {
        duration.map_or(Value::Absent, Value::Duration)
    }
}

impl Field {
    /// The value that this field has in a record.
    pub(super) fn value<'a>(&self, record: &'a Record<'_>) -> Value<'a> {
        let exchange = record.exchange;
        match self {
            Field::Time => Value::Time(record.started),
            Field::TimeClf => Value::TimeClf(record.started),
            Field::TimeUnix => Value::TimeUnix(record.started),
            Field::RequestId => Value::Text(exchange.request_id.as_bytes()),
            Field::Id => Value::Number(exchange.id),
            Field::Client => exchange.client.map_or(Value::Absent, Value::Ip),
            Field::Peer => Value::Peer(&exchange.connection.peer),
            Field::Listener => Value::Text(exchange.connection.listener.as_bytes()),
            Field::Local => Value::Peer(&exchange.connection.local),
            Field::Scheme => Value::Plain(if exchange.connection.tls.is_some() { "https" } else { "http" }),
            Field::Method => Value::Text(exchange.method.as_str().as_bytes()),
            Field::Host => Value::header(&exchange.headers, &header::HOST),
            Field::Target => Value::Text(record.target.as_bytes()),
            Field::Path => Value::Text(exchange.uri.path().as_bytes()),
            Field::Query => Value::text(exchange.uri.query()),
            Field::Protocol => Value::Plain(match exchange.version {
                Version::HTTP_09 => "HTTP/0.9",
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2.0",
                Version::HTTP_3 => "HTTP/3.0",
                _ => "HTTP/1.1",
            }),
            Field::Status => Value::Number(exchange.status.as_u16().into()),
            Field::Route if exchange.route.is_empty() => Value::Absent,
            Field::Route => Value::Text(exchange.route.as_bytes()),
            Field::Upstream => Value::text(exchange.upstream.as_deref()),
            Field::Endpoint => Value::text(exchange.endpoint.as_deref()),
            Field::Attempts => Value::Number(exchange.attempts.into()),
            Field::BytesIn => Value::Number(record.bytes_in),
            Field::BytesOut => Value::Number(record.bytes_out),
            Field::ConnectMs => Value::duration(record.timings.connected),
            Field::FirstByteMs => Value::duration(record.timings.responded),
            Field::TotalMs => Value::Duration(record.timings.total),
            Field::UserAgent => Value::header(&exchange.headers, &header::USER_AGENT),
            Field::Referer => Value::header(&exchange.headers, &header::REFERER),
            Field::Upgraded => Value::Flag(record.upgraded),
            Field::Reason => record.reason.map_or(Value::Absent, |r| Value::Plain(r.reason())),
            Field::Detail => Value::text(record.detail),
            Field::Header(name) => Value::header(&exchange.headers, name),
            Field::ResponseHeader(name) => Value::header(&exchange.response_headers, name),
            tls => exchange.connection.tls.as_deref().map_or(Value::Absent, |facts| tls.tls_value(facts)),
        }
    }

    fn tls_value<'a>(&self, tls: &'a Tls) -> Value<'a> {
        match self {
            Field::TlsVersion => Value::Plain(tls.version),
            Field::TlsCipher => Value::Plain(tls.cipher),
            Field::TlsSni => Value::text(tls.sni.as_deref()),
            Field::TlsAlpn => Value::text(tls.alpn.as_deref()),
            Field::TlsResumed => Value::Flag(tls.resumed),
            Field::TlsClientSubject => Value::text(tls.client.as_ref().map(|c| c.subject.as_str())),
            Field::TlsClientFingerprint => Value::text(tls.client.as_ref().map(|c| c.fingerprint.as_str())),
            _ => Value::Absent,
        }
    }
}
