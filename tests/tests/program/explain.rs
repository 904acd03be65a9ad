//! `weir explain` and the access log agree on the route of every request.

use weir_tests::{RawClient, RawUpstream, Weir, weir};

const ROUTES: &str = r#"
    workers = 1
    [[listeners]]
    name = "web"
    address = "127.0.0.1:0"
    [[listeners]]
    name = "inside"
    address = "127.0.0.1:0"

    [[routes]]
    name = "site"
    host = "example.com"
    upstream = "app"
    [[routes]]
    name = "wild"
    host = "*.example.com"
    upstream = "app"
    [[routes]]
    name = "api"
    path_prefix = "/api"
    upstream = "app"
    [[routes]]
    name = "site-api"
    host = "example.com"
    path_prefix = "/api"
    upstream = "app"
    [[routes]]
    name = "health"
    path = "/api/health"
    respond = "fine"
    [[routes]]
    name = "user"
    path = "/users/{id}"
    upstream = "app"
    [[routes]]
    name = "user-me"
    path = "/users/me"
    upstream = "app"
    [[routes]]
    name = "user-files"
    path = "/users/{id}/files/{rest*}"
    upstream = "app"
    [[routes]]
    name = "digits"
    path_regex = "/[0-9]+"
    upstream = "app"
    [[routes]]
    name = "write"
    path_prefix = "/store"
    methods = ["POST", "PUT"]
    upstream = "app"
    [[routes]]
    name = "read"
    path_prefix = "/store"
    methods = "GET"
    redirect = "https://example.org{path}"
    [[routes]]
    name = "beta"
    path_prefix = "/store"
    methods = "GET"
    headers = { x-beta = true }
    upstream = "app"
    [[routes]]
    name = "gold"
    path_prefix = "/store"
    methods = "GET"
    headers = { x-beta = true, x-plan = "gold" }
    upstream = "app"
    [[routes]]
    name = "search"
    path = "/search"
    query = { q = true }
    upstream = "app"
    [[routes]]
    name = "old-search"
    path = "/search"
    query = { q = false, v = { prefix = "1" } }
    upstream = "app"
    [[routes]]
    name = "inside"
    listeners = "inside"
    path_prefix = "/admin"
    upstream = "app"
    [[routes]]
    name = "far"
    path_prefix = "/near"
    clients = "192.0.2.0/24"
    upstream = "app"
    [[routes]]
    name = "near"
    path_prefix = "/near"
    clients = "127.0.0.0/8"
    upstream = "app"
    [upstreams.app]
    endpoints = ["%UPSTREAM%"]
"#;

/// Listener, method, host, target, further headers, and the route that is right.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str], &'static str);

const NONE: &str = "none";

const TABLE: &[Row] = &[
    ("web", "GET", "example.com", "/", &[], "site"),
    ("web", "GET", "EXAMPLE.com:8080", "/", &[], "site"),
    ("web", "GET", "a.example.com", "/", &[], "wild"),
    ("web", "GET", "a.b.example.com", "/x?y", &[], "wild"),
    ("web", "GET", "notexample.com", "/", &[], NONE),
    ("web", "GET", "other.test", "/api", &[], "api"),
    ("web", "GET", "other.test", "/api/x", &[], "api"),
    ("web", "GET", "other.test", "/apis", &[], NONE),
    ("web", "GET", "other.test", "/API", &[], NONE),
    ("web", "GET", "example.com", "/api/x", &[], "site-api"),
    ("web", "GET", "other.test", "/api/health", &[], "health"),
    ("web", "POST", "other.test", "/api/health", &[], "health"),
    ("web", "GET", "other.test", "/api/health/", &[], "api"),
    ("web", "GET", "other.test", "/x/../api/./health", &[], "health"),
    ("web", "GET", "other.test", "/%61pi/x", &[], "api"),
    ("web", "GET", "other.test", "/users/7", &[], "user"),
    ("web", "GET", "other.test", "/users/me", &[], "user-me"),
    ("web", "GET", "other.test", "/users/", &[], NONE),
    ("web", "GET", "other.test", "/users/7/files/a/b", &[], "user-files"),
    ("web", "GET", "other.test", "/users/7/files/", &[], NONE),
    ("web", "GET", "other.test", "/2024", &[], "digits"),
    ("web", "GET", "other.test", "/2024a", &[], NONE),
    ("web", "PUT", "other.test", "/store/x", &[], "write"),
    ("web", "GET", "other.test", "/store/x", &[], "read"),
    ("web", "DELETE", "other.test", "/store/x", &[], NONE),
    ("web", "GET", "other.test", "/store/x", &["X-Beta: no"], "beta"),
    ("web", "GET", "other.test", "/store/x", &["x-plan: gold", "x-beta: 1"], "gold"),
    ("web", "GET", "other.test", "/store/x", &["x-plan: gold"], "read"),
    ("web", "GET", "other.test", "/search?q=weir", &[], "search"),
    ("web", "GET", "other.test", "/search?v=1.2", &[], "old-search"),
    ("web", "GET", "other.test", "/search?v=1.2&q=x", &[], "search"),
    ("web", "GET", "other.test", "/search?v=2", &[], NONE),
    ("web", "GET", "other.test", "/search", &[], NONE),
    ("inside", "GET", "other.test", "/admin/x", &[], "inside"),
    ("web", "GET", "other.test", "/admin/x", &[], NONE),
    ("web", "GET", "other.test", "/near", &[], "near"),
];

#[test]
fn explain_and_access_log_agree() {
    let upstream = RawUpstream::polite();
    let config = ROUTES.replace("%UPSTREAM%", &upstream.address().to_string());
    let mut weir = Weir::start(&config);
    let path = weir.folder().join("weir.toml").to_string_lossy().into_owned();
    let mut wrong = Vec::new();
    for &(listener, method, host, target, headers, route) in TABLE {
        let case = format!("{method} {host} {target} {headers:?} on {listener}");
        let explained = explain(&path, listener, method, host, target, headers);

        let fields: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n{fields}\r\n");
        let answer = RawClient::connect(weir.address(listener)).ask(&request);
        let record = weir.record("the record of a request", |_| true);
        assert_eq!(record["target"], target, "{case}: {record}");
        let logged = record["route"].as_str().unwrap_or(NONE);

        if (explained.as_str(), logged) != (route, route) {
            wrong.push(format!("{case}: explained {explained}, logged {logged}, not {route}"));
        }
        assert_eq!(matches!(answer.status, 404 | 405), route == NONE, "{case}: {}", answer.status);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The route that `weir explain` names.
fn explain(path: &str, listener: &str, method: &str, host: &str, target: &str, headers: &[&str]) -> String {
    let url = format!("http://{host}{target}");
    let mut arguments = vec!["explain", "--config", path, "--listener", listener, "--client", "127.0.0.1"];
    for header in headers {
        arguments.extend(["-H", header]);
    }
    arguments.extend([method, &url]);
    let output = weir::run(&arguments);
    let line = output.stdout.lines().find_map(|line| line.strip_prefix("route "));
    let line = line.unwrap_or_else(|| panic!("{arguments:?}: {}{}", output.stdout, output.stderr)).trim();
    let route = line.split(':').next().unwrap_or_default();
    assert_eq!(output.code, Some(if route == NONE { 4 } else { 0 }), "{}", output.stdout);
    for other in ["site", "api", "user", "digits", "write", "search", "near"] {
        assert!(output.stdout.contains(other), "it speaks of every route: {}", output.stdout);
    }
    route.to_owned()
}
