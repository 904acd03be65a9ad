use std::fs;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};
use weir_core::error::Kind;
use weir_core::log::Timings;
use weir_plugin::{ClientCertificate, Connection, Exchange, Peer, Tls};

use super::*;
use crate::telemetry::Output;

const LONG: Duration = Duration::from_secs(30);

fn connection(tls: Option<Tls>) -> Rc<Connection> {
    Rc::new(Connection {
        id: 7,
        listener: "web".into(),
        peer: Peer::Ip("192.0.2.1:4711".parse().expect("an address")),
        local: Peer::Ip("192.0.2.9:443".parse().expect("an address")),
        tls: tls.map(Arc::new),
    })
}

fn tls() -> Tls {
    Tls {
        version: "TLSv1.3",
        cipher: "TLS_AES_128_GCM_SHA256",
        sni: Some("example.com".into()),
        alpn: Some("h2".into()),
        resumed: true,
        client: Some(ClientCertificate {
            der: Arc::from(&b""[..]),
            subject: "CN=a \"b\",O=c".to_owned(),
            issuer: String::new(),
            serial: String::new(),
            names: Vec::new(),
            fingerprint: "ab12".to_owned(),
        }),
        policy: 1,
    }
}

fn exchange() -> Exchange {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("example.com"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static("curl/8.5.0"));
    Exchange {
        request_id: HeaderValue::from_static("0190-abc"),
        client: Some("198.51.100.7".parse().expect("an address")),
        uri: Uri::from_static("/a?b=c"),
        headers,
        upstream: Some("servers".into()),
        endpoint: Some("10.0.0.1:8080".into()),
        attempts: 1,
        ..Exchange::new(42, connection(None), "app".into())
    }
}

fn record(exchange: &Exchange) -> Record<'_> {
    Record {
        exchange,
        target: "/x/../a?b=c",
        started: UNIX_EPOCH + Duration::from_millis(1_767_225_599_123),
        timings: Timings {
            connected: Some(Duration::from_micros(250)),
            responded: Some(Duration::from_micros(1500)),
            total: Duration::from_micros(2001),
        },
        bytes_in: 0,
        bytes_out: 1024,
        reason: None,
        detail: None,
        upgraded: false,
    }
}

fn line(format: &str, record: &Record<'_>) -> String {
    let mut out = Vec::new();
    write_record(&format.parse().expect("a format"), record, &mut out);
    let text = String::from_utf8(out).expect("logs are UTF-8");
    let text = text.strip_suffix('\n').expect("a line feed").to_owned();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn json_has_what_there_is() {
    let exchange = exchange();
    assert_eq!(
        line("json", &record(&exchange)),
        concat!(
            r#"{"time":"2025-12-31T23:59:59.123Z","request_id":"0190-abc","client":"198.51.100.7","#,
            r#""listener":"web","method":"GET","scheme":"http","host":"example.com","target":"/x/../a?b=c","#,
            r#""protocol":"HTTP/1.1","status":200,"route":"app","upstream":"servers","endpoint":"10.0.0.1:8080","#,
            r#""attempts":1,"bytes_in":0,"bytes_out":1024,"connect_ms":0.250,"first_byte_ms":1.500,"#,
            r#""total_ms":2.001,"user_agent":"curl/8.5.0","upgraded":false}"#,
        )
    );
}

#[test]
fn json_of_an_answer_of_weirs_own() {
    let mut exchange = exchange();
    exchange.connection = connection(Some(tls()));
    exchange.status = StatusCode::BAD_GATEWAY;
    exchange.version = Version::HTTP_2;
    exchange.client = None;
    let mut record = record(&exchange);
    record.timings = Timings { total: Duration::from_secs(5), ..Timings::default() };
    (record.reason, record.detail) = (Some(Kind::Connect), Some("refused: \"no\""));
    let json: serde_json::Value = serde_json::from_str(&line("json", &record)).expect("JSON");
    for (key, value) in [
        ("reason", serde_json::json!("connect_failed")),
        ("detail", serde_json::json!("refused: \"no\"")),
        ("tls_version", serde_json::json!("TLSv1.3")),
        ("tls_cipher", serde_json::json!("TLS_AES_128_GCM_SHA256")),
        ("tls_sni", serde_json::json!("example.com")),
        ("tls_alpn", serde_json::json!("h2")),
        ("tls_resumed", serde_json::json!(true)),
        ("tls_client_subject", serde_json::json!("CN=a \"b\",O=c")),
        ("protocol", serde_json::json!("HTTP/2.0")),
        ("scheme", serde_json::json!("https")),
        ("total_ms", serde_json::json!(5000.0)),
        ("status", serde_json::json!(502)),
    ] {
        assert_eq!(json[key], value, "{key}");
    }
    for absent in ["client", "connect_ms", "first_byte_ms", "referer"] {
        assert!(json.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn format_strings() {
    let mut exchange = exchange();
    exchange.connection = connection(Some(tls()));
    exchange.headers.insert("x-tenant", HeaderValue::from_static("a b"));
    exchange.response_headers.insert("content-type", HeaderValue::from_static("text/html"));
    let mut record = record(&exchange);
    record.upgraded = true;
    for (format, expected) in [
        (
            "combined",
            r#"198.51.100.7 - - [31/Dec/2025:23:59:59 +0000] "GET /x/../a?b=c HTTP/1.1" 200 1024 "-" "curl/8.5.0""#,
        ),
        ("common", r#"198.51.100.7 - - [31/Dec/2025:23:59:59 +0000] "GET /x/../a?b=c HTTP/1.1" 200 1024"#),
        ("{peer} {local} {id} {path} {query}", "192.0.2.1:4711 192.0.2.9:443 42 /a b=c"),
        ("{time_unix} {connect_ms}/{first_byte_ms}/{total_ms}", "1767225599.123 0.250/1.500/2.001"),
        (r#"{header.x-tenant} "{header.X-Tenant}""#, r#"a\x20b "a b""#),
        ("{response_header.content-type} {response_header.etag}", "text/html -"),
        ("{tls_version} {tls_resumed} {tls_client_fingerprint} {upgraded}", "TLSv1.3 true ab12 true"),
        (r#""{tls_client_subject}""#, r#""CN=a \x22b\x22,O=c""#),
        ("{{{status}}} {reason} {detail}", "{200} - -"),
    ] {
        assert_eq!(line(format, &record), expected, "{format}");
    }
}

#[test]
fn a_client_cannot_forge_a_record() {
    let mut exchange = exchange();
    let evil = HeaderValue::from_bytes(b"x\" 200 \\ \t\xff\xc3\xbc \" - -").expect("a header value");
    exchange.headers.insert(header::USER_AGENT, evil.clone());
    exchange.headers.insert(header::REFERER, evil.clone());
    exchange.headers.insert(header::HOST, evil.clone());
    exchange.request_id = evil;
    let mut record = record(&exchange);
    record.target = "/\"},\n{\"status\":200}\r\n\u{1b}[2J\u{9b}2J";
    let combined = line("combined", &record);
    assert_eq!(combined.matches('"').count(), 6, "only the quotes of the format: {combined}");
    assert!(combined.bytes().all(|b| matches!(b, 0x20..=0x7e)), "{combined}");
    let bare = line("{target} {host} {request_id} {status}", &record);
    assert_eq!(bare.split(' ').count(), 4, "each value is one word: {bare}");
    let json = line("json", &record);
    assert!(!json.chars().any(char::is_control), "{json}");
    let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&json).expect("JSON");
    assert_eq!(parsed["target"], record.target);
    assert_eq!(parsed["status"], 200);
    assert_eq!(json.matches("\"status\":").count(), 1, "{json}");
}

#[test]
fn every_json_key_is_the_name_of_its_field() {
    for (key, field) in JSON {
        let name = key.trim_matches(['"', ':']);
        let known = crate::telemetry::field::NAMES.iter().find(|(n, _)| *n == name);
        assert_eq!(known.map(|(_, f)| f), Some(field), "{name}");
    }
}

#[test]
fn every_field_is_documented() {
    let docs = include_str!("../../../../../docs/logging.md");
    for (name, _) in crate::telemetry::field::NAMES {
        assert!(docs.contains(&format!("| `{name}` |")), "docs/logging.md says nothing of {name}");
    }
}

#[test]
fn records_reach_the_file_and_a_new_one_after_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let settings = AccessLogSettings {
        format: "{status} {target}".parse().expect("a format"),
        output: Output::File(path.clone()),
        buffer: 1 << 20,
    };
    let log = AccessLogger::start(&settings).expect("it opens");
    let exchange = exchange();
    log.record(&record(&exchange));
    fs::rename(&path, &old).expect("rename");
    log.reopen();
    // The file appears once the writer has opened it.
    let deadline = Instant::now() + LONG;
    while !path.exists() {
        assert!(Instant::now() < deadline, "never opened anew");
        std::thread::yield_now();
    }
    log.record(&record(&exchange));
    assert!(log.close(LONG));
    let all = [&old, &path].map(|p| fs::read_to_string(p).expect("a log"));
    assert_eq!(all.concat(), "200 /x/../a?b=c\n".repeat(2));
    assert!(all[1].ends_with("200 /x/../a?b=c\n"), "{all:?}");
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let settings =
        AccessLogSettings { output: Output::File("/nowhere/access.log".into()), ..Default::default() };
    let error = AccessLogger::start(&settings).expect_err("there is no such folder").to_string();
    assert!(error.contains("/nowhere/access.log"), "{error}");
}

/// `cargo test --release -p weir -- --ignored --nocapture cost_of_a_record`
#[test]
#[ignore = "a measurement, for people"]
fn cost_of_a_record() {
    const COUNT: u32 = 2_000_000;
    let mut exchange = exchange();
    exchange.connection = connection(Some(tls()));
    let record = record(&exchange);
    for format in ["json", "combined"] {
        let parsed: Format = format.parse().expect("a format");
        let mut out = Vec::with_capacity(4096);
        let start = Instant::now();
        for _ in 0..COUNT {
            out.clear();
            write_record(&parsed, std::hint::black_box(&record), &mut out);
            std::hint::black_box(&out);
        }
        println!("{format}: {:?} a record of {} bytes", start.elapsed() / COUNT, out.len());
    }
    let settings = AccessLogSettings { output: Output::File("/dev/null".into()), ..Default::default() };
    let log = AccessLogger::start(&settings).expect("it opens");
    let start = Instant::now();
    for _ in 0..COUNT {
        log.record(std::hint::black_box(&record));
    }
    println!("json, handed to the writer: {:?} a record", start.elapsed() / COUNT);
    log.close(LONG);
}
