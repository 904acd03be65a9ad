//! Stopping: what is under way comes to its end, the rest is told, and the exit code says whether anything was cut.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use rustix::process::Signal;
use weir_tests::{PATIENCE, RawClient, RawUpstream, Weir, raw};

use crate::configuration;

/// Exit code of a weir that cut something.
const CUT: i32 = 3;
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An upstream that answers when it is told to.
fn held() -> (RawUpstream, Sender<()>) {
    let (go, wait) = channel();
    let wait = Mutex::new(wait);
    let upstream = RawUpstream::start(move |_, served| {
        while served.request().is_some() {
            if wait.lock().expect("one at a time").recv_timeout(PATIENCE).is_err() {
                return;
            }
            served.send(raw::OK);
        }
    });
    (upstream, go)
}

/// Waits until weir says that it stops, which it does before anything is closed.
fn stopping(weir: &mut Weir, signal: Signal) {
    weir.process().signal(signal);
    weir.process().line("that it stops", |line| line.contains("stopping:").then_some(()));
}

/// Nobody can connect any more. The listeners close some moments after the signal.
fn wait_until_refused(weir: &Weir) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while TcpStream::connect(weir.address("web")).is_ok() {
        assert!(std::time::Instant::now() < deadline, "it still accepts");
        std::thread::yield_now();
    }
}

#[test]
fn request_under_way_is_finished() {
    for signal in [Signal::TERM, Signal::INT] {
        let (upstream, go) = held();
        let mut weir = Weir::start(&configuration("drain = \"10m\"", upstream.address()));
        let mut idle = RawClient::connect(weir.address("web"));
        idle.send(GET);
        upstream.wait_for("GET / ");
        go.send(()).expect("the upstream waits");
        assert_eq!(idle.answer("GET").status, 200);
        let mut busy = RawClient::connect(weir.address("web"));
        busy.send("GET /busy HTTP/1.1\r\nHost: a\r\n\r\n");
        upstream.wait_for("GET /busy ");

        stopping(&mut weir, signal);
        assert!(idle.rest().is_empty(), "an idle connection is closed at once");
        wait_until_refused(&weir);
        go.send(()).expect("the upstream waits");
        let answer = busy.answer("GET");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(busy.rest().is_empty());
        assert_eq!(weir.process().wait().code(), Some(0), "nothing was cut");
    }
}

#[test]
fn request_that_takes_too_long_is_cut() {
    let (upstream, _go) = held();
    let mut weir = Weir::start(&configuration("drain = \"0s\"", upstream.address()));
    let mut client = RawClient::connect(weir.address("web"));
    client.send(GET);
    upstream.wait_for("GET / ");
    assert_eq!(weir.terminate().code(), Some(CUT));
    client.rest();
}

#[test]
fn second_signal_stops_at_once() {
    let (upstream, _go) = held();
    let mut weir = Weir::start(&configuration("drain = \"10m\"", upstream.address()));
    let mut client = RawClient::connect(weir.address("web"));
    client.send(GET);
    upstream.wait_for("GET / ");
    stopping(&mut weir, Signal::TERM);
    weir.process().signal(Signal::TERM);
    assert_eq!(weir.process().wait().code(), Some(CUT));
    client.rest();
}

#[test]
fn websockets_are_told() {
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    let upstream = RawUpstream::start(|_, served| {
        if served.head().is_some() {
            served.send(format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
                 Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
            ));
            served.send(b"\x81\x05hello");
            served.rest();
        }
    });
    let mut weir = Weir::start(&configuration("drain = \"0s\"", upstream.address()));
    let mut client = RawClient::connect(weir.address("web"));
    let answer = client.ask(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(answer.status, 101);
    assert_eq!(client.take(7), b"\x81\x05hello");
    stopping(&mut weir, Signal::TERM);
    // A close frame of a server: not masked, status 1001 and perhaps a reason.
    let frame = client.take(4);
    assert_eq!((frame[0], &frame[2..4]), (0x88, &1001u16.to_be_bytes()[..]), "{frame:?}");
    let reason = usize::from(frame[1]).checked_sub(2).expect("a status");
    client.take(reason);
    // The client answers, as it must, and the connection ends.
    client.send(b"\x88\x82\0\0\0\0\x03\xe9");
    assert!(client.rest().is_empty(), "nothing follows a close frame");
    assert_eq!(weir.process().wait().code(), Some(0), "a client that was told is not cut");
}

/// HTTP/2: a GOAWAY at once, and the stream that is under way is finished.
#[test]
fn http2_is_told_to_go_away() {
    let (upstream, go) = held();
    let mut weir = Weir::start(&configuration("drain = \"10m\"", upstream.address()));
    let mut client = TcpStream::connect(weir.address("web")).expect("weir listens");
    client.set_read_timeout(Some(PATIENCE)).expect("a socket option");
    // The preface, empty SETTINGS, and a GET of / on stream 1 with `:authority: a`.
    let get = [0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").expect("weir reads");
    client.write_all(&[&[0, 0, 6, 1, 5, 0, 0, 0, 1][..], &get].concat()).expect("weir reads");
    upstream.wait_for("GET / ");
    stopping(&mut weir, Signal::TERM);
    let mut told = false;
    let mut ended = false;
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        if client.read_exact(&mut head).is_err() {
            break;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        client.read_exact(&mut payload).expect("a whole frame");
        match (head[3], head[4]) {
            (4, 0) => client.write_all(b"\0\0\0\x04\x01\0\0\0\0").expect("weir reads"),
            (6, 0) => {
                let pong = [&[0, 0, 8, 6, 1, 0, 0, 0, 0][..], &payload].concat();
                client.write_all(&pong).expect("weir reads");
            }
            (7, _) => {
                assert_eq!(&payload[4..8], &[0; 4], "no error");
                if !told {
                    go.send(()).expect("the upstream waits");
                }
                told = true;
            }
            (0, flags) => {
                body.extend_from_slice(&payload);
                ended |= flags & 1 == 1;
            }
            _ => {}
        }
    }
    assert!(told && ended, "told to go away: {told}; answered: {ended}");
    assert_eq!(body, b"ok");
    assert_eq!(weir.process().wait().code(), Some(0));
}
