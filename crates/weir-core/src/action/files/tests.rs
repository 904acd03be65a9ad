use std::os::unix::fs::symlink;

use super::*;

/// A folder with files, and a secret beside it.
fn folder() -> (tempfile::TempDir, Files) {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path().join("public");
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write("index.html", "<p>home");
    write("a.txt", "0123456789");
    write("empty", "");
    write("sub/index.html", "<p>sub");
    write("none/x", "x");
    write(".env", "SECRET=1");
    write(".git/config", "secret");
    write(".well-known/acme", "acme");
    write("sub/.well-known/x", "x");
    write("caf\u{e9} 1.css", "p{}");
    std::fs::write(dir.path().join("secret"), "secret").expect("a file");
    std::fs::create_dir(dir.path().join("public-not")).expect("a folder");
    std::fs::write(dir.path().join("public-not/secret"), "secret").expect("a file");
    symlink("../secret", root.join("out")).expect("a link");
    symlink("../public-not", root.join("beside")).expect("a link");
    symlink(dir.path().join("secret"), root.join("absolute")).expect("a link");
    symlink("/proc/self/root", root.join("magic")).expect("a link");
    symlink("a.txt", root.join("within")).expect("a link");
    symlink("loop", root.join("loop")).expect("a link");
    let files = Files { root, index: "index.html".into(), fallback: None, cache_control: None };
    (dir, files)
}

async fn ask(
    files: &Files,
    method: &str,
    target: &str,
    fields: &[(&'static str, String)],
) -> (u16, HeaderMap, String) {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::try_from(value).expect("a value"));
    }
    let method: Method = method.parse().expect("a method");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let response = match serve(files, &method, &headers, path, query).await {
        Ok(response) => response,
        Err(error) => return (error.kind().status().as_u16(), HeaderMap::new(), String::new()),
    };
    let (parts, mut body) = response.into_parts();
    let mut text = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        text.extend_from_slice(&frame.expect("it reads").into_data().expect("no trailers"));
    }
    (parts.status.as_u16(), parts.headers, String::from_utf8(text).expect("text"))
}

#[tokio::test]
async fn paths_mean_files_in_the_folder_only() {
    let (_dir, files) = folder();
    for (target, status, body) in [
        ("/", 200, "<p>home"),
        ("/a.txt", 200, "0123456789"),
        ("/a.txt?x=1", 200, "0123456789"),
        ("/empty", 200, ""),
        ("/sub/", 200, "<p>sub"),
        ("/sub/index.html", 200, "<p>sub"),
        ("/caf%C3%A9%201.css", 200, "p{}"),
        ("/within", 200, "0123456789"),
        ("/.well-known/acme", 200, "acme"),
        ("/sub", 301, ""),
        ("/none/", 404, ""),
        ("/a.txt/", 404, ""),
        ("/a.txt/x", 404, ""),
        ("/nothing", 404, ""),
        ("/sub//index.html", 404, ""),
        ("//a.txt", 404, ""),
        ("/sub%2Findex.html", 404, ""),
        ("/.env", 404, ""),
        ("/.git/config", 404, ""),
        ("/sub/.well-known/x", 404, ""),
        ("/..", 404, ""),
        ("/../secret", 404, ""),
        ("/sub/../../secret", 404, ""),
        ("/%2E%2E/secret", 404, ""),
        ("/a.txt%00", 404, ""),
        ("/out", 404, ""),
        ("/beside/secret", 404, ""),
        ("/absolute", 404, ""),
        ("/magic/etc/passwd", 404, ""),
        ("/loop", 404, ""),
        ("*", 404, ""),
    ] {
        let (got, _, text) = ask(&files, "GET", target, &[]).await;
        assert_eq!((got, text.as_str()), (status, body), "{target}");
    }
}

#[test]
fn links_that_lead_out_are_refused_without_openat2_too() {
    let (_dir, files) = folder();
    let open = |name: &str| open_compared(&files.root, Path::new(name), OFlags::RDONLY).is_ok();
    for (name, want) in [
        ("a.txt", true),
        ("within", true),
        ("out", false),
        ("beside/secret", false),
        ("absolute", false),
        ("../secret", false),
    ] {
        assert_eq!(open(name), want, "{name}");
    }
}

#[tokio::test]
async fn a_folder_without_its_slash_is_redirected_to() {
    let (_dir, files) = folder();
    for (target, location) in [("/sub", "./sub/"), ("/sub?a=b", "./sub/?a=b")] {
        let (status, headers, _) = ask(&files, "GET", target, &[]).await;
        assert_eq!((status, headers[header::LOCATION].to_str().ok()), (301, Some(location)));
    }
}

#[tokio::test]
async fn fields_say_what_the_file_is() {
    let (_dir, mut files) = folder();
    files.cache_control = Some(HeaderValue::from_static("max-age=60"));
    for (target, media_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/a.txt", "text/plain; charset=utf-8"),
        ("/caf%C3%A9%201.css", "text/css; charset=utf-8"),
        ("/empty", "application/octet-stream"),
    ] {
        for method in ["GET", "HEAD"] {
            let (status, headers, text) = ask(&files, method, target, &[]).await;
            assert_eq!(
                (status, &headers[header::CONTENT_TYPE]),
                (200, &HeaderValue::from_static(media_type))
            );
            assert_eq!(headers[header::ACCEPT_RANGES], "bytes");
            assert_eq!(headers[header::CACHE_CONTROL], "max-age=60");
            assert!(headers.contains_key(header::ETAG) && headers.contains_key(header::LAST_MODIFIED));
            assert!(method == "GET" || text.is_empty());
        }
    }
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let (_dir, files) = folder();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        assert_eq!(ask(&files, method, "/a.txt", &[]).await.0, 405, "{method}");
    }
}

#[tokio::test]
async fn a_fallback_is_served_where_nothing_is() {
    let (_dir, mut files) = folder();
    for (fallback, target, status, body) in [
        ("index.html", "/app/route", 200, "<p>home"),
        ("index.html", "/a.txt", 200, "0123456789"),
        ("index.html", "/none/", 200, "<p>home"),
        ("sub", "/app", 404, ""),
        ("gone", "/app", 404, ""),
        ("../secret", "/app", 404, ""),
    ] {
        files.fallback = Some(fallback.into());
        let (got, _, text) = ask(&files, "GET", target, &[]).await;
        assert_eq!((got, text.as_str()), (status, body), "{fallback} {target}");
    }
}

/// RFC 9110, sections 13 and 14.
#[tokio::test]
async fn ranges_and_conditions() {
    let (_dir, files) = folder();
    let (_, facts, _) = ask(&files, "HEAD", "/a.txt", &[]).await;
    let tag = facts[header::ETAG].to_str().expect("text").to_owned();
    let date = facts[header::LAST_MODIFIED].to_str().expect("text").to_owned();
    let old = "Sun, 06 Nov 1994 08:49:37 GMT".to_owned();
    let (range, if_range) = ("range", "if-range");
    let bytes = |text: &str| (range, format!("bytes={text}"));
    for (method, fields, status, content_range, body) in [
        ("GET", vec![bytes("0-3")], 206, Some("bytes 0-3/10"), "0123"),
        ("GET", vec![bytes("8-")], 206, Some("bytes 8-9/10"), "89"),
        ("GET", vec![bytes("-2")], 206, Some("bytes 8-9/10"), "89"),
        ("GET", vec![bytes("5-100")], 206, Some("bytes 5-9/10"), "56789"),
        ("GET", vec![bytes("10-")], 416, Some("bytes */10"), ""),
        ("GET", vec![(range, "lines=1-2".into())], 200, None, "0123456789"),
        ("HEAD", vec![bytes("0-3")], 200, None, ""),
        ("GET", vec![bytes("0-3"), (if_range, tag.clone())], 206, Some("bytes 0-3/10"), "0123"),
        ("GET", vec![bytes("0-3"), (if_range, "\"other\"".into())], 200, None, "0123456789"),
        ("GET", vec![bytes("0-3"), (if_range, format!("W/{tag}"))], 200, None, "0123456789"),
        ("GET", vec![bytes("0-3"), (if_range, old.clone())], 200, None, "0123456789"),
        ("GET", vec![("if-none-match", tag.clone())], 304, None, ""),
        ("GET", vec![("if-none-match", format!("\"x\", W/{tag}"))], 304, None, ""),
        ("HEAD", vec![("if-none-match", "*".into())], 304, None, ""),
        ("GET", vec![("if-none-match", "\"x\"".into())], 200, None, "0123456789"),
        (
            "GET",
            vec![("if-none-match", "\"x\"".into()), ("if-modified-since", date.clone())],
            200,
            None,
            "0123456789",
        ),
        ("GET", vec![("if-modified-since", date.clone())], 304, None, ""),
        ("GET", vec![("if-modified-since", old.clone())], 200, None, "0123456789"),
        ("GET", vec![("if-modified-since", "nonsense".into())], 200, None, "0123456789"),
        ("GET", vec![("if-unmodified-since", date.clone())], 200, None, "0123456789"),
        ("HEAD", vec![("if-unmodified-since", old.clone())], 412, None, ""),
        ("GET", vec![("if-unmodified-since", "nonsense".into())], 200, None, "0123456789"),
        (
            "GET",
            vec![("if-match", tag.clone()), ("if-unmodified-since", old.clone())],
            200,
            None,
            "0123456789",
        ),
    ] {
        let (got, headers, text) = ask(&files, method, "/a.txt", &fields).await;
        assert_eq!(got, status, "{method} {fields:?}");
        let shown = headers.get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok());
        assert_eq!(shown, content_range, "{fields:?}");
        if status != 412 {
            assert_eq!(text, body, "{fields:?}");
        }
    }
    assert_eq!(ask(&files, "GET", "/a.txt", &[("if-match", "\"x\"".into())]).await.0, 412);
}

#[tokio::test]
async fn a_large_file_is_read_in_chunks_of_a_bound() {
    let (_dir, files) = folder();
    let text = "0123456789abcdef".repeat(20_000);
    std::fs::write(files.root.join("large"), &text).expect("a file");
    let response = serve(&files, &Method::GET, &HeaderMap::new(), "/large", "").await.expect("it is there");
    let mut body = response.into_body();
    let mut all = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data = frame.expect("it reads").into_data().expect("no trailers");
        assert!(data.len() as u64 <= CHUNK);
        all.extend_from_slice(&data);
    }
    assert!(all == text.as_bytes());
}
