//! The plugins that come with weir, each through a running proxy.

use weir_tests::{Answer, RawClient, RawUpstream, Weir, weir};

/// A proxy whose only route has this plugin with these settings (TOML, inline); `more` follows.
pub(crate) fn start(name: &str, settings: &str, more: &str) -> Weir {
    start_granted(name, settings, &format!("\n{more}"))
}

/// The same; what follows may go on with the section of the plugin.
pub(crate) fn start_granted(name: &str, settings: &str, more: &str) -> Weir {
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
        {more}
        [upstreams.app]
        endpoints = [\"demo:\"]
        ",
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
    let source = concat!(
        include_str!("shipped.rs"),
        include_str!("shipped_auth.rs"),
        include_str!("shipped_wasm.rs"),
        include_str!("shipped_websocket.rs")
    );
    let mut count = 0;
    for entry in std::fs::read_dir(weir::root().join("plugins")).expect("there are plugins") {
        let folder = entry.expect("it can be read").path();
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        // `target` is what cargo makes, where it was called there.
        if !folder.is_dir() || name == "target" {
            continue;
        }
        assert!(folder.join("README.md").is_file(), "{name} has no README");
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).ok();
        let is_plugin = match &manifest {
            Some(manifest) => manifest.contains("cdylib"),
            None => folder.join("plugin.lua").is_file(),
        };
        if !is_plugin {
            assert!(manifest.is_some(), "{name} is neither a plugin nor a library of several");
            continue;
        }
        let component = name.replace('-', "_");
        let is_tested = [&name, &component].iter().any(|name| source.contains(&format!("\"{name}\"")));
        assert!(is_tested, "{name} has no test");
        count += 1;
    }
    assert!(count >= 20);
}

#[test]
fn ip_filter() {
    let weir = start("ip-filter", "{ allow = [\"127.0.0.0/8\"], deny = [\"127.0.0.9\"] }", "");
    assert_eq!(ask(&weir, "GET /echo").status, 200);
    let weir = start("ip-filter", "{ deny = [\"127.0.0.1\"], status = 451, body = \"no\" }", "");
    let answer = ask(&weir, "GET /echo");
    assert_eq!((answer.status, answer.text().as_str()), (451, "no"));
    let listener = "[[listeners]]
        name = \"gated\"
        address = \"127.0.0.1:0\"
        plugins = [\"it\"]";
    let weir = start("ip-filter", "{ deny = [\"127.0.0.1\"] }", listener);
    assert_eq!(RawClient::connect(weir.address("gated")).rest(), b"", "closed without an answer");
    assert_eq!(
        ask(&weir, "GET /echo").status,
        403,
        "the listener that does not name it goes on to the route"
    );
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

/// An upstream that says what it was asked, and refuses what has no token.
fn login() -> RawUpstream {
    RawUpstream::start(|_, served| {
        while let Some(request) = served.request() {
            let user = request.contains("authorization: let-me-in\r\n");
            served.send(match user {
                true => "HTTP/1.1 200 OK\r\nx-user: mary\r\ncontent-length: 2\r\n\r\nok",
                false => "HTTP/1.1 302 Found\r\nlocation: /login\r\nset-cookie: a=1\r\nset-cookie: b=2\r\ncontent-length: 5\r\n\r\nlogin",
            });
        }
    })
}

#[test]
fn forward_auth() {
    let login = login();
    let more = format!(
        "grants = {{ upstreams = [\"login\"] }}\n[upstreams.login]\nendpoints = [\"{}\"]\n",
        login.address()
    );
    let settings =
        "{ upstream = \"login\", path = \"/verify\", response_headers = [\"x-user\", \"x-role\"] }";
    let weir = start_granted("forward-auth", settings, &more);
    let answer = ask(&weir, "GET /echo?a=b\nauthorization: let-me-in\nx-user: admin\nx-role: root");
    let text = answer.text();
    assert_eq!(answer.status, 200);
    assert!(text.contains("x-user: mary") && !text.contains("admin") && !text.contains("x-role"), "{text}");
    let head = login.head_of("/verify");
    for field in ["x-forwarded-uri: /echo?a=b", "x-forwarded-host: shop.example", "x-forwarded-method: GET"] {
        assert!(head.contains(field), "{head}");
    }
    let answer = ask(&weir, "POST /echo\nauthorization: wrong\ncontent-length: 0");
    assert_eq!(
        (answer.status, answer.header("location"), answer.text().as_str()),
        (302, Some("/login"), "login")
    );
    assert_eq!(answer.all("set-cookie"), ["a=1", "b=2"]);
    let gone = weir_tests::nginx::free_address();
    let more = format!("grants = {{ hosts = [\"http://{gone}\"] }}\n");
    let weir = start_granted("forward-auth", &format!("{{ url = \"http://{gone}/x\" }}"), &more);
    assert_eq!(ask(&weir, "GET /echo").status, 503);
    assert!(refused("forward-auth", "{}").contains("says which server is asked"));
}

#[test]
fn mirror() {
    let shadow = RawUpstream::polite();
    let more = format!(
        "grants = {{ upstreams = [\"next\"] }}\n[upstreams.next]\nendpoints = [\"{}\"]\n",
        shadow.address()
    );
    let weir = start_granted("mirror", "{ upstream = \"next\", methods = [\"POST\"] }", &more);
    let mut client = RawClient::connect(weir.address("web"));
    assert_eq!(ask(&weir, "GET /echo?not").status, 200);
    client.send("POST /echo?copied HTTP/1.1\r\nhost: shop.example\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: 5\r\n\r\nhello");
    let answer = client.answer("POST");
    assert!(answer.text().ends_with("hello"), "{}", answer.text());
    let head = shadow.head_of("/echo?copied");
    for field in ["POST /echo", "host: shop.example", "x-a: 1\r\nx-a: 2", "x-mirror: 1", "content-length: 5"]
    {
        assert!(head.contains(field), "{field}: {head}");
    }
    shadow.wait_for("\r\n\r\nhello");
    let seen: Vec<u8> = shadow.received().into_iter().flat_map(|received| received.bytes).collect();
    assert!(!String::from_utf8_lossy(&seen).contains("?not"), "only POST is copied");
}

#[test]
fn body_rewrite() {
    let settings = "{ request = { set = { \"user.role\" = \"guest\", \"list.2\" = 5 }, remove = [\"secret\", \"gone.deep\"] }, response = { types = [\"text/plain\"], replace = [{ pattern = \"(?m)^host: .*$\", with = \"host: hidden\" }] } }";
    let weir = start("body-rewrite", settings, "");
    let post = |kind: &str, body: &str| {
        let mut client = RawClient::connect(weir.address("web"));
        client.send(format!("POST /echo HTTP/1.1\r\nhost: shop.example\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        client.answer("POST").text()
    };
    let text =
        post("application/json; charset=utf-8", "{\"secret\":1,\"user\":{\"name\":\"x\"},\"list\":[1,2]}");
    assert!(text.contains("\nhost: hidden\n") && !text.contains("shop.example\n\n"), "{text}");
    let (_, body) = text.split_once("\n\n").expect("a body");
    let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body, serde_json::json!({ "user": { "name": "x", "role": "guest" }, "list": [1, 5] }));
    for (kind, body) in [
        ("text/html", "{\"secret\":1}"),
        ("application/json", "{\"secret\":"),
        ("application/vnd.x+json", "[]"),
    ] {
        let text = post(kind, body);
        assert!(text.ends_with(body) || kind.ends_with("+json"), "{text}");
    }
    assert!(refused("body-rewrite", "{}").contains("nothing would change"));
    assert!(
        refused("body-rewrite", "{ request = { remove = [\"a..b\"] } }")
            .contains("\"a..b\" is no path of a field")
    );
    assert!(
        refused("body-rewrite", "{ response = { replace = [{ pattern = \"(\" }] } }")
            .contains("no regular expression")
    );
}
