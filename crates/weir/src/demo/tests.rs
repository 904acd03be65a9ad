use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

use super::*;

const LONG: Duration = Duration::from_secs(30);

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { timeout(LONG, test).await.expect("in time") });
}

/// Sends a request with `Connection: close` and returns the whole answer.
async fn ask(address: SocketAddr, request_line: &str, headers: &str, body: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.expect("it listens");
    let head = format!("{request_line} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n{headers}\r\n");
    socket.write_all(head.as_bytes()).await.expect("it reads");
    socket.write_all(body).await.expect("it reads");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.expect("it answers");
    String::from_utf8(answer).expect("text")
}

fn split(answer: &str) -> (&str, &str) {
    answer.split_once("\r\n\r\n").expect("a head and a body")
}

#[test]
fn every_path_answers() {
    let address = start().expect("it starts");
    block_on(async {
        for (request, status, contains) in [
            ("GET /", 200, "<title>weir works</title>"),
            ("POST /", 405, "GET, HEAD"),
            ("GET /echo?a=b", 200, "GET /echo?a=b HTTP/1.1\nhost: demo\n"),
            ("GET /nothing", 404, "nothing at /nothing"),
            ("GET /status/503", 503, "503 Service Unavailable"),
            ("GET /status/204", 204, ""),
            ("GET /status/100", 400, "from 200"),
            ("GET /status/x", 400, "from 200"),
            ("GET /delay/1", 200, "waited 1 ms"),
            ("GET /delay/60001", 400, "up to 60000"),
            ("GET /download?size=20", 200, "0123456789abcdef0123"),
            ("GET /download?size=2KB", 400, "64KiB"),
            ("GET /download?size=99999999999GiB", 400, "64KiB"),
            ("GET /events?count=2&every_ms=1", 200, "data: event 2 of"),
            ("GET /upload", 405, "POST, PUT"),
            ("GET /ws", 426, "upgrade: websocket"),
        ] {
            let answer = ask(address, request, "", b"").await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
            assert!(answer.contains(contains), "{request}: {answer}");
        }
    });
}

#[test]
fn echo_shows_the_request_as_json() {
    let address = start().expect("it starts");
    block_on(async {
        let headers = "accept: application/json\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: 5\r\n";
        let answer = ask(address, "POST /echo/x", headers, b"hello").await;
        let (head, body) = split(&answer);
        assert!(head.contains("content-type: application/json"), "{head}");
        let json: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(json["method"], "POST");
        assert_eq!(json["target"], "/echo/x");
        assert_eq!(json["headers"]["x-a"], serde_json::json!(["1", "2"]));
        assert_eq!(json["body"], "hello");
    });
}

#[test]
fn large_bodies_are_streamed_and_counted() {
    let address = start().expect("it starts");
    block_on(async {
        let answer = ask(address, "GET /download?size=3MiB", "", b"").await;
        let (head, body) = split(&answer);
        assert!(head.contains("content-length: 3145728"), "{head}");
        assert_eq!(body.len(), 3 << 20);
        let answer = ask(address, "PUT /upload", "content-length: 300000\r\n", &[b'x'; 300_000]).await;
        assert_eq!(split(&answer).1, "{\"bytes\":300000}\n");
        let answer = ask(address, "POST /echo", "content-length: 65537\r\n", &[b'x'; 65_537]).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    });
}

#[test]
fn websocket_messages_come_back() {
    let address = start().expect("it starts");
    block_on(async {
        let mut socket = TcpStream::connect(address).await.expect("it listens");
        let request = "GET /ws HTTP/1.1\r\nhost: demo\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            sec-websocket-protocol: chat, superchat\r\n\r\n";
        socket.write_all(request.as_bytes()).await.expect("it reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.expect("it answers"));
        }
        let head = String::from_utf8(head).expect("text");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // RFC 6455, section 1.3.
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        assert!(head.contains("sec-websocket-protocol: chat\r\n"), "{head}");
        let mut socket =
            tokio_tungstenite::WebSocketStream::from_raw_socket(socket, Role::Client, None).await;
        for message in [Message::text("hello"), Message::binary(vec![7; 200_000])] {
            socket.send(message.clone()).await.expect("it reads");
            assert_eq!(socket.next().await.expect("an echo").expect("a message"), message);
        }
        socket.close(None).await.expect("it closes");
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    });
}
