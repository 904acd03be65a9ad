//! What weir answers without an upstream, what it does to answers on their way, and what it does when an upstream
//! fails.

use weir_tests::nginx::{free_address, hex, write_noise};
use weir_tests::{RawClient, RawUpstream, Weir, process, raw, tools, weir};

use crate::{HEAD, LISTENERS, certified};

fn start(more: &str) -> Weir {
    let folder = weir::folder();
    certified(&folder);
    Weir::start_in(folder, &format!("{HEAD}{LISTENERS}{more}"))
}

fn ask(weir: &Weir, request: &str) -> weir_tests::Answer {
    RawClient::connect(weir.address("web")).ask(request)
}

fn get(weir: &Weir, target: &str, fields: &str) -> weir_tests::Answer {
    ask(weir, &format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n"))
}

#[test]
fn files() {
    let folder = weir::folder();
    certified(&folder);
    let site = folder.path().join("site");
    std::fs::create_dir_all(site.join("sub")).expect("a folder");
    std::fs::write(site.join("index.html"), "<p>index").expect("a file");
    std::fs::write(site.join("a.txt"), "0123456789").expect("a file");
    std::fs::write(folder.path().join("secret"), "secret").expect("a file");
    std::os::unix::fs::symlink(folder.path().join("secret"), site.join("link")).expect("a link");
    let sum = write_noise(&site.join("large.bin"), 5 << 20);
    let config = format!("{HEAD}{LISTENERS}[[routes]]\nname = \"site\"\nfiles = \"%DIR%/site\"\n");
    let weir = Weir::start_in(folder, &config);
    let answer = get(&weir, "/", "");
    assert_eq!((answer.status, answer.text().as_str()), (200, "<p>index"));
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{answer:?}");
    let whole = get(&weir, "/a.txt", "");
    assert_eq!(whole.text(), "0123456789");
    let tag = whole.header("etag").expect("an entity tag").to_owned();
    assert_eq!(get(&weir, "/a.txt", &format!("If-None-Match: {tag}\r\n")).status, 304);
    let part = get(&weir, "/a.txt", "Range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(get(&weir, "/a.txt", "Range: bytes=20-\r\n").status, 416);
    let large = get(&weir, "/large.bin", "");
    use sha1::{Digest, Sha1};
    assert_eq!(hex(&Sha1::digest(&large.body)), sum);
    for outside in
        ["/../secret", "/sub/..%2f..%2fsecret", "/%2e%2e/secret", "/..%5csecret", "//secret", "/link"]
    {
        let answer = get(&weir, outside, "");
        assert!(
            answer.status >= 400 && !answer.text().contains("secret\u{0}") && answer.text() != "secret",
            "{outside}"
        );
    }
    let post = ask(&weir, "POST /a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(post.status, 405);
}

#[test]
fn compression() {
    let text = "weir ".repeat(2000);
    let upstream = RawUpstream::start({
        let text = text.clone();
        move |_, served| {
            while let Some(request) = served.request() {
                let more = match request.split(' ').nth(1) {
                    Some("/no-transform") => "cache-control: no-transform\r\n",
                    Some("/image") => "x-kind: image\r\n",
                    _ => "",
                };
                let kind = if more.starts_with("x-kind") { "image/png" } else { "text/plain" };
                let head = format!("content-type: {kind}\r\ncontent-length: {}\r\n{more}", text.len());
                served.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n{text}"));
            }
        }
    });
    let weir = start(&format!(
        "[[routes]]\nname = \"all\"\nupstream = \"app\"\ncompression = true\n[upstreams.app]\nendpoints = [\"{}\"]\n",
        upstream.address()
    ));
    for (accept, coding) in [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("gzip;q=1, br;q=0", "gzip")] {
        let answer = get(&weir, "/", &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!(answer.header("content-encoding"), Some(coding), "{accept}");
        assert!(answer.body.len() < text.len() / 4, "{accept}: {}", answer.body.len());
        assert!(answer.header("vary").is_some_and(|vary| vary.eq_ignore_ascii_case("accept-encoding")));
    }
    for (target, fields) in [
        ("/", ""),
        ("/", "Accept-Encoding: identity\r\n"),
        ("/no-transform", "Accept-Encoding: gzip\r\n"),
        ("/image", "Accept-Encoding: gzip\r\n"),
    ] {
        let answer = get(&weir, target, fields);
        assert_eq!(
            (answer.header("content-encoding"), answer.text() == text),
            (None, true),
            "{target} {fields}"
        );
    }
    // curl takes it apart again.
    let mut command = tools::program("curl");
    command.args(["--silent", "--compressed", &weir.http("web")]);
    assert!(process::run("curl", &mut command, b"").stdout == text);
}

#[test]
fn redirects_and_fixed_answers() {
    let weir = start(
        r#"
        [[routes]]
        name = "fixed"
        path = "/fixed"
        respond = { status = 418, headers = { x-pot = "short" }, body = "tea" }
        [[routes]]
        name = "moved"
        path = "/old/{rest*}"
        redirect = { to = "https://{host}/new/{rest}", status = 301 }
        "#,
    );
    let fixed = get(&weir, "/fixed", "");
    assert_eq!((fixed.status, fixed.text().as_str(), fixed.header("x-pot")), (418, "tea", Some("short")));
    let moved = get(&weir, "/old/a/b", "");
    assert_eq!((moved.status, moved.header("location")), (301, Some("https://example.com/new/a/b")));
    let none = get(&weir, "/none", "Accept: application/json\r\n");
    assert_eq!(none.status, 404);
    assert_eq!(none.header("content-type"), Some("application/problem+json"));
    let problem: serde_json::Value = serde_json::from_slice(&none.body).expect("JSON");
    assert_eq!(problem["status"], 404);
}

/// An endpoint that refuses connections is no client's business as long as there is another.
#[test]
fn dead_endpoint_is_passed_over() {
    let upstream = RawUpstream::polite();
    let dead = free_address();
    let weir = start(&format!(
        "[[routes]]\nname = \"all\"\nupstream = \"app\"\n[upstreams.app]\nendpoints = [\"{dead}\", \"{}\"]\n",
        upstream.address()
    ));
    for _ in 0..20 {
        assert_eq!(get(&weir, "/", "").status, 200);
        // Nothing was sent: also what is not idempotent can go to the other one.
        assert_eq!(ask(&weir, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").status, 200);
    }
    let alone = start(&format!(
        "[[routes]]\nname = \"all\"\nupstream = \"app\"\n[upstreams.app]\nendpoints = [\"{dead}\"]\n"
    ));
    assert_eq!(get(&alone, "/", "").status, 502);
}

/// An upstream may close an idle connection at any time: a request that meets that is sent again.
#[test]
fn connection_that_the_upstream_closed_is_no_error() {
    let upstream = RawUpstream::start(|_, served| {
        // Says that it keeps the connection, and closes it when the next request has come.
        if served.request().is_some() {
            served.send(raw::OK);
            served.request();
        }
    });
    let weir = start(&format!(
        "[[routes]]\nname = \"all\"\nupstream = \"app\"\n[upstreams.app]\nendpoints = [\"{}\"]\nretry.budget_min = 1000\n",
        upstream.address()
    ));
    for n in 0..40 {
        assert_eq!(get(&weir, "/", "").status, 200, "{n}");
        let put = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(ask(&weir, put).status, 200, "{n}");
    }
}
