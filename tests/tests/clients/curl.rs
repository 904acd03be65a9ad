//! curl as the client, nginx and raw sockets as upstreams.

use std::path::Path;

use sha1::{Digest, Sha1};
use weir_tests::nginx::{Nginx, hex, write_noise};
use weir_tests::{RawUpstream, Weir, process, tools, weir};

use crate::proxy;

/// Runs curl; its exit code must be 0. Returns what it printed.
fn curl(weir: &Weir, arguments: &[&str]) -> String {
    let ca = weir.folder().join("ca.pem");
    let mut command = tools::program("curl");
    command.args(["--silent", "--show-error", "--cacert"]).arg(ca).args(arguments);
    let output = process::run("curl", &mut command, b"");
    assert_eq!(output.code, Some(0), "curl {arguments:?}: {}{}", output.stdout, output.stderr);
    output.stdout
}

/// The ways in which curl can speak to the proxy: a name, the URL, the option, and the version it reports.
fn ways(weir: &Weir) -> [(String, &'static str, &'static str); 6] {
    let plain = weir.http("web");
    let tls = format!("https://localhost:{}", weir.address("tls").port());
    [
        (plain.clone(), "--http1.1", "1.1"),
        (plain.clone(), "--http1.0", "1.1"), // the version of the answer
        (plain.clone(), "--http2", "1.1"),   // an upgrade to h2c is offered and not taken
        (plain, "--http2-prior-knowledge", "2"),
        (tls.clone(), "--http1.1", "1.1"),
        (tls, "--http2", "2"),
    ]
}

/// nginx with files in its folder.
fn nginx() -> (Nginx, String) {
    let folder = weir::folder();
    std::fs::write(folder.path().join("hello.txt"), "hello\n").expect("a file");
    let sum = write_noise(&folder.path().join("large.bin"), 20 << 20);
    let nginx = Nginx::start(
        folder,
        "root %DIR%; absolute_redirect off; location /headers { default_type text/plain; return 200 \
         \"$request_method $request_uri $http_host $http_x_forwarded_for $http_x_forwarded_proto $http_x_real_ip $http_via\"; }
         location /moved { return 302 /hello.txt; }",
    );
    (nginx, sum)
}

#[test]
fn nginx_behind_weir() {
    let (nginx, sum) = nginx();
    let (weir, _) = proxy(nginx.address(), "");
    for (url, option, version) in ways(&weir) {
        let case = format!("{url} {option}");
        let get = curl(&weir, &[option, "-w", " %{http_code} %{http_version}", &format!("{url}/hello.txt")]);
        assert_eq!(get, format!("hello\n 200 {version}"), "{case}");

        let head = curl(&weir, &[option, "--head", "-w", "%{http_code}", &format!("{url}/large.bin")]);
        assert!(head.to_ascii_lowercase().contains("content-length: 20971520"), "{case}: {head}");
        assert!(head.ends_with("200"), "{case}: {head}");

        let range =
            curl(&weir, &[option, "--range", "1-3", "-w", " %{http_code}", &format!("{url}/hello.txt")]);
        assert_eq!(range, "ell 206", "{case}");

        let file = weir.folder().join("download");
        let to = file.to_string_lossy().into_owned();
        curl(&weir, &[option, "-o", &to, &format!("{url}/large.bin")]);
        assert_eq!(hash_of(&file), sum, "{case}");

        let missing = curl(&weir, &[option, "-o", &to, "-w", "%{http_code}", &format!("{url}/nothing")]);
        assert_eq!(missing, "404", "{case}");
        if option == "--http2-prior-knowledge" {
            continue; // curl 7.88 cannot use such a connection twice, to no server
        }
        let moved = curl(&weir, &[option, "--location", &format!("{url}/moved")]);
        assert_eq!(moved, "hello\n", "{case}");
    }
}

#[test]
fn nginx_sees_who_asks() {
    let (nginx, _) = nginx();
    let (weir, _) = proxy(nginx.address(), "");
    for (url, option, _) in ways(&weir) {
        let scheme = url.split(':').next().unwrap_or_default().to_owned();
        let via = if option == "--http2-prior-knowledge" || (scheme == "https" && option == "--http2") {
            "2"
        } else if option == "--http1.0" {
            "1.0"
        } else {
            "1.1"
        };
        let host = url.split("//").nth(1).unwrap_or_default().to_owned();
        let seen = curl(
            &weir,
            &[
                option,
                "-H",
                "X-Forwarded-For: 6.6.6.6",
                "-H",
                "X-Real-IP: 6.6.6.6",
                &format!("{url}/headers?a=b"),
            ],
        );
        let expected = format!("GET /headers?a=b {host} 127.0.0.1 {scheme} 127.0.0.1 {via} weir");
        assert_eq!(seen, expected, "{option}");
    }
}

#[test]
fn conditional_requests_pass() {
    let (nginx, _) = nginx();
    let (weir, _) = proxy(nginx.address(), "");
    let tag = weir.folder().join("tag").to_string_lossy().into_owned();
    let url = format!("{}/hello.txt", weir.http("web"));
    curl(&weir, &["--etag-save", &tag, &url]);
    let again = curl(&weir, &["--etag-compare", &tag, "-w", "%{http_code}", &url]);
    assert_eq!(again, "304");
}

#[test]
fn uploads_arrive_whole() {
    let upstream = RawUpstream::start(|_, served| {
        while let Some(head) = served.head() {
            let mut sum = Sha1::new();
            let mut size = 0;
            let mut eat = |bytes: &[u8]| {
                size += bytes.len();
                sum.update(bytes);
            };
            if head.contains("transfer-encoding: chunked") {
                while let Some(chunk) = served.chunk() {
                    eat(&chunk);
                }
            } else {
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                let mut left: usize = length.and_then(|text| text.parse().ok()).expect("a length");
                while left > 0 {
                    let piece = served.take(left.min(64 << 10));
                    if piece.is_empty() {
                        return;
                    }
                    left -= piece.len();
                    eat(&piece);
                }
            }
            let body = format!("{size} {}", hex(&sum.finalize()));
            served.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        }
    });
    let (weir, _) = proxy(upstream.address(), "");
    let file = weir.folder().join("upload");
    let sum = write_noise(&file, 5_000_000);
    let path = file.to_string_lossy().into_owned();
    for (url, option, _) in ways(&weir) {
        // curl asks for 100-continue by itself at this size.
        let put = curl(&weir, &[option, "-T", &path, &format!("{url}/put")]);
        assert_eq!(put, format!("5000000 {sum}"), "{url} {option} with a length");
        if option == "--http1.0" {
            continue; // knows no chunks
        }
        let chunked = ["-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-X", "POST", "-T", &path];
        let posted = curl(&weir, &[&[option], &chunked[..], &[&format!("{url}/post")]].concat());
        assert_eq!(posted, format!("5000000 {sum}"), "{url} {option} without a length");
    }
}

/// weir answers `Expect: 100-continue` itself as soon as the body is wanted, and not where it refuses the request.
#[test]
fn expectations() {
    let upstream = RawUpstream::start(|_, served| {
        while let Some(head) = served.head() {
            assert!(!head.to_ascii_lowercase().contains("expect:"), "{head}");
            served.take(100_000);
            served.send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes");
        }
    });
    let small = "[[routes]]\nname = \"small\"\npath = \"/small\"\nupstream = \"app\"\nmax_body = \"10KiB\"";
    let (weir, _) = proxy(upstream.address(), small);
    let file = weir.folder().join("upload");
    write_noise(&file, 100_000);
    let path = file.to_string_lossy().into_owned();
    let put = |target: &str| {
        let url = format!("{}{target}", weir.http("web"));
        // Without an answer to the expectation curl would wait longer than the test does.
        let patient = ["--http1.1", "-H", "Expect: 100-continue", "--expect100-timeout", "3600", "-T", &path];
        let show = ["-w", " %{http_code} %{size_upload}", &url];
        curl(&weir, &[&patient[..], &show].concat())
    };
    assert_eq!(put("/large"), "yes 200 100000");
    let refused = put("/small");
    assert!(refused.ends_with(" 413 0"), "the body is never sent: {refused}");
}

/// SHA-1 of a file.
fn hash_of(path: &Path) -> String {
    hex(&Sha1::digest(std::fs::read(path).expect("a file")))
}
