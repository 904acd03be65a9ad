//! Bodies that take their time: nothing is held back, and nothing is read ahead without bound.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use weir_tests::{PATIENCE, RawClient, RawUpstream, Weir};

use crate::proxy;

/// Each event must reach the client before the upstream sends the next one.
#[test]
fn server_sent_events_are_not_held_back() {
    for more in
        ["", "[[routes]]\nname = \"squeezed\"\npath = \"/events\"\nupstream = \"app\"\ncompression = true"]
    {
        let (seen, next) = channel::<()>();
        let next = Mutex::new(next);
        let upstream = RawUpstream::start(move |_, served| {
            if served.head().is_none() {
                return;
            }
            served.send(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            );
            for n in 0..20 {
                served.send(format!("9\r\ndata: {n:02}\n\r\n"));
                let next = next.lock().expect("one connection");
                next.recv_timeout(PATIENCE).expect("the client sees the event");
            }
            served.send("0\r\n\r\n");
        });
        let (weir, _) = proxy(upstream.address(), more);
        let mut client = RawClient::connect(weir.address("web"));
        client.send("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
        let head = client.take_until("\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        for n in 0..20 {
            client.take_until(&format!("data: {n:02}\n"));
            seen.send(()).expect("the upstream waits");
        }
        client.take_until("0\r\n\r\n");
    }
}

/// Each part of an upload must reach the upstream before the client sends the next one.
#[test]
fn uploads_are_not_held_back() {
    let upstream = RawUpstream::polite();
    let (weir, _) = proxy(upstream.address(), "");
    let mut client = RawClient::connect(weir.address("web"));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for n in 0..20 {
        client.send(format!("7\r\npart {n:02}\r\n"));
        upstream.wait_for(&format!("part {n:02}"));
    }
    assert_eq!(client.send("0\r\n\r\n").answer("POST").status, 200);
}

/// An answer that comes before the upload has ended reaches the client at once.
#[test]
fn early_answers_pass() {
    let upstream = RawUpstream::start(|_, served| {
        if served.head().is_some() {
            served.take(5);
            served.send(
                "HTTP/1.1 422 Unprocessable Content\r\ncontent-length: 5\r\nconnection: close\r\n\r\nearly",
            );
            served.rest();
        }
    });
    let (weir, _) = proxy(upstream.address(), "");
    let mut client = RawClient::connect(weir.address("web"));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nhello");
    let answer = client.answer("POST");
    assert_eq!((answer.status, answer.text().as_str()), (422, "early"));
}

/// What may be on its way at once: two sockets' buffers on each side, and weir's own.
const ON_THE_WAY: usize = 48 << 20;
/// What weir may need for it.
const MEMORY: usize = 24 << 20;
const TOTAL: usize = 256 << 20;

/// Writes until the other side takes no more for a while. The time does not decide whether the test passes: a
/// reader without bound takes everything, however slowly.
fn write_until_stuck(socket: &mut TcpStream, limit: usize) -> usize {
    let block = vec![7; 256 << 10];
    socket.set_write_timeout(Some(Duration::from_secs(2))).expect("a socket option");
    let mut written = 0;
    while written < limit {
        match socket.write(&block[..block.len().min(limit - written)]) {
            Ok(n) => written += n,
            Err(_) => break,
        }
    }
    socket.set_write_timeout(Some(PATIENCE)).expect("a socket option");
    written
}

/// The most memory that weir has held so far.
fn peak(weir: &mut Weir) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", weir.process().id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

#[test]
fn slow_client_holds_the_upstream_back() {
    for (listener, upgraded) in [("web", false), ("tls", false), ("web", true)] {
        let listening = TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 can be bound");
        let (mut weir, authority) = proxy(listening.local_addr().expect("an address"), "");
        let before = peak(&mut weir);
        let mut client = match listener {
            "tls" => {
                let config = authority.client_config(&["http/1.1"]);
                RawClient::connect_tls(weir.address("tls"), config, "localhost").expect("a handshake")
            }
            _ => RawClient::connect(weir.address("web")),
        };
        let (request, head) = if upgraded {
            let accept = crate::websocket::ACCEPT;
            let fields =
                format!("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}");
            (
                crate::websocket::handshake("/"),
                format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n"),
            )
        } else {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {TOTAL}\r\n\r\n");
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), head)
        };
        client.send(request);
        let (mut upstream, _) = listening.accept().expect("weir connects");
        upstream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        read_head(&mut upstream);
        upstream.write_all(head.as_bytes()).expect("weir reads");
        client.take_until("\r\n\r\n");
        let stuck = write_until_stuck(&mut upstream, TOTAL);
        assert!(stuck < ON_THE_WAY, "{listener}: {stuck} bytes were taken for a client that does not read");
        let grown = peak(&mut weir) - before;
        assert!(grown < MEMORY, "{listener}: weir grew by {grown} bytes");

        // When the client reads, the rest flows, whole.
        let writer = thread::spawn(move || {
            let block = vec![7; 256 << 10];
            let mut left = TOTAL - stuck;
            while left > 0 {
                left -= upstream.write(&block[..block.len().min(left)]).expect("weir reads");
            }
            upstream
        });
        let mut left = TOTAL;
        while left > 0 {
            left -= client.take(left.min(1 << 20)).len();
        }
        drop(writer.join().expect("all was written"));
    }
}

#[test]
fn slow_upstream_holds_the_client_back() {
    let listening = TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 can be bound");
    let (mut weir, _) = proxy(listening.local_addr().expect("an address"), "");
    let before = peak(&mut weir);
    let mut client = TcpStream::connect(weir.address("web")).expect("weir listens");
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {TOTAL}\r\n\r\n");
    client.write_all(head.as_bytes()).expect("weir reads");
    let (mut upstream, _) = listening.accept().expect("weir connects");
    upstream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let stuck = write_until_stuck(&mut client, TOTAL);
    assert!(stuck < ON_THE_WAY, "{stuck} bytes were taken for an upstream that does not read");
    let grown = peak(&mut weir) - before;
    assert!(grown < MEMORY, "weir grew by {grown} bytes");

    let mut writer = client.try_clone().expect("a socket can be cloned");
    let writing = thread::spawn(move || {
        let block = vec![7; 256 << 10];
        let mut left = TOTAL - stuck;
        while left > 0 {
            left -= writer.write(&block[..block.len().min(left)]).expect("weir reads");
        }
    });
    read_head(&mut upstream);
    let mut buffer = vec![0; 256 << 10];
    let mut left = TOTAL;
    while left > 0 {
        let n = upstream.read(&mut buffer).expect("weir writes");
        assert!(n > 0 && buffer[..n].iter().all(|&byte| byte == 7), "{left} left");
        left -= n;
    }
    upstream.write_all(weir_tests::raw::OK.as_bytes()).expect("weir reads");
    writing.join().expect("all was written");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    let mut status = [0; 12];
    client.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 200");
}

/// Reads up to the end of a head, byte by byte.
fn read_head(socket: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
}
