//! What the two processes say to each other, between two threads.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;

use weir_core::server::Passed;
use weir_core::spec::ListenAddress;

use super::wire::{self, Word};

fn tcp(name: &str, sockets: usize) -> Passed {
    let first = TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = ListenAddress::Tcp(first.local_addr().expect("an address"));
    let sockets = (0..sockets).map(|_| first.try_clone().expect("a copy").into()).collect();
    Passed { listener: name.into(), place, sockets, file: None }
}

#[test]
fn sockets_arrive_with_their_places_however_many_there_are() {
    let (here, there) = UnixStream::pair().expect("a pair");
    let unix = ListenAddress::Unix { path: "/run/weir.sock".into(), mode: 0o640 };
    let named = |place| Passed { place, file: Some((7, 1 << 60)), ..tcp("other", 1) };
    // More than go with one message.
    let sent =
        [tcp("many", 300), named(unix), named(ListenAddress::Inherited("web".into())), tcp("more", 253)];
    let received = std::thread::scope(|scope| {
        scope.spawn(|| wire::send(&here, &sent).expect("it is read"));
        wire::receive(&there).expect("it comes")
    });
    assert_eq!(received.len(), sent.len());
    for (got, sent) in received.iter().zip(&sent) {
        assert_eq!((&got.listener, &got.place, got.file), (&sent.listener, &sent.place, sent.file));
        assert_eq!(got.sockets.len(), sent.sockets.len());
        let address = |passed: &Passed| {
            let last = passed.sockets.last().expect("one at least").try_clone().expect("a copy");
            TcpListener::from(last).local_addr().expect("an address")
        };
        assert_eq!(address(got), address(sent));
    }
}

#[test]
fn what_is_not_whole_is_an_error() {
    for text in ["", "{", "{}\n", "{\"listeners\":[]}", "{\"listeners\":[{\"name\":1}]}\n", "\n"] {
        let (mut here, there) = UnixStream::pair().expect("a pair");
        here.write_all(text.as_bytes()).expect("there is room");
        drop(here);
        assert!(wire::receive(&there).is_err(), "{text:?}");
    }
    // Announced, and then gone.
    let (mut here, there) = UnixStream::pair().expect("a pair");
    let announced =
        br#"{"listeners":[{"name":"a","place":{"tcp":"127.0.0.1:1"},"sockets":1,"file":null}],"new":1}"#;
    here.write_all(&[announced, &b"\n\n"[..]].concat()).expect("there is room");
    drop(here);
    assert_eq!(wire::receive(&there).expect_err("no socket").kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn words_are_lines() {
    let words = [Word::Ready, Word::Failed(vec!["a\nb".to_owned()]), Word::Go, Word::Settled];
    let text: String = words.iter().map(Word::line).collect();
    assert_eq!(text.lines().count(), words.len());
    let mut from = text.as_bytes();
    for word in words {
        assert_eq!(Word::read(&mut from).expect("a word"), word);
    }
    assert!(Word::read(&mut from).is_err(), "the end");
}
