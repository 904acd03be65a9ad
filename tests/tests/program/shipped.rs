//! The plugins that come with weir, each through a running proxy.

use weir_tests::{Answer, RawClient, Weir, weir};

/// A proxy whose only route has this plugin with these settings (TOML, inline); `more` follows.
pub(crate) fn start(name: &str, settings: &str, more: &str) -> Weir {
    let path = weir::root().join("plugins").join(name);
    Weir::start(&format!(
        "workers = 2
        [[listeners]]
        name = \"web\"
        address = \"127.0.0.1:0\"
        [[routes]]
        upstream = \"app\"
        plugins = [\"it\"]
        [plugins.it]
        path = \"{}\"
        settings = {settings}
        [upstreams.app]
        endpoints = [\"demo:\"]
        {more}",
        path.display()
    ))
}

pub(crate) fn ask(weir: &Weir, head: &str) -> Answer {
    let (line, fields) = head.split_once('\n').unwrap_or((head, ""));
    let mut request = format!("{line} HTTP/1.1\r\nhost: shop.example\r\n");
    for field in fields.lines() {
        request.push_str(&format!("{}\r\n", field.trim()));
    }
    RawClient::connect(weir.address("web")).ask(&format!("{request}\r\n"))
}

/// What is wrong with settings, as weir says it.
pub(crate) fn refused(name: &str, settings: &str) -> String {
    let folder = weir::folder();
    let path = weir::root().join("plugins").join(name);
    let config = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[routes]]\nrespond = \"\"\nplugins = [\"it\"]\n[plugins.it]\npath = \"{}\"\nsettings = {settings}\n",
        path.display()
    );
    let file = weir::write_config(&folder, &config);
    let output = weir::run(&["check", file.to_str().expect("a plain name")]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    output.stderr
}

#[test]
fn every_plugin_is_documented_and_tested() {
    let source = concat!(include_str!("shipped.rs"), include_str!("shipped_auth.rs"));
    let mut count = 0;
    for entry in std::fs::read_dir(weir::root().join("plugins")).expect("there are plugins") {
        let folder = entry.expect("it can be read").path();
        if !folder.is_dir() {
            continue;
        }
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(folder.join("README.md").is_file(), "{name} has no README");
        assert!(source.contains(&format!("\"{name}\"")), "{name} has no test");
        count += 1;
    }
    assert!(count >= 10);
}

#[test]
fn ip_filter() {
    let weir = start("ip-filter", "{ allow = [\"127.0.0.0/8\"], deny = [\"127.0.0.9\"] }", "");
    assert_eq!(ask(&weir, "GET /echo").status, 200);
    let weir = start("ip-filter", "{ deny = [\"127.0.0.1\"], status = 451, body = \"no\" }", "");
    let answer = ask(&weir, "GET /echo");
    assert_eq!((answer.status, answer.text().as_str()), (451, "no"));
    assert!(refused("ip-filter", "{}").contains("neither `allow` nor `deny` is set"));
    assert!(refused("ip-filter", "{ allow = [\"10.0.0.0/40\"] }").contains("no address and no network"));
}

#[test]
fn rate_limit() {
    let weir = start("rate-limit", "{ limit = 3, window = 3600, by = \"header\", header = \"x-key\" }", "");
    for left in [2, 1, 0] {
        let answer = ask(&weir, "GET /echo\nx-key: a");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=3600"));
        let told = answer.header("ratelimit").expect("it is told");
        assert!(told.starts_with(&format!("\"default\";r={left};t=")), "{told}");
    }
    let answer = ask(&weir, "GET /echo\nx-key: a");
    assert_eq!(answer.status, 429);
    let wait: u32 = answer.header("retry-after").expect("it is told").parse().expect("seconds");
    assert!((1100..=1200).contains(&wait), "{wait}: one comes back each 1200 seconds");
    assert_eq!(ask(&weir, "GET /echo\nx-key: b").status, 200, "another client");
    let long = "x".repeat(5000);
    assert_eq!(ask(&weir, &format!("GET /echo\nx-key: {long}")).status, 200);
    assert!(refused("rate-limit", "{}").contains("the setting `limit` is missing"));
}

#[test]
fn security_headers() {
    let weir = start(
        "security-headers",
        "{ content_security_policy = \"default-src 'self'\", frame_options = \"\" }",
        "",
    );
    let answer = ask(&weir, "GET /echo");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("content-security-policy"), Some("default-src 'self'"));
    assert_eq!(answer.header("x-frame-options"), None);
    assert_eq!(answer.header("strict-transport-security"), None, "not over plain HTTP");
    assert_eq!(answer.header("server"), None);
}

#[test]
fn maintenance() {
    let settings = "{ bypass_header = \"x-let-me\", bypass_value = \"in\", retry_after = 60 }";
    let weir = start("maintenance", settings, "");
    let answer = ask(&weir, "GET /echo");
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("60")));
    assert_eq!(ask(&weir, "GET /echo\nx-let-me: in").status, 200);
    assert_eq!(ask(&weir, "GET /echo\nx-let-me: out").status, 503);
    let weir = start("maintenance", "{ allow = [\"127.0.0.1\"] }", "");
    assert_eq!(ask(&weir, "GET /echo").status, 200);
    assert!(refused("maintenance", "{ bypass_header = \"x\" }").contains("go together"));
}

#[test]
fn cors() {
    let settings = "{ origins = [\"https://app.example\", \"https://*.shop.example\"], credentials = true, expose = [\"x-a\"] }";
    let weir = start("cors", settings, "");
    let preflight = |origin: &str| {
        ask(
            &weir,
            &format!(
                "OPTIONS /echo\norigin: {origin}\naccess-control-request-method: PUT\naccess-control-request-headers: x-b"
            ),
        )
    };
    let answer = preflight("https://app.example");
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-b"));
    assert_eq!(answer.header("vary"), Some("origin"));
    for (origin, expected) in [
        ("https://a.shop.example", true),
        ("https://shop.example", false),
        ("https://a.shop.example.evil.example", false),
        ("https://ashop.example", false),
        ("null", false),
    ] {
        let answer = ask(&weir, &format!("GET /echo\norigin: {origin}"));
        assert_eq!(answer.status, 200);
        let allowed = answer.header("access-control-allow-origin") == Some(origin);
        assert_eq!(allowed, expected, "{origin}");
        assert_eq!(answer.header("access-control-expose-headers").is_some(), expected, "{origin}");
    }
    assert!(
        refused("cors", "{ origins = [\"*\"], credentials = true }").contains("every site act as the user")
    );
}

#[test]
fn canary() {
    let more = "[upstreams.next]\nendpoints = [\"demo:\"]\n";
    let mut weir = start("canary", "{ upstream = \"next\", weight = 50, header = \"x-canary\" }", more);
    let mut upstream = |head: &str| {
        let answer = ask(&weir, head);
        assert_eq!(answer.status, 200);
        let record = weir.record("the request", |record| record["target"].is_string());
        let cookie = answer.header("set-cookie").map(|c| c.split(';').next().unwrap_or_default().to_owned());
        (record["upstream"].as_str().expect("it has one").to_owned(), cookie)
    };
    assert_eq!(upstream("GET /echo\nx-canary: 1"), ("next".to_owned(), None));
    assert_eq!(upstream("GET /echo\nx-canary: 0"), ("app".to_owned(), None));
    assert_eq!(upstream("GET /echo\ncookie: weir-canary=always").0, "next");
    let mut seen = [0, 0];
    for _ in 0..60 {
        let (first, cookie) = upstream("GET /echo");
        let cookie = cookie.expect("it is remembered");
        assert_eq!(cookie, format!("weir-canary={}", u8::from(first == "next")));
        assert_eq!(
            upstream(&format!("GET /echo\ncookie: {cookie}")),
            (first.clone(), None),
            "a client stays"
        );
        seen[usize::from(first == "next")] += 1;
    }
    // By chance all sixty are the same once in 10^18.
    assert!(seen.iter().all(|n| *n > 0), "{seen:?}");
}

#[test]
fn header_rewrite() {
    let settings = "{ request = { set = { x-session = \"{cookie:session}!\", x-original = \"{scheme}://{host}{path}?{query}\" }, remove = [\"x-debug\"] }, response = { add = { x-for = \"{client_ip} {query:a}\" } } }";
    let weir = start("header-rewrite", settings, "");
    let answer = ask(&weir, "GET /echo/x?a=b%20c\ncookie: session=7\nx-debug: 1");
    let text = answer.text();
    assert!(text.contains("x-session: 7!"), "{text}");
    assert!(text.contains("x-original: http://shop.example/echo/x?a=b%20c"), "{text}");
    assert!(!text.contains("x-debug"), "{text}");
    assert_eq!(answer.header("x-for"), Some("127.0.0.1 b c"));
    let told = refused("header-rewrite", "{ request = { set = { a = \"{clientip}\" } } }");
    assert!(told.contains("\"{clientip}\" is not known: there are {client_ip}"), "{told}");
}
