//! nghttp and h2load, and HTTP/2 to an upstream.

use weir_tests::nginx::Nginx;
use weir_tests::{RawUpstream, process, tools, weir};

use crate::proxy;

/// Many streams on several connections: every one is answered with 200.
#[test]
fn h2load_over_tls_and_plain() {
    let upstream = RawUpstream::polite();
    let (weir, _) = proxy(upstream.address(), "");
    let tls = format!("https://localhost:{}/", weir.address("tls").port());
    for url in [format!("{}/", weir.http("web")), tls] {
        let mut command = tools::program("h2load");
        command.args(["-n", "5000", "-c", "10", "-m", "20", &url]);
        let output = process::run("h2load", &mut command, b"");
        assert_eq!(output.code, Some(0), "{}", output.stderr);
        let text = output.stdout;
        assert!(text.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{url}\n{text}");
        assert!(text.contains("status codes: 5000 2xx"), "{url}\n{text}");
    }
}

/// nghttp with a body and several requests on one connection.
#[test]
fn nghttp_uploads_and_multiplexes() {
    let upstream = RawUpstream::start(|_, served| {
        while let Some(request) = served.request() {
            let body = request.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
            let text = format!("{} {body}", request.split(' ').next().unwrap_or_default());
            served.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()));
        }
    });
    let (weir, _) = proxy(upstream.address(), "");
    let url = format!("https://localhost:{}/upload", weir.address("tls").port());
    let file = weir.folder().join("body");
    std::fs::write(&file, vec![b'x'; 300_000]).expect("a file");
    let mut command = tools::program("nghttp");
    command.arg("--data").arg(&file).arg(&url);
    let output = process::run("nghttp", &mut command, b"");
    assert_eq!(output.stdout, "POST 300000", "{}", output.stderr);

    let mut command = tools::program("nghttp");
    command.args(["--stat", "--null-out", "--multiply=50", &url]);
    let output = process::run("nghttp", &mut command, b"");
    let answered =
        output.stdout.lines().filter(|line| line.contains(" 200 ") && line.contains("/upload")).count();
    assert_eq!(answered, 50, "{}{}", output.stdout, output.stderr);
}

/// A request on HTTP/2 becomes one on HTTP/1.1: cookies are joined again, the authority is the host, and what
/// HTTP/1.1 knows as connection-specific never comes from HTTP/2.
#[test]
fn http2_becomes_http1() {
    let upstream = RawUpstream::polite();
    let (weir, _) = proxy(upstream.address(), "");
    let mut command = tools::program("nghttp");
    command.args(["-H", "cookie: a=1", "-H", "cookie: b=2", "-H", "te: trailers"]);
    command.args(["-H", ":authority: example.com", &format!("{}/p?q", weir.http("web"))]);
    let output = process::run("nghttp", &mut command, b"");
    assert_eq!(output.stdout, "ok", "{}", output.stderr);
    let seen = String::from_utf8_lossy(&upstream.received()[0].bytes).into_owned();
    assert!(seen.starts_with("GET /p?q HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("\r\nhost: example.com\r\n"), "{seen}");
    assert!(seen.contains("\r\ncookie: a=1; b=2\r\n"), "{seen}");
    assert!(!seen.contains("\r\ntransfer-encoding:") && !seen.contains("\r\ncontent-length:"), "{seen}");
}

/// A `Host` that is not the `:authority` is refused, and so are fields that HTTP/2 does not know.
#[test]
fn bad_http2_requests_are_refused() {
    let upstream = RawUpstream::polite();
    let (weir, _) = proxy(upstream.address(), "");
    let url = format!("{}/", weir.http("web"));
    for (field, more) in [("host: other.example", ":authority: example.com"), ("te: gzip", "x: y")] {
        let mut command = tools::program("nghttp");
        command.args(["--verbose", "-H", field, "-H", more, &url]);
        let output = process::run("nghttp", &mut command, b"");
        let refused = output.stdout.contains(":status: 400") || output.stdout.contains("PROTOCOL_ERROR");
        assert!(refused, "{field}: {}", output.stdout);
    }
    assert_eq!(upstream.received(), []);
}

/// HTTP/2 to the upstream without TLS, to nginx.
#[test]
fn http2_to_the_upstream() {
    let folder = weir::folder();
    std::fs::write(folder.path().join("hello.txt"), "hello\n").expect("a file");
    let nginx =
        Nginx::start_http2(folder, "root %DIR%; location /v { return 200 \"$server_protocol $http_host\"; }");
    let (weir, _) = proxy(nginx.address(), "protocol = \"http2\"");
    let mut command = tools::program("curl");
    command.args(["--silent", "-w", " %{http_version}", "-H", "Host: example.com"]);
    command.arg(format!("{}/v", weir.http("web")));
    let output = process::run("curl", &mut command, b"");
    assert_eq!(output.stdout, "HTTP/2.0 example.com 1.1", "{}", output.stderr);

    let mut command = tools::program("h2load");
    command.args(["-n", "2000", "-c", "4", "-m", "10", &format!("{}/hello.txt", weir.http("web"))]);
    let output = process::run("h2load", &mut command, b"");
    assert!(output.stdout.contains("status codes: 2000 2xx"), "{}", output.stdout);
}
