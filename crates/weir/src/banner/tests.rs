use http::{HeaderMap, Method, StatusCode};
use std::time::Duration;
use weir_core::spec::{
    AcceptBalance, Balance, EndpointSpec, HttpLimits, OnReload, PathTemplate, Protocol, Retry, Upstream,
    UpstreamTimeouts,
};

use super::*;

fn listener(name: &str, address: ListenAddress, serve: Serve) -> Listener {
    Listener {
        name: name.into(),
        address,
        backlog: 16,
        serve,
        tls: None,
        proxy_protocol: None,
        balance: AcceptBalance::Kernel,
        max_connections: 10,
        max_connections_per_client: 10,
        handshake_timeout: Duration::from_secs(1),
        http: HttpLimits::default(),
    }
}

fn group(name: &str, endpoints: &[&str]) -> Upstream {
    let endpoints = endpoints
        .iter()
        .map(|address| EndpointSpec {
            address: address
                .parse()
                .map_or_else(|_| EndpointAddress::Name((*address).into(), 80), EndpointAddress::Ip),
            weight: 1,
        })
        .collect();
    Upstream {
        name: name.into(),
        endpoints,
        balance: Balance::RoundRobin,
        protocol: Protocol::Auto,
        tls: None,
        timeouts: UpstreamTimeouts::default(),
        max_idle: 1,
        idle_timeout: Duration::from_secs(1),
        retry: Retry::default(),
        skip_refused: Duration::from_secs(1),
        resolve_every: Duration::from_secs(1),
        replay_body: 0,
    }
}

fn plan() -> Plan {
    let any = ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address"));
    let unix = ListenAddress::Unix { path: "/run/weir.sock".into(), mode: 0o660 };
    let mut api = Route::new("api", Action::Upstream("servers".into()));
    api.matching = Match {
        listeners: vec!["web".into()],
        hosts: vec![HostPattern::Suffix(".example.com".into())],
        paths: vec![
            PathPattern::Prefix("/api".into()),
            PathPattern::Template(PathTemplate { source: "/users/{id}".into(), segments: Vec::new() }),
        ],
        methods: vec![Method::GET, Method::POST],
        headers: vec![(http::header::ORIGIN, ValueMatch::Present)],
        query: vec![("v".into(), ValueMatch::Exact("2".into()))],
        clients: vec!["10.0.0.0/8".parse().expect("a network")],
    };
    let old =
        Route::new("old-site", Action::Redirect { status: StatusCode::FOUND, to: "https://{host}/".into() });
    let rest = Route::new(
        "rest",
        Action::Respond {
            status: StatusCode::NOT_FOUND,
            headers: HeaderMap::new(),
            body: bytes::Bytes::new(),
        },
    );
    let spec = Spec {
        listeners: vec![
            listener("web", any.clone(), Serve::Http),
            listener("local", unix, Serve::Http),
            listener("db", any, Serve::Tcp),
        ],
        routes: vec![api, old, rest],
        tcp_routes: vec![TcpRoute {
            name: "db".into(),
            listener: "db".into(),
            sni: Vec::new(),
            upstream: "one".into(),
            idle_timeout: Duration::from_secs(1),
            on_reload: OnReload::Pin,
            identity: 0,
        }],
        upstreams: vec![
            group("servers", &["10.0.0.1:80", "10.0.0.2:80", "app.internal", "10.0.0.4:80", "10.0.0.5:80"]),
            group("one", &["[::1]:5432"]),
        ],
        ..Spec::default()
    };
    Plan { spec, source: Source::Embedded, ..Plan::default() }
}

fn text(plan: &Plan, colours: bool) -> String {
    let port = |n: u16| Some(SocketAddr::from(([127, 0, 0, 1], n)));
    let addresses = [("web".into(), port(4001)), ("local".into(), None), ("db".into(), port(4002))];
    Banner { plan, addresses: &addresses, workers: 2, colours }.text()
}

#[test]
fn a_person_and_a_program_can_read_it() {
    let expected = [
        "listening web http://127.0.0.1:4001",
        "listening local unix:/run/weir.sock",
        "listening db tcp://127.0.0.1:4002",
        "route api       [web] GET,POST *.example.com /api/*,/users/{id} origin ?v=2 10.0.0.0/8  -> servers (10.0.0.1:80, 10.0.0.2:80, app.internal:80, 2 more)",
        "ready",
    ];
    let text = text(&plan(), false);
    assert!(!text.contains('\u{1b}'), "{text:?}");
    for line in expected {
        assert!(text.lines().any(|l| l == line), "{line:?} is not in:\n{text}");
    }
    for part in [
        "config/weir.toml",
        "2 workers",
        "-> 302 https://{host}/",
        "-> answer 404",
        "[db] any",
        "one ([::1]:5432)",
    ] {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    assert!(text.ends_with("\nready\n"), "{text}");
}

#[test]
fn colours_are_for_terminals() {
    assert!(text(&plan(), true).contains("listening web \u{1b}[1mhttp://127.0.0.1:4001\u{1b}[0m\n"));
}

#[test]
fn many_routes_are_cut() {
    let mut plan = plan();
    let route = plan.spec.routes[2].clone();
    plan.spec.routes = vec![route; 100];
    let text = text(&plan, false);
    assert_eq!(text.matches("\nroute ").count(), MAX_ROUTES);
    assert!(text.contains("and 71 routes more"), "{text}");
}
