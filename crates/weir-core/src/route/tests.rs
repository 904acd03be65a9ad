mod precedence;

use std::collections::HashMap;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use weir_plugin::Captures;

use super::{Question, RouteError, Router};
use crate::spec::{Action, HostPattern, Match, PathPattern, Route, ValueMatch};

fn respond() -> Action {
    Action::Respond { status: StatusCode::OK, headers: HeaderMap::new(), body: "".into() }
}

/// `GET+POST *.a.example,b.example /x,/y* ~/r h:x-a=1 q:v=1 c:10.0.0.0/8 l:main`: a route's conditions as words;
/// `/p*` is a prefix, `h:name` presence, `h:!name` absence, `h:name^=p` a prefix, `h:name~=r` an expression.
fn matching(words: &str) -> Match {
    let mut m = Match::default();
    for word in words.split_whitespace() {
        if let Some(rest) = word.strip_prefix("h:") {
            let (name, value) = value_match(rest);
            m.headers.push((HeaderName::try_from(name).expect("a name"), value));
        } else if let Some(rest) = word.strip_prefix("q:") {
            let (name, value) = value_match(rest);
            m.query.push((name.into(), value));
        } else if let Some(rest) = word.strip_prefix("c:") {
            m.clients = rest.split(',').map(|net| net.parse().expect("a network")).collect();
        } else if let Some(rest) = word.strip_prefix("l:") {
            m.listeners = rest.split(',').map(Into::into).collect();
        } else if word.starts_with(['/', '~']) {
            m.paths = word.split(',').map(path).collect();
        } else if word.starts_with(|c: char| c.is_ascii_uppercase()) {
            m.methods = word.split('+').map(|w| w.parse().expect("a method")).collect();
        } else {
            m.hosts = word.split(',').map(|host| HostPattern::parse(host).expect("a host")).collect();
        }
    }
    m
}

fn path(text: &str) -> PathPattern {
    let pattern = match text.strip_prefix('~') {
        Some(regex) => PathPattern::regex(regex),
        None if text.contains('{') => PathPattern::template(text),
        None => text.strip_suffix('*').map_or_else(|| PathPattern::exact(text), PathPattern::prefix),
    };
    pattern.expect("a path")
}

fn value_match(text: &str) -> (&str, ValueMatch) {
    if let Some(name) = text.strip_prefix('!') {
        (name, ValueMatch::Absent)
    } else if let Some((name, value)) = text.split_once("^=") {
        (name, ValueMatch::Prefix(value.into()))
    } else if let Some((name, value)) = text.split_once("~=") {
        (name, ValueMatch::regex(value).expect("an expression"))
    } else if let Some((name, value)) = text.split_once('=') {
        (name, ValueMatch::Exact(value.into()))
    } else {
        (text, ValueMatch::Present)
    }
}

fn router(routes: &[(&str, &str)]) -> Result<Router, RouteError> {
    let routes: Vec<Route> = routes
        .iter()
        .map(|(name, words)| Route { matching: matching(words), ..Route::new(name, respond()) })
        .collect();
    Router::new(&routes, &HashMap::new())
}

/// `GET host /path?query header=value @client on:listener`.
struct Asked {
    method: Method,
    host: String,
    path: String,
    query: String,
    headers: HeaderMap,
    client: Option<std::net::IpAddr>,
    listener: String,
}

impl Asked {
    fn new(words: &str) -> Self {
        let mut asked = Asked {
            method: Method::GET,
            host: String::new(),
            path: "/".into(),
            query: String::new(),
            headers: HeaderMap::new(),
            client: None,
            listener: "main".into(),
        };
        for word in words.split_whitespace() {
            if word.starts_with('/') {
                let (path, query) = word.split_once('?').unwrap_or((word, ""));
                (asked.path, asked.query) = (path.into(), query.into());
            } else if let Some(client) = word.strip_prefix('@') {
                asked.client = Some(client.parse().expect("an address"));
            } else if let Some(listener) = word.strip_prefix("on:") {
                asked.listener = listener.into();
            } else if let Some((name, value)) = word.split_once('=') {
                let value = HeaderValue::from_str(value).expect("a value");
                asked.headers.append(HeaderName::try_from(name).expect("a name"), value);
            } else if word.chars().all(|c| c.is_ascii_uppercase()) {
                asked.method = word.parse().expect("a method");
            } else {
                asked.host = word.into();
            }
        }
        asked
    }

    fn question(&self) -> Question<'_> {
        Question {
            listener: &self.listener,
            host: &self.host,
            path: &self.path,
            query: &self.query,
            method: &self.method,
            headers: &self.headers,
            client: self.client,
        }
    }
}

fn name_of(router: &Router, asked: &Asked) -> String {
    let found = router.find(&asked.question());
    let explained = router.explain(&asked.question()).into_iter().find(|e| e.mismatch.is_none());
    let found = found.map_or_else(|| "-".to_owned(), |f| f.route.spec.name.to_string());
    assert_eq!(found, explained.map_or_else(|| "-".to_owned(), |e| e.route.to_string()), "explain");
    found
}

#[track_caller]
fn check(routes: &[(&str, &str)], asked: &[(&str, &str)]) {
    let forwards = router(routes).expect("these routes can be together");
    let backwards = router(&routes.iter().rev().copied().collect::<Vec<_>>()).expect("in any order");
    for (words, want) in asked {
        let asked = Asked::new(words);
        assert_eq!(name_of(&forwards, &asked), *want, "{words}");
        assert_eq!(name_of(&backwards, &asked), *want, "{words}, other order");
    }
}

#[test]
fn the_most_specific_host_is_asked_first() {
    check(
        &[
            ("exact", "a.b.example"),
            ("long", "*.b.example"),
            ("short", "*.example /s*"),
            ("ip", "[::1]"),
            ("any", "/a*"),
        ],
        &[
            ("a.b.example /", "exact"),
            ("A.B.Example. /", "exact"),
            ("x.b.example /s", "long"),
            ("x.y.b.example /", "long"),
            ("b.example /s", "short"),
            ("b.example /a", "any"),
            ("[::1] /", "ip"),
            ("example /s", "-"),
            (".example /s", "-"),
            ("other /", "-"),
            ("other /a/b", "any"),
            ("/a", "any"),
        ],
    );
}

#[test]
fn the_most_specific_path_is_asked_first() {
    check(
        &[
            ("exact", "/users/me"),
            ("posts", "/users/{id}/posts"),
            ("named", "/users/{id}/{what}"),
            ("one", "/users/{id}"),
            ("left", "/x/{b}/c,/x/y/{c}"),
            ("right", "/{a}/y/c"),
            ("rest", "/files/{rest*}"),
            ("deep", "/files/img/{rest*}"),
            ("api", "/api*"),
            ("v2", "/api/v2/*"),
            ("regex", r"~/[a-z]+\.html"),
            ("any", "GET"),
        ],
        &[
            ("/users/me", "exact"),
            ("/users/7", "one"),
            ("/users/", "any"),
            ("/users/7/", "any"),
            ("/users/7/posts", "posts"),
            ("/users/7/likes", "named"),
            ("/users/7/likes/1", "any"),
            ("/x/y/c", "left"),
            ("/z/y/c", "right"),
            ("/files/", "any"),
            ("/files/a", "rest"),
            ("/files/a/b", "rest"),
            ("/files//b", "rest"),
            ("/files/img/b", "deep"),
            ("/api", "api"),
            ("/api/v2", "v2"),
            ("/api/v2x", "api"),
            ("/api/v2/", "v2"),
            ("/apis", "any"),
            ("/a.html", "regex"),
            ("/a.htmlx", "any"),
            ("POST /zzz", "-"),
        ],
    );
}

#[test]
fn more_conditions_are_asked_first() {
    check(
        &[
            ("plain", "/a*"),
            ("get", "/a* GET"),
            ("post", "/a* POST+PUT"),
            ("beta", "/a* GET h:x-beta"),
            ("two", "/a* GET h:x-beta=2"),
            ("beta-v", "/a* GET h:x-beta q:v=a&b"),
            ("inside", "/in* c:10.0.0.0/8,2001:db8::/32"),
            ("desk", "/in* c:10.1.0.0/16"),
            ("tls", "/l* l:tls"),
            ("none", "/n* h:!x-a"),
            ("pre", "/p* q:k^=a%"),
            ("expr", r"/p* q:k~=\d+(-|\s)\d+"),
        ],
        &[
            ("DELETE /a", "plain"),
            ("/a", "get"),
            ("PUT /a", "post"),
            ("/a x-beta=1", "beta"),
            ("/a x-beta=2", "two"),
            ("/a x-beta=1 x-beta=2", "two"),
            ("/a?v=a%26b x-beta=1", "beta-v"),
            ("/a?u=1&%76=a%26b x-beta=1", "beta-v"),
            ("/a?v=ab x-beta=1", "beta"),
            ("/in @10.2.0.1", "inside"),
            ("/in @10.1.0.1", "desk"),
            ("/in @2001:db8::7", "inside"),
            ("/in @11.0.0.1", "-"),
            ("/in", "-"),
            ("/l on:tls", "tls"),
            ("/l", "-"),
            ("/n", "none"),
            ("/n x-a=1", "-"),
            ("/p?k=a%25b", "pre"),
            ("/p?k=1-2", "expr"),
            ("/p?k=%31-2", "expr"),
            ("/p?k=1+2", "expr"),
            ("/p?k=1%202", "expr"),
            ("/p?k=1%2B2", "-"),
            ("/p?k=1-2x", "-"),
            ("/p?k", "-"),
        ],
    );
}

#[test]
fn conflicts_name_both_routes() {
    for (first, second, want) in [
        ("/a", "/a", "take the same"),
        ("", "", "take the same"),
        ("a.example /a,/b", "b.example,a.example /b", "take the same"),
        ("/{x}/a", "/{y}/a", "take the same"),
        ("/a* GET+POST", "/a/* POST+GET", "take the same"),
        ("/a h:x=1", "/a h:x=1", "take the same"),
        ("/a h:x", "/a h:y", "host"),
        ("/a h:x", "/a GET", "path /a"),
        ("/a GET+POST", "/a POST+PUT", "neither"),
        ("/a c:10.0.0.0/8", "/a c:10.0.0.0/8,11.0.0.0/8", "neither"),
        ("/a", "/b", ""),
        ("/a", "/a*", ""),
        ("/{a}/x", "/{a}/y", ""),
        ("/a GET", "/a POST", ""),
        ("/a h:x=1", "/a h:x=2", ""),
        ("/a h:x", "/a h:!x", ""),
        ("/a c:10.0.0.0/8", "/a c:10.1.0.0/16", ""),
        ("/a l:one", "/a l:two", ""),
        ("~/a+", "~/[a]+", ""),
        ("*.a.example", "*.b.example", ""),
    ] {
        match router(&[("one", first), ("two", second)]) {
            Ok(_) => assert_eq!(want, "", "{first} and {second}"),
            Err(error) => {
                let text = error.to_string();
                assert!(!want.is_empty() && text.contains(want), "{first} and {second}: {text}");
                assert!(text.starts_with("routes one and two "), "{text}");
            }
        }
    }
}

#[test]
fn a_missing_upstream_is_named() {
    let route = Route::new("r", Action::Upstream("gone".into()));
    let error = Router::new(&[route], &HashMap::new()).expect_err("there is no group");
    assert_eq!(error.to_string(), "route r names the upstream gone, which is not there");
}

#[test]
fn captures_are_as_in_the_path() {
    let router = router(&[
        ("t", "/users/{id}/files/{rest*}"),
        ("r", r"~/y(?<year>\d+)(-(?<month>\d+))?"),
        ("none", "/plain"),
    ])
    .expect("these routes can be together");
    for (path, want) in [
        ("/users/a%2Fb/files/x/y", &[("id", "a%2Fb"), ("rest", "x/y")][..]),
        ("/users/7/files//", &[("id", "7"), ("rest", "/")]),
        ("/y2020-1", &[("year", "2020"), ("month", "1")]),
        ("/y2020", &[("year", "2020")]),
        ("/plain", &[]),
    ] {
        let asked = Asked::new(path);
        let want: Captures = want.iter().map(|(n, v)| ((*n).into(), (*v).to_owned())).collect();
        assert_eq!(router.find(&asked.question()).map(|f| f.captures), Some(want), "{path}");
    }
}

#[test]
fn explanations_are_in_words() {
    let router = router(&[
        ("host", "a.example,*.b.example /h"),
        ("one", "/api* GET+POST"),
        ("two", r"/x,/y*,/z/{id},~/r\d"),
        ("head", "/api h:x-a=1"),
        ("query", "/api/q q:v^=b"),
        ("client", "/api/c c:10.0.0.0/8"),
        ("listener", "/api/l l:tls"),
        ("any", ""),
    ])
    .expect("these routes can be together");
    for (words, route, want) in [
        ("c.example /h", "host", Some("host c.example is not a.example or *.b.example")),
        ("/h", "host", Some("host (none) is not a.example or *.b.example")),
        ("a.example /i", "host", Some("path /i is not /h")),
        ("a.example /h", "host", None),
        ("/a", "one", Some("path /a is not below /api")),
        ("PUT /api", "one", Some("method PUT is not GET or POST")),
        ("/api", "one", None),
        ("/a", "two", Some(r"path /a is not /x, below /y, like /z/{id} or matching /r\d")),
        ("/api", "head", Some("header x-a is not there")),
        ("/api x-a=2", "head", Some("header x-a is `2`, not `1`")),
        ("/api/q?v=%61", "query", Some("query parameter v is `a`, which does not start with `b`")),
        ("/api/c @11.0.0.1", "client", Some("client 11.0.0.1 is not in 10.0.0.0/8")),
        ("/api/c", "client", Some("client without an address is not in 10.0.0.0/8")),
        ("/api/l", "listener", Some("listener main is not tls")),
        ("/a", "any", None),
    ] {
        let asked = Asked::new(words);
        let all = router.explain(&asked.question());
        assert_eq!(all.len(), 8);
        let shown = all.into_iter().find(|e| *e.route == *route).expect("every route is explained");
        assert_eq!(shown.mismatch.as_deref(), want, "{words} on {route}");
    }
}

#[test]
fn allowed_methods_are_those_that_would_be_routed() {
    let router = router(&[("a", "/a* GET+HEAD"), ("b", "/a/b POST h:x"), ("c", "/c")])
        .expect("these routes can be together");
    for (words, want) in [
        ("PUT /a", &["GET", "HEAD"][..]),
        ("PUT /a/b x=1", &["GET", "HEAD", "POST"]),
        ("PUT /a/b", &["GET", "HEAD"]),
        ("PUT /z", &[]),
    ] {
        let asked = Asked::new(words);
        assert_eq!(router.allowed(&asked.question()), want, "{words}");
    }
}
