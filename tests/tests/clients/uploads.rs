//! Uploads that the answer overtakes while the kernel moves them.

use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use socket2::{Domain, Socket, Type};
use weir_tests::{PATIENCE, RawClient, RawUpstream, raw};

use crate::proxy;

/// Long enough to be moved through a pipe, short enough that weir would rather skip what is left of it than close.
const BODY: usize = 200 << 10;
/// More than the upstream's side takes before it is full, less than weir's side does.
const ON_ITS_WAY: usize = 64 << 10;

/// A listener whose connections take some 30 KiB from weir that nobody reads, and no more: small segments keep the
/// sender's buffer small too.
fn narrow() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(2048).expect("a socket option");
    socket.set_tcp_mss(536).expect("a socket option");
    socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("127.0.0.1 can be bound");
    socket.listen(16).expect("a bound socket can listen");
    socket.into()
}

/// Bytes that were written to a socket and have not reached the other side's kernel.
fn unsent(socket: &TcpStream) -> usize {
    let port = format!(":{:04X}", socket.local_addr().expect("an address").port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux tells its connections");
    let queue = table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next()?;
        let queues = words.nth(2)?;
        local.ends_with(&port).then(|| queues.split_once(':'))?
    });
    queue.map_or(0, |(sending, _)| usize::from_str_radix(sending, 16).expect("a number"))
}

/// The upstream answers while part of the body is in weir's pipe: gone from the client's socket and not with the
/// upstream. Where the next request begins is not known any more, so the connection must end with the answer. Were the
/// length that is left taken for what is left on the socket, weir would go on reading in the middle of a later
/// request.
#[test]
fn answer_that_overtakes_a_spliced_upload_ends_the_connection() {
    for (answer, status) in [
        ("HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n", 413),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("HTTP/1.1 422 Unprocessable Content\r\ncontent-length: 5\r\n\r\nearly", 422),
        ("no HTTP at all\r\n\r\n", 502),
    ] {
        let (go, wait) = channel();
        let wait = Mutex::new(wait);
        let upstream = RawUpstream::start_on(narrow(), move |index, served| {
            if index > 0 {
                // What must not come.
                while served.request().is_some() {
                    served.send(raw::OK);
                }
                return;
            }
            served.head();
            let told = wait.lock().expect("one at a time").recv_timeout(PATIENCE);
            if told.is_ok() {
                served.send(answer);
                // Nothing more is read from it, and it is not closed before weir does that.
                let _ = wait.lock().expect("one at a time").recv_timeout(PATIENCE);
            }
        });
        let (weir, _) = proxy(upstream.address(), "");
        let mut client = RawClient::connect(weir.address("web"));
        client.send(format!("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY}\r\n\r\n"));
        upstream.wait_for("POST /upload ");

        let mut socket = client.socket().try_clone().expect("a socket can be cloned");
        let written = Arc::new(AtomicUsize::new(0));
        let counter = written.clone();
        let writer = std::thread::spawn(move || {
            let mut bytes = b"GET /body HTTP/1.1\r\nHost: a\r\n\r\n".repeat(BODY / 31 + 1);
            bytes.truncate(BODY);
            // Requests enough to skip as much again as the body was long.
            bytes.extend(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2 * BODY / 31));
            for piece in bytes.chunks(4 << 10) {
                if socket.write_all(piece).is_err() {
                    // That weir closes before all of it was sent is the point.
                    break;
                }
                counter.fetch_add(piece.len(), Ordering::SeqCst);
            }
        });
        // So much is with weir that the upstream's side must be full, whatever else weir has done by now: when the
        // answer has come, what weir does before it reads it is to move all that it can.
        let deadline = Instant::now() + PATIENCE;
        while written.load(Ordering::SeqCst) < ON_ITS_WAY + unsent(client.socket()) {
            assert!(Instant::now() < deadline, "weir takes no more than {written:?}");
            std::thread::yield_now();
        }
        go.send(()).expect("the upstream waits");

        let got = client.answer("POST");
        assert_eq!(got.status, status, "{answer:?}");
        let rest = client.rest();
        assert!(rest.is_empty(), "{answer:?}: and then {:?}", String::from_utf8_lossy(&rest));
        assert_eq!(got.header("connection"), Some("close"), "{answer:?}");
        let _ = client.socket().shutdown(Shutdown::Both);
        writer.join().expect("the writer ends");
        drop(go);
        let brought = upstream.ended();
        assert_eq!(brought.len(), 1, "{answer:?}: another request was made of the rest");
    }
}
