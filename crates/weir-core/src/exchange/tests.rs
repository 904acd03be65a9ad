//! A whole server with plugins made of closures: what they see and decide holds for real requests.

mod http2;
mod shadow;
mod websocket;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_plugin::native::Native;
use weir_plugin::{Reply, Target, Verdict};

use crate::spec::{
    AcceptBalance, Action, Balance, EndpointAddress, EndpointSpec, HttpLimits, ListenAddress, Listener,
    Protocol, Retry, Route, Serve, Spec, Upstream, UpstreamTimeouts,
};
use crate::{Server, Snapshot};

fn listener() -> Listener {
    Listener {
        name: "web".into(),
        address: ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()),
        backlog: 16,
        serve: Serve::Http,
        tls: None,
        proxy_protocol: None,
        balance: AcceptBalance::Kernel,
        max_connections: 100,
        max_connections_per_client: 100,
        handshake_timeout: Duration::from_secs(10),
        http: HttpLimits::default(),
    }
}

fn upstream(name: &str, address: std::net::SocketAddr) -> Upstream {
    Upstream {
        name: name.into(),
        endpoints: vec![EndpointSpec { address: EndpointAddress::Ip(address), weight: 1 }],
        balance: Balance::RoundRobin,
        protocol: Protocol::Http1,
        tls: None,
        timeouts: UpstreamTimeouts::default(),
        max_idle: 8,
        idle_timeout: Duration::from_secs(60),
        retry: Retry::default(),
        skip_refused: Duration::from_secs(10),
        resolve_every: Duration::from_secs(30),
        replay_body: 65536,
    }
}

/// A server that answers one request a connection with its name, and tells the heads that it saw.
async fn origin(name: &'static str) -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            log.lock().unwrap().push(String::from_utf8(head).unwrap());
            let response = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n{name}");
            socket.write_all(response.as_bytes()).await.unwrap();
        }
    });
    (address, seen)
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn plugins_see_and_decide() {
    let (a, seen) = origin("a").await;
    let (b, _) = origin("b").await;
    let logged = Arc::new(Mutex::new(Vec::new()));
    let log = logged.clone();
    let first = Native::new("first")
        .on_request(|x| {
            x.headers.insert("x-stamp", HeaderValue::from_static("1"));
            match x.uri.path() {
                "/stop" => Verdict::Respond(Reply {
                    status: StatusCode::IM_A_TEAPOT,
                    headers: HeaderMap::new(),
                    body: Bytes::from_static(b"no"),
                }),
                "/fail" => Verdict::Fail("secret".into()),
                "/dots" => {
                    x.uri = http::Uri::from_static("/x/../a");
                    Verdict::Proceed
                }
                "/bad" => {
                    x.uri = http::Uri::from_static("/%00");
                    Verdict::Proceed
                }
                _ => Verdict::Proceed,
            }
        })
        .select_upstream(|x, selection| {
            assert_eq!(selection.candidates.len(), 1);
            if x.uri.path() == "/b" { Target::Group("b".into()) } else { Target::Default }
        })
        .on_log(move |x| {
            log.lock().unwrap().push({
                let length = x.response_headers.get("x-order").map_or(0, |_| x.response_headers.len());
                format!(
                    "{} {}{}",
                    x.uri.path(),
                    x.status.as_u16(),
                    if length > 0 { " with headers" } else { "" }
                )
            })
        });
    let order = |name: &'static str| {
        Native::new(name).on_response(move |x| {
            x.response_headers.append("x-order", HeaderValue::from_static(name));
            Verdict::Proceed
        })
    };
    let mut route = Route::new("all", Action::Upstream("a".into()));
    route.plugins = vec![Arc::new(first), Arc::new(order("second")), Arc::new(order("third"))];
    let spec = Spec {
        listeners: vec![listener()],
        routes: vec![route],
        upstreams: vec![upstream("a", a), upstream("b", b)],
        ..Spec::default()
    };
    let server = Server::start(Snapshot::assemble(&spec, None, None).unwrap(), 1).unwrap();
    let web = server.addresses()[0].1.unwrap();

    let response = get(web, "/a").await;
    assert!(response.ends_with("\r\n\r\na"), "{response}");
    let order: Vec<_> = response.lines().filter(|line| line.starts_with("x-order")).collect();
    assert_eq!(order, ["x-order: third", "x-order: second"], "responses go in reverse");
    assert!(seen.lock().unwrap()[0].contains("\r\nx-stamp: 1\r\n"));
    assert!(get(web, "/b").await.ends_with("\r\n\r\nb"));
    let stopped = get(web, "/stop").await;
    assert!(stopped.starts_with("HTTP/1.1 418 ") && stopped.ends_with("\r\n\r\nno"), "{stopped}");
    let failed = get(web, "/fail").await;
    assert!(failed.starts_with("HTTP/1.1 502 ") && !failed.contains("secret"), "{failed}");
    assert_eq!(seen.lock().unwrap().len(), 1, "only one request was for a");
    assert!(get(web, "/dots").await.ends_with("\r\n\r\na"));
    assert!(seen.lock().unwrap()[1].starts_with("GET /a HTTP/1.1\r\n"), "as a client's path");
    assert!(get(web, "/bad").await.starts_with("HTTP/1.1 502 "));
    assert_eq!(seen.lock().unwrap().len(), 2);

    assert_eq!(server.drain(Duration::from_secs(10)).await.cut, 0);
    assert_eq!(
        *logged.lock().unwrap(),
        [
            "/a 200 with headers",
            "/b 200 with headers",
            "/stop 418 with headers",
            "/fail 502",
            "/a 200 with headers",
            "/bad 502"
        ]
    );
}
