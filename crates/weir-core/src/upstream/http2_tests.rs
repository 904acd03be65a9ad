use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;
use crate::net::LocalExecutor;
use crate::net::deadline::Coarse;
use crate::spec::Protocol;
use crate::upstream::Lease;
use crate::upstream::pool::tests::{Client, listen, on_worker};

impl Client {
    async fn sender(&self) -> Result<Http2Sender, Error> {
        match self.lease(false).await? {
            Lease::Http2(sender) => Ok(sender),
            Lease::Http1 { .. } => panic!("not HTTP/2"),
        }
    }

    async fn get(&self) -> Result<Response<Body>, Http2Error> {
        let mut sender = self.sender().await.expect("a connection");
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("example.com"));
        sender.send(Method::GET, Uri::from_static("/"), headers, None).await
    }
}

/// Answers with what it was sent, trailers included. Counts its connections.
async fn echo(listener: TcpListener, accepted: Rc<Cell<usize>>, max_streams: u32) {
    while let Ok((socket, _)) = listener.accept().await {
        accepted.set(accepted.get() + 1);
        let service = service_fn(|request: Request<Incoming>| async {
            let seen = format!("{} {} {:?}", request.method(), request.uri(), request.headers().get("host"));
            Response::builder().header("seen", seen).body(request.into_body())
        });
        let mut builder = server::Builder::new(LocalExecutor);
        builder.max_concurrent_streams(max_streams);
        tokio::task::spawn_local(builder.serve_connection(TokioIo::new(socket), service));
    }
}

/// Echoes on a port of its own.
async fn echo_server(max_streams: u32) -> (Client, Rc<Cell<usize>>) {
    let (listener, address) = listen().await;
    let accepted = Rc::new(Cell::new(0));
    tokio::task::spawn_local(echo(listener, accepted.clone(), max_streams));
    (Client::new(address, Protocol::Http2, None), accepted)
}

fn frames(data: &'static str, trailer: &'static str) -> Body {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(trailer));
    let frames = [Ok(Frame::data(Bytes::from_static(data.as_bytes()))), Ok(Frame::trailers(trailers))];
    Body::stream(StreamBody::new(futures_util::stream::iter(frames)))
}

#[test]
fn a_request_goes_round_with_body_and_trailers() {
    on_worker(async {
        let (client, _) = echo_server(100).await;
        let mut sender = client.sender().await.expect("a connection");
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("example.com:81"));
        let sent = sender
            .send(Method::POST, Uri::from_static("/a?b=c"), headers, Upload::new(frames("hello", "0")))
            .await;
        let response = sent.expect("a response");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["seen"], "POST http://example.com:81/a?b=c None");
        let body = response.into_body().collect().await.expect("a whole body");
        assert_eq!(body.trailers().map(|t| t["grpc-status"].clone()), Some(HeaderValue::from_static("0")));
        assert_eq!(body.to_bytes(), "hello");
    });
}

#[test]
fn all_who_come_at_once_share_one_connection() {
    on_worker(async {
        let (client, accepted) = echo_server(100).await;
        let responses = join_all((0..50).map(|_| client.get())).await;
        assert!(responses.iter().all(|r| r.as_ref().is_ok_and(|r| r.status() == StatusCode::OK)));
        assert_eq!(accepted.get(), 1);
    });
}

#[test]
fn a_stream_too_many_goes_on_a_new_connection_and_a_place_is_used_again() {
    on_worker(async {
        let (client, accepted) = echo_server(1).await;
        // A request body that does not end keeps the response from ending.
        let (_open, body) = watch::channel(());
        let endless = futures_util::stream::once(async move {
            let mut body = body;
            let _ = body.changed().await;
            Ok(Frame::data(Bytes::new()))
        });
        let mut sender = client.sender().await.expect("a connection");
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("example.com"));
        let body = Body::stream(StreamBody::new(endless));
        let held = sender
            .send(Method::POST, Uri::from_static("/"), headers, Upload::new(body))
            .await
            .expect("a response");
        drop(sender);
        drop(client.get().await.expect("a response"));
        assert_eq!(accepted.get(), 2);
        drop(held);
        drop(client.get().await.expect("a response"));
        drop(client.get().await.expect("a response"));
        assert_eq!(accepted.get(), 2);
    });
}

#[test]
fn an_idle_connection_is_swept_away_by_time() {
    on_worker(async {
        let (client, accepted) = echo_server(100).await;
        let response = client.get().await.expect("a response");
        drop(response);
        client.worker.pools.sweep(Instant::now() + Duration::from_secs(59), Coarse::now());
        drop(client.get().await.expect("a response"));
        assert_eq!(accepted.get(), 1);
        client.worker.pools.sweep(Instant::now() + Duration::from_secs(61), Coarse::now());
        assert!(client.worker.pools.is_empty());
        drop(client.get().await.expect("a response"));
        assert_eq!(accepted.get(), 2);
    });
}

#[test]
fn a_refused_connection_fails_all_who_wait_for_it() {
    on_worker(async {
        let (listener, address) = listen().await;
        drop(listener);
        let client = Client::new(address, Protocol::Http2, None);
        for failed in join_all((0..3).map(|_| client.sender())).await {
            assert_eq!(failed.err().map(|e| e.kind()), Some(Kind::Connect));
        }
        assert!(!client.group.endpoints[0].is_available());
    });
}

/// What the scripted upstream does with each request.
#[derive(Clone, Copy)]
enum Does {
    Refuse,
    Reset,
    /// Says GOAWAY, then begins an answer that it does not end.
    GoAway,
    Vanish,
}

async fn scripted(listener: TcpListener, does: Does, accepted: Rc<Cell<usize>>) {
    while let Ok((socket, _)) = listener.accept().await {
        accepted.set(accepted.get() + 1);
        tokio::task::spawn_local(async move {
            let mut connection = h2::server::handshake(socket).await.expect("a handshake");
            let mut open = Vec::new();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                match does {
                    Does::Refuse => respond.send_reset(h2::Reason::REFUSED_STREAM),
                    Does::Reset => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                    Does::GoAway => {
                        connection.graceful_shutdown();
                        open.push(respond.send_response(Response::new(()), false));
                    }
                    Does::Vanish => return,
                }
            }
        });
    }
}

/// Two requests, one after the other: whether each is known to be unprocessed, and the connections they took.
fn two_requests(does: Does) -> ([Option<bool>; 2], usize) {
    let result = Rc::new(Cell::new(None));
    let told = result.clone();
    on_worker(async move {
        let (listener, address) = listen().await;
        let accepted = Rc::new(Cell::new(0));
        tokio::task::spawn_local(scripted(listener, does, accepted.clone()));
        let client = Client::new(address, Protocol::Http2, None);
        let first = client.get().await;
        let second = client.get().await;
        let unprocessed = [&first, &second].map(|r| r.as_ref().err().map(|e| e.unprocessed));
        told.set(Some((unprocessed, accepted.get())));
    });
    result.take().expect("a result")
}

#[test]
fn a_refused_stream_was_not_processed_and_the_next_takes_another_connection() {
    assert_eq!(two_requests(Does::Refuse), ([Some(true), Some(true)], 2));
}

#[test]
fn a_reset_stream_may_have_been_processed_and_leaves_the_connection() {
    assert_eq!(two_requests(Does::Reset), ([Some(false), Some(false)], 1));
}

#[test]
fn after_goaway_a_request_was_not_processed() {
    assert_eq!(two_requests(Does::GoAway), ([None, Some(true)], 1));
}

#[test]
fn a_closed_connection_leaves_it_open_and_is_not_used_again() {
    assert_eq!(two_requests(Does::Vanish), ([Some(false), Some(false)], 2));
}

#[test]
fn a_request_without_an_authority_is_not_sent() {
    let none = absolute(Uri::from_static("/a"), &Scheme::HTTP, &mut HeaderMap::new());
    assert!(none.is_err_and(|e| e.unprocessed && e.error.kind() == Kind::BadRequest));
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("a.example"));
    let uri = absolute(Uri::from_static("https://b.example/c"), &Scheme::HTTP, &mut headers).expect("a URI");
    assert_eq!(uri, "http://b.example/c");
    assert!(headers.is_empty());
    headers.insert("host", HeaderValue::from_static("a.example"));
    let uri = absolute(Uri::from_static("*"), &Scheme::HTTPS, &mut headers).expect("a URI");
    assert_eq!(uri.path(), "*");
}
