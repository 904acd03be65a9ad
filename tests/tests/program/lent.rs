//! What plugins are lent, as an operator sees it: metrics, and secrets that change.

use weir_tests::{Answer, RawClient, Weir, weir};

/// A folder with one script.
fn folder(script: &str) -> tempfile::TempDir {
    let folder = weir::folder();
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder can be made");
    std::fs::write(folder.path().join("plugins/it.lua"), script).expect("a script can be written");
    folder
}

fn get(weir: &Weir, target: &str, fields: &str) -> Answer {
    let request = format!("GET {target} HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    RawClient::connect(weir.address("web")).ask(&request)
}

#[test]
fn metrics_of_scripts_are_shown_by_a_route() {
    let script = r#"
        return {
          on_request = function(req)
            weir.kv.incr("n")
            weir.kv.get("n")
            weir.metrics.counter("requests", { path = req.path }):add()
            weir.metrics.histogram("cookies"):observe(#req.cookies:entries())
          end,
        }"#;
    let config = "workers = 2
        [[listeners]]
        name = \"web\"
        address = \"127.0.0.1:0\"
        [[routes]]
        respond = \"hello\"
        plugins = [\"it\"]
        [[routes]]
        path = \"/metrics\"
        metrics = true
        ";
    let mut weir = Weir::start_in(folder(script), config);
    for target in ["/a", "/a", "/b\"c"] {
        assert_eq!(get(&weir, target, "").status, 200);
    }
    let answer = get(&weir, "/metrics", "");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let shown = answer.text();
    for line in [
        "# TYPE weir_plugin_requests_total counter",
        "weir_plugin_requests_total{plugin=\"it\",path=\"/a\"} 2.0",
        "weir_plugin_requests_total{plugin=\"it\",path=\"/b\\\"c\"} 1.0",
        "weir_plugin_cookies_count{plugin=\"it\"} 3",
        "weir_kv_entries 1.0",
        "weir_kv_hits_total 3",
        "weir_kv_capacity_bytes 67108864.0",
        "weir_generation 1.0",
        "weir_config_changes_total{outcome=\"published\"} 0.0",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in {shown}");
    }
    // Connections of the requests before this one end by and by.
    let deadline = std::time::Instant::now() + weir_tests::PATIENCE;
    while !get(&weir, "/metrics", "").text().lines().any(|line| line == "weir_connections 1.0") {
        assert!(std::time::Instant::now() < deadline, "more connections are counted than there are");
    }
    let answer =
        get(&weir, "/metrics", "accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    let kind = answer.header("content-type").expect("it is told");
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    assert!(answer.text().ends_with("# EOF\n"), "{}", answer.text());
    let answer = RawClient::connect(weir.address("web"))
        .ask("POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    // What was counted outlives a reload.
    weir.reload(&format!("drain = \"1s\"\n{config}"));
    assert_eq!(get(&weir, "/a", "").status, 200);
    let shown = get(&weir, "/metrics", "").text();
    for line in ["weir_generation 2.0", "weir_config_changes_total{outcome=\"published\"} 1.0"] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in {shown}");
    }
    assert!(shown.contains("weir_plugin_requests_total{plugin=\"it\",path=\"/a\"} 3.0\n"), "{shown}");
    let file = weir.folder().join("weir.toml");
    let output = weir::run(&["explain", "GET", "/metrics", "--config", file.to_str().expect("a plain name")]);
    assert!(output.stdout.contains("answer    metrics"), "{}", output.stdout);
}

#[test]
fn secrets_are_read_again_at_a_reload_and_told_to_nobody_else() {
    let script = r#"
        local token = weir.secrets.get("token")
        return {
          on_request = function(req)
            return weir.respond{ body = weir.codec.hex_encode(weir.crypto.hash("sha256", token)) }
          end,
        }"#;
    let config = "[[listeners]]
        name = \"web\"
        address = \"127.0.0.1:0\"
        [[routes]]
        respond = \"\"
        plugins = [\"it\"]
        [plugins.it.secrets]
        token = \"file:token\"
        ";
    let folder = folder(script);
    let file = folder.path().join("token");
    std::fs::write(&file, "abc\n").expect("a secret can be written");
    let mut weir = Weir::start_in(folder, config);
    // Of "abc", without the line break (FIPS 180-4).
    let first = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(get(&weir, "/", "").text(), first);
    std::fs::write(&file, "hush-hush").expect("a secret can be written");
    assert_eq!(get(&weir, "/", "").text(), first, "nothing changes but at a reload");
    weir.reload(config);
    let second = get(&weir, "/", "").text();
    assert_ne!(second, first);
    weir.reload(&format!("drain = \"1s\"\n{config}"));
    assert_eq!(get(&weir, "/", "").text(), second);
    let path = weir.folder().join("weir.toml");
    let output = weir::run(&["check", path.to_str().expect("a plain name")]);
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let told = [output.stdout, output.stderr, weir.process().lines().join("\n")].concat();
    assert!(!told.contains("hush-hush"), "{told}");
    // A secret that is gone changes nothing but the log.
    std::fs::remove_file(&file).expect("it is there");
    let mut from = weir.process().lines().len();
    weir.process().signal(rustix::process::Signal::HUP);
    weir.process().line_from(&mut from, "what is wrong", |line| {
        (line.contains("weir.toml:9:") && line.contains("cannot read") && line.contains("token"))
            .then_some(())
    });
    assert_eq!(get(&weir, "/", "").text(), second);
}
