//! WebSockets whose frames are read: what plugins make of them, and how they end.

mod bounds;
mod deflate;
mod late;
mod others;

use std::collections::HashMap;

use bytes::Bytes;
use weir_plugin::native::Native;
use weir_plugin::websocket::Opcode as PluginOpcode;
use weir_plugin::websocket::{CloseReason, Closed, ClosedBy, Direction, Frame, FrameVerdict, Watch};
use weir_plugin::{OnFailure, Policy};

use super::*;
use crate::relay::RelayFilter;
use crate::spec::{Action, Deflate, Frames, Route, WebSocket};
use crate::ws::deflate::{Bound, Deflater, Inflater};
use crate::ws::frame::{Head, Opcode};
use crate::ws::{close, mask};

/// One side of a WebSocket.
struct Peer {
    stream: TcpStream,
    /// A client masks what it sends.
    client: bool,
    /// Fields of the other side's handshake, lower case.
    fields: HashMap<String, String>,
}

/// A frame as it is on the wire, but for its mask.
#[derive(Debug, PartialEq, Eq)]
struct Wire {
    opcode: Opcode,
    fin: bool,
    compressed: bool,
    payload: Vec<u8>,
}

fn wire(opcode: Opcode, payload: &str) -> Wire {
    Wire { opcode, fin: true, compressed: false, payload: payload.into() }
}

fn text(payload: &str) -> Wire {
    wire(Opcode::Text, payload)
}

fn piece(opcode: Opcode, fin: bool, payload: &str) -> Wire {
    Wire { fin, ..wire(opcode, payload) }
}

fn closing(code: u16, reason: &str) -> Wire {
    let payload = close::encode(code, reason);
    Wire { opcode: Opcode::Close, fin: true, compressed: false, payload }
}

impl Peer {
    fn send(&mut self, frame: &Wire) {
        self.send_raw(&self.encoded(frame));
    }

    fn encoded(&self, frame: &Wire) -> Vec<u8> {
        let key = self.client.then_some([1, 2, 3, 4]);
        let length = frame.payload.len() as u64;
        let head = Head::new(frame.fin, frame.compressed, frame.opcode, key, length);
        let mut bytes = head.encode().bytes().to_vec();
        let from = bytes.len();
        bytes.extend_from_slice(&frame.payload);
        if let Some(key) = key {
            mask::apply(&mut bytes[from..], key, 0);
        }
        bytes
    }

    fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next frame; `None` at the end.
    fn next(&mut self) -> Option<Wire> {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(head) = Head::parse(&bytes).unwrap() {
                break head;
            }
            let mut one = [0];
            match self.stream.read(&mut one) {
                Ok(1) => bytes.push(one[0]),
                _ if bytes.is_empty() => return None,
                other => panic!("{other:?} within a header"),
            }
        };
        assert_eq!(head.mask.is_some(), !self.client, "a mask is for what goes to the server");
        let mut payload = vec![0; head.length as usize];
        self.stream.read_exact(&mut payload).unwrap();
        if let Some(key) = head.mask {
            mask::apply(&mut payload, key, 0);
        }
        let Head { fin, compressed, opcode, .. } = head;
        Some(Wire { opcode, fin, compressed, payload })
    }

    #[track_caller]
    fn expect(&mut self, frame: &Wire) {
        assert_eq!(self.next().as_ref(), Some(frame));
    }
}

fn head_of(stream: &mut TcpStream) -> (String, HashMap<String, String>) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        stream.read_exact(&mut one).unwrap();
        bytes.push(one[0]);
    }
    let text = String::from_utf8(bytes).unwrap();
    let mut lines = text.lines();
    let first = lines.next().unwrap().to_owned();
    let fields = lines.filter_map(|line| line.split_once(": "));
    (first, fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect())
}

/// An upstream that takes each WebSocket, with these extensions.
fn agreeing(extension: Arc<Mutex<Option<String>>>) -> (SocketAddr, Receiver<Peer>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, upstreams) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (_, fields) = head_of(&mut stream);
            let accept = crate::exchange::accept_of(&fields["sec-websocket-key"].parse().unwrap());
            let more = extension.lock().unwrap().clone();
            let more = more.map(|more| format!("Sec-WebSocket-Extensions: {more}\r\n")).unwrap_or_default();
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            let _ = tell.send(Peer { stream, client: false, fields });
        }
    });
    (address, upstreams)
}

/// A server with one route, to an upstream whose side of each WebSocket is the test's.
struct Talking {
    running: Running,
    upstreams: Receiver<Peer>,
    spec: Spec,
    extension: Arc<Mutex<Option<String>>>,
}

impl Talking {
    fn new(plugins: Vec<Native>, change: impl FnOnce(&mut Route)) -> Self {
        Self::on(1, plugins, change)
    }

    /// The same, on so many workers.
    fn on(workers: usize, plugins: Vec<Native>, change: impl FnOnce(&mut Route)) -> Self {
        let extension: Arc<Mutex<Option<String>>> = Arc::default();
        let (address, upstreams) = agreeing(extension.clone());
        let spec = Self::spec(plugins, change, address);
        Talking { running: Running::new(&spec, workers), upstreams, spec, extension }
    }

    /// One route, to an upstream with this address.
    fn spec(plugins: Vec<Native>, change: impl FnOnce(&mut Route), address: SocketAddr) -> Spec {
        let mut route = Route::new("talk", Action::Upstream("talk".into()));
        route.plugins = plugins.into_iter().map(|plugin| Arc::new(plugin) as Arc<_>).collect();
        change(&mut route);
        let mut main = super::listener("main", loopback());
        main.serve = Serve::Http;
        Spec {
            listeners: vec![main],
            routes: vec![route],
            upstreams: vec![upstream("talk", &[address])],
            ..Spec::default()
        }
    }

    fn with(plugin: Native) -> Self {
        Talking::new(vec![plugin], |_| ())
    }

    /// Both ends of a WebSocket.
    fn open(&self, extensions: Option<&str>) -> (Peer, Peer) {
        let more = extensions.map(|more| format!("Sec-WebSocket-Extensions: {more}\r\n")).unwrap_or_default();
        let client = self.client(&more, &[]);
        (client, self.upstreams.recv_timeout(LONG).unwrap())
    }

    /// A client that was answered, with more fields, and bytes behind its handshake.
    fn client(&self, more: &str, behind: &[u8]) -> Peer {
        let mut stream = self.running.connect();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
        );
        stream.write_all(&[head.as_bytes(), behind].concat()).unwrap();
        let (first, fields) = head_of(&mut stream);
        assert!(first.starts_with("HTTP/1.1 101"), "{first}");
        Peer { stream, client: true, fields }
    }

    fn publisher(&self) -> Publisher {
        self.running.server.as_ref().unwrap().publisher()
    }
}

/// A plugin that sees messages of either way.
fn on_message(hook: impl Fn(&Frame) -> FrameVerdict + Send + Sync + 'static) -> Native {
    Native::new("sees").on_message(move |message, _| hook(message))
}

/// What a hook was shown.
type Shown = (Direction, String, u64, bool);

fn told() -> (Sender<Shown>, Receiver<Shown>) {
    channel()
}

fn shown(frame: &Frame) -> Shown {
    let data = String::from_utf8_lossy(&frame.data).into_owned();
    (frame.direction, data, frame.sequence, frame.first && frame.last)
}

#[test]
fn messages_are_forwarded_replaced_and_dropped() {
    let server = Talking::with(on_message(|message| match &*message.data {
        b"replace" => FrameVerdict::Replace("replaced".into()),
        b"drop" => FrameVerdict::Drop,
        _ => FrameVerdict::Forward,
    }));
    let (mut client, mut upstream) = server.open(None);
    for (from, to) in [(true, false), (false, true)] {
        let (from, to) =
            if from && !to { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        for (sent, got) in [("a", Some("a")), ("drop", None), ("replace", Some("replaced")), ("b", Some("b"))]
        {
            from.send(&text(sent));
            if let Some(got) = got {
                to.expect(&text(got));
            }
        }
    }
    client.send(&closing(1000, "done"));
    upstream.expect(&closing(1000, "done"));
    upstream.send(&closing(1000, "done"));
    client.expect(&closing(1000, "done"));
    assert!(client.next().is_none() && upstream.next().is_none());
    assert_eq!(server.running.seen().reason, None);
}

#[test]
fn a_message_is_put_together_and_keeps_its_pieces() {
    let (tell, seen) = told();
    let server = Talking::with(on_message(move |message| {
        tell.send(shown(message)).unwrap();
        if message.data.ends_with(b"!") { FrameVerdict::Replace("one".into()) } else { FrameVerdict::Forward }
    }));
    let (mut client, mut upstream) = server.open(None);
    // In the middle of a character.
    let pieces = [
        Wire { payload: vec![b'a', 0xc3], ..piece(Opcode::Text, false, "") },
        Wire { payload: vec![0xa4], ..piece(Opcode::Continuation, false, "") },
        piece(Opcode::Continuation, true, "b"),
    ];
    client.send(&pieces[0]);
    client.send(&wire(Opcode::Ping, "now"));
    upstream.expect(&wire(Opcode::Ping, "now"));
    client.send(&pieces[1]);
    client.send(&pieces[2]);
    pieces.iter().for_each(|piece| upstream.expect(piece));
    client.send(&piece(Opcode::Text, false, "two"));
    client.send(&piece(Opcode::Continuation, true, "!"));
    upstream.expect(&text("one"));
    let up = Direction::ToUpstream;
    assert_eq!(seen.recv().unwrap(), (up, "aäb".to_owned(), 1, true));
    assert_eq!(seen.recv().unwrap(), (up, "two!".to_owned(), 2, true));
}

#[test]
fn frames_are_seen_as_they_come() {
    let (tell, seen) = told();
    let plugin = Native::new("sees").on_frame(move |frame, _| {
        tell.send(shown(frame)).unwrap();
        match &*frame.data {
            b"drop" => FrameVerdict::Drop,
            b"replace" => FrameVerdict::Replace("replaced".into()),
            _ => FrameVerdict::Forward,
        }
    });
    let server = Talking::with(plugin);
    let (mut client, mut upstream) = server.open(None);
    let more = Opcode::Continuation;
    // A first piece and a last piece that do not go on: the others are still a message.
    for frame in [
        piece(Opcode::Text, false, "drop"),
        piece(more, false, "a"),
        wire(Opcode::Pong, "pong"),
        piece(more, false, "replace"),
        piece(more, true, "drop"),
        text("b"),
    ] {
        client.send(&frame);
    }
    upstream.expect(&piece(Opcode::Text, false, "a"));
    upstream.expect(&wire(Opcode::Pong, "pong"));
    upstream.expect(&piece(more, false, "replaced"));
    upstream.expect(&piece(more, true, ""));
    upstream.expect(&text("b"));
    let numbers: Vec<u64> = seen.iter().take(6).map(|(_, _, sequence, _)| sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_plugin_sends_and_closes() {
    let plugin = Native::new("sends")
        .on_websocket(|_, ws, has| {
            ws.relay.send(Direction::ToClient, PluginOpcode::Text, "hello".into()).unwrap();
            has
        })
        .on_message(|message, ws| match &*message.data {
            b"both" => {
                for to in [Direction::ToUpstream, Direction::ToClient] {
                    ws.relay.send(to, PluginOpcode::Binary, "sent".into()).unwrap();
                }
                FrameVerdict::Forward
            }
            b"close" => FrameVerdict::Close(CloseReason::new(4001, "enough").unwrap()),
            _ => FrameVerdict::Forward,
        });
    let server = Talking::with(plugin);
    let (mut client, mut upstream) = server.open(None);
    client.expect(&text("hello"));
    client.send(&text("both"));
    // What a hook sends itself goes first.
    upstream.expect(&wire(Opcode::Binary, "sent"));
    upstream.expect(&text("both"));
    client.expect(&wire(Opcode::Binary, "sent"));
    upstream.send(&text("close"));
    client.expect(&closing(4001, "enough"));
    upstream.expect(&closing(4001, "enough"));
    client.send(&closing(4001, ""));
    upstream.send(&closing(4001, ""));
    assert!(client.next().is_none() && upstream.next().is_none());
}

#[test]
fn hooks_are_told_how_it_ended() {
    let (tell, ended) = channel();
    let plugin = Native::new("ends").on_close(move |closed, _| tell.send(closed.clone()).unwrap());
    let server = Talking::with(plugin);
    let by = |code, reason: &str, by| Closed { code, reason: reason.into(), by };

    let (mut client, upstream) = server.open(None);
    upstream.leave_first(&mut client, 1001);
    assert_eq!(ended.recv().unwrap(), by(Some(1001), "", ClosedBy::Upstream));

    let (mut client, mut upstream) = server.open(None);
    client.send(&Wire { payload: Vec::new(), ..closing(1000, "") });
    assert_eq!(upstream.next().unwrap().payload, b"");
    drop(upstream);
    assert_eq!(client.next().unwrap().opcode, Opcode::Close);
    assert_eq!(ended.recv().unwrap(), by(None, "", ClosedBy::Client));

    let (client, mut upstream) = server.open(None);
    drop(client);
    assert!(upstream.next().is_none());
    assert_eq!(ended.recv().unwrap(), by(None, "", ClosedBy::Nobody));

    let (mut client, mut upstream) = server.open(None);
    client.send_raw(&[0x81, 0x01, b'a']);
    client.expect(&closing(1002, "frame of a client without a mask"));
    upstream.expect(&closing(1001, ""));
    drop((client, upstream));
    let closed = ended.recv().unwrap();
    assert_eq!((closed.code, closed.by), (Some(1002), ClosedBy::Weir));
}

impl Peer {
    /// Closes first, with the other side answering.
    #[track_caller]
    fn leave_first(mut self, other: &mut Peer, code: u16) {
        self.send(&closing(code, ""));
        other.expect(&closing(code, ""));
        other.send(&closing(code, ""));
        self.expect(&closing(code, ""));
        assert!(self.next().is_none() && other.next().is_none());
    }
}

#[test]
fn more_than_fits_at_once_goes_on_to_its_end() {
    let plugin = on_message(|message| FrameVerdict::Replace(message.data.repeat(1000).into()));
    let server = Talking::with(plugin);
    let (mut client, mut upstream) = server.open(None);
    // All of them in one read.
    let frames: Vec<u8> = (0..100).flat_map(|i| client.encoded(&text(&format!("{i:0100}")))).collect();
    client.send_raw(&frames);
    for i in 0..100 {
        upstream.expect(&text(&format!("{i:0100}").repeat(1000)));
    }
}

#[test]
fn pieces_of_a_text_that_plugins_break_end_the_relay() {
    let plugin = Native::new("breaks").on_frame(|frame, _| match frame.last {
        true => FrameVerdict::Replace(Bytes::from_static(&[0xff])),
        false => FrameVerdict::Forward,
    });
    let server = Talking::with(plugin);
    let (mut client, mut upstream) = server.open(None);
    client.send(&piece(Opcode::Text, false, "a"));
    client.send(&piece(Opcode::Continuation, true, "b"));
    upstream.expect(&piece(Opcode::Text, false, "a"));
    upstream.expect(&closing(1011, ""));
    client.expect(&closing(1011, ""));
    drop((client, upstream));
    assert_eq!(server.running.seen().reason, Some(Kind::Plugin));
}

#[test]
fn a_plugin_that_fails_ends_the_relay_or_is_left_out() {
    for on_failure in [OnFailure::Closed, OnFailure::Open] {
        let policy = Policy { on_failure, ..Policy::default() };
        let plugin = on_message(|_| FrameVerdict::Fail("it did".to_owned())).policy(policy);
        let server = Talking::with(plugin);
        let (mut client, mut upstream) = server.open(None);
        client.send(&text("a"));
        match on_failure {
            OnFailure::Closed => client.expect(&closing(1011, "")),
            OnFailure::Open => upstream.expect(&text("a")),
        }
    }
}

#[test]
fn nothing_follows_what_a_hook_has_ended() {
    let plugin = Native::new("ends").on_message(|_, ws| {
        ws.relay.send(Direction::ToUpstream, PluginOpcode::Text, "before".into()).unwrap();
        ws.relay.close(CloseReason::new(4002, "over").unwrap()).unwrap();
        FrameVerdict::Forward
    });
    let server = Talking::with(plugin);
    let (mut client, mut upstream) = server.open(None);
    client.send(&text("a"));
    upstream.expect(&text("before"));
    upstream.expect(&closing(4002, "over"));
    client.expect(&closing(4002, "over"));
}

#[test]
fn a_header_that_is_none_is_answered_with_its_code() {
    let server = Talking::with(on_message(|_| FrameVerdict::Forward));
    let (mut client, mut upstream) = server.open(None);
    client.send(&text("before"));
    client.send_raw(&[0xf1, 0x80, 0, 0, 0, 0, 1, 2, 3]);
    upstream.expect(&text("before"));
    upstream.expect(&closing(1001, ""));
    upstream.send(&text("after"));
    upstream.send(&closing(1001, ""));
    client.expect(&text("after"));
    client.expect(&closing(1002, "reserved bits without an extension"));
}

#[test]
fn nothing_is_sent_into_a_message_that_passes_unread() {
    let relays: Arc<Mutex<Vec<Arc<dyn weir_plugin::websocket::Relay>>>> = Arc::default();
    let kept = relays.clone();
    let plugin = Native::new("sends").on_websocket(move |_, ws, _| {
        kept.lock().unwrap().push(ws.relay.clone());
        Watch { send: true, ..Watch::default() }
    });
    let server = Talking::with(plugin);
    let (mut client, mut upstream) = server.open(None);
    client.send(&piece(Opcode::Text, false, "a"));
    upstream.expect(&piece(Opcode::Text, false, "a"));
    let relay = relays.lock().unwrap().remove(0);
    relay.send(Direction::ToUpstream, PluginOpcode::Text, "sent".into()).unwrap();
    client.send(&wire(Opcode::Ping, "between"));
    upstream.expect(&wire(Opcode::Ping, "between"));
    client.send(&piece(Opcode::Continuation, true, "b"));
    upstream.expect(&piece(Opcode::Continuation, true, "b"));
    upstream.expect(&text("sent"));
}

#[test]
fn what_a_hook_has_asked_for_holds_where_it_wants_nothing_else() {
    let plugin = Native::new("refuses").on_websocket(|_, ws, _| {
        ws.relay.close(CloseReason::new(4001, "token").unwrap()).unwrap();
        Watch::default()
    });
    let server = Talking::with(plugin);
    let (mut client, mut upstream) = server.open(None);
    client.expect(&closing(4001, "token"));
    upstream.expect(&closing(4001, "token"));
}

#[test]
fn a_message_of_which_nothing_is_left_does_not_go_on() {
    let frames = Native::new("drops").on_frame(|frame, _| match frame.data.starts_with(b"drop") {
        true => FrameVerdict::Drop,
        false => FrameVerdict::Forward,
    });
    let server = Talking::new(vec![frames, on_message(|_| FrameVerdict::Forward)], |_| ());
    let (mut client, mut upstream) = server.open(None);
    client.send(&piece(Opcode::Text, false, "drop"));
    client.send(&piece(Opcode::Continuation, true, "drop"));
    client.send(&text("drop"));
    client.send(&piece(Opcode::Text, false, "drop"));
    client.send(&piece(Opcode::Continuation, true, "left"));
    upstream.expect(&text("left"));
}
