//! Upstreams that are opened when there is something to be sent to them.

use weir_plugin::Target;

use super::*;
use crate::spec::Connect;

/// A route that answers clients before its upstream is opened.
fn late(route: &mut Route) {
    // No end waits for it.
    let frames = Frames { connect: Connect::FirstMessage, close_timeout: LONG, ..Frames::default() };
    route.websocket = Some(WebSocket { frames, reads_frames: true, ..WebSocket::default() });
}

#[track_caller]
fn nobody(upstreams: &Receiver<Peer>) {
    assert!(upstreams.try_recv().is_err(), "an upstream was opened");
}

#[test]
fn the_first_message_chooses_the_upstream() {
    let (other, others) = agreeing(Arc::default());
    let group: Arc<Mutex<Option<Arc<str>>>> = Arc::default();
    let chosen = group.clone();
    let plugin = Native::new("routes")
        .on_websocket(|_, ws, has| {
            ws.relay.send(Direction::ToClient, PluginOpcode::Text, "which?".into()).unwrap();
            has
        })
        .on_message(move |message, _| {
            let name = String::from_utf8_lossy(&message.data);
            chosen.lock().unwrap().get_or_insert_with(|| (*name).into());
            FrameVerdict::Forward
        })
        .select_upstream(move |x, selection| {
            assert_eq!(x.headers["x-asked"], "yes");
            assert_eq!(&*selection.group, "talk");
            group.lock().unwrap().clone().map_or(Target::Default, Target::Group)
        });
    let mut spec = Talking::spec(vec![plugin], late, SocketAddr::from(([127, 0, 0, 1], 1)));
    spec.upstreams.push(upstream("other", &[other]));
    let running = Running::new(&spec, 1);
    let server = Talking { running, upstreams: others, spec, extension: Arc::default() };
    let mut client = server.client("X-Asked: yes\r\nSec-WebSocket-Protocol: a, b\r\n", b"");
    assert_eq!(client.fields["sec-websocket-protocol"], "a");
    client.expect(&text("which?"));
    // Nobody else could answer it, and it is for nobody else.
    client.send(&wire(Opcode::Ping, "there?"));
    client.expect(&wire(Opcode::Pong, "there?"));
    client.send(&wire(Opcode::Pong, "unasked"));
    nobody(&server.upstreams);
    client.send(&text("other"));
    client.send(&text("more"));
    let mut upstream = server.upstreams.recv_timeout(LONG).unwrap();
    assert_eq!(upstream.fields["sec-websocket-protocol"], "a");
    assert_eq!(upstream.fields["x-asked"], "yes");
    upstream.expect(&text("other"));
    upstream.expect(&text("more"));
    upstream.send(&text("welcome"));
    client.expect(&text("welcome"));
    // From now on it is the upstream's to answer.
    client.send(&wire(Opcode::Ping, "you?"));
    upstream.expect(&wire(Opcode::Ping, "you?"));
    upstream.send(&closing(1000, "bye"));
    client.expect(&closing(1000, "bye"));
    client.send(&closing(1000, "bye"));
    upstream.expect(&closing(1000, "bye"));
    let seen = server.running.seen();
    assert_eq!((seen.reason, seen.attempts), (None, 1));
}

#[test]
fn without_plugins_what_came_behind_the_handshake_opens_it() {
    let server = Talking::new(Vec::new(), late);
    let mut masked = Peer { stream: server.running.connect(), client: true, fields: HashMap::new() };
    let first =
        [masked.encoded(&piece(Opcode::Text, false, "a")), masked.encoded(&wire(Opcode::Ping, "x"))].concat();
    masked = server.client("", &first);
    let mut upstream = server.upstreams.recv_timeout(LONG).unwrap();
    upstream.expect(&piece(Opcode::Text, false, "a"));
    masked.expect(&wire(Opcode::Pong, "x"));
    masked.send(&piece(Opcode::Continuation, true, "b"));
    upstream.expect(&piece(Opcode::Continuation, true, "b"));
}

#[test]
fn a_plugin_may_open_it_by_itself() {
    let plugin = Native::new("speaks").on_websocket(|_, ws, has| {
        ws.relay.send(Direction::ToUpstream, PluginOpcode::Text, "first".into()).unwrap();
        has
    });
    let server = Talking::new(vec![plugin], late);
    let mut client = server.client("", b"");
    let mut upstream = server.upstreams.recv_timeout(LONG).unwrap();
    upstream.expect(&text("first"));
    upstream.send(&text("second"));
    client.expect(&text("second"));
}

#[test]
fn a_client_that_leaves_before_is_answered() {
    let (tell, ended) = channel();
    let plugin =
        on_message(|_| FrameVerdict::Forward).on_close(move |closed, _| tell.send(closed.clone()).unwrap());
    let server = Talking::new(vec![plugin], late);
    let mut client = server.client("", b"");
    client.send(&closing(1000, "never mind"));
    client.expect(&closing(1000, ""));
    assert!(client.next().is_none());
    let closed = ended.recv_timeout(LONG).unwrap();
    assert_eq!((closed.code, closed.by), (Some(1000), ClosedBy::Client));
    assert_eq!(server.running.seen().reason, None);
    // Without a word.
    drop(server.client("", b""));
    assert_eq!(ended.recv_timeout(LONG).unwrap().code, None);
    // One that breaks a rule.
    let mut client = server.client("", b"");
    client.send_raw(&[0x81, 0]);
    client.expect(&closing(1002, "frame of a client without a mask"));
    client.send(&closing(1002, ""));
    assert!(client.next().is_none());
    assert_eq!(ended.recv_timeout(LONG).unwrap().by, ClosedBy::Weir);
    nobody(&server.upstreams);
}

#[test]
fn what_a_client_has_said_before_it_leaves_is_delivered() {
    let server = Talking::new(vec![on_message(|_| FrameVerdict::Forward)], late);
    let client = || Peer { stream: server.running.connect(), client: true, fields: HashMap::new() };
    let first = client().encoded(&text("last words"));
    let bye = client().encoded(&closing(1000, "bye"));
    let mut client = server.client("", &[&first[..], &bye].concat());
    let mut upstream = server.upstreams.recv_timeout(LONG).unwrap();
    upstream.expect(&text("last words"));
    upstream.expect(&closing(1000, "bye"));
    upstream.send(&text("too late?"));
    upstream.send(&closing(1000, "bye"));
    client.expect(&text("too late?"));
    client.expect(&closing(1000, "bye"));
    assert!(client.next().is_none());
    assert_eq!(server.running.seen().reason, None);
    // Without a close frame.
    let client = server.client("", &first);
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut upstream = server.upstreams.recv_timeout(LONG).unwrap();
    upstream.expect(&text("last words"));
    assert!(upstream.next().is_none());
    // With what breaks a rule.
    let mut client = server.client("", &[&first[..], &[0x81, 0]].concat());
    let mut upstream = server.upstreams.recv_timeout(LONG).unwrap();
    upstream.expect(&text("last words"));
    upstream.expect(&closing(1001, ""));
    upstream.send(&closing(1001, ""));
    client.expect(&closing(1002, "frame of a client without a mask"));
}

#[test]
fn each_ping_is_answered() {
    let server = Talking::new(Vec::new(), late);
    let peer = Peer { stream: server.running.connect(), client: true, fields: HashMap::new() };
    let pings: Vec<_> = (0..10).map(|n| wire(Opcode::Ping, &n.to_string())).collect();
    let all: Vec<u8> = pings.iter().flat_map(|ping| peer.encoded(ping)).collect();
    let mut client = server.client("", &all);
    for ping in pings {
        client.expect(&Wire { opcode: Opcode::Pong, ..ping });
    }
}

#[test]
fn a_client_that_says_nothing_is_not_waited_for() {
    let server = Talking::new(vec![on_message(|_| FrameVerdict::Drop)], |route| {
        late(route);
        let frames = &mut route.websocket.as_mut().unwrap().frames;
        frames.first_message_timeout = Duration::from_millis(50);
    });
    let mut client = server.client("", b"");
    // What is dropped opens nothing.
    client.send(&text("dropped"));
    client.expect(&closing(1008, "no message in time"));
    client.send(&closing(1008, ""));
    assert!(client.next().is_none());
    assert_eq!(server.running.seen().reason, Some(Kind::RequestTimeout));
    nobody(&server.upstreams);
}

#[test]
fn an_upstream_that_is_not_there_is_told() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let spec = Talking::spec(vec![on_message(|_| FrameVerdict::Forward)], late, closed);
    let (running, upstreams) = (Running::new(&spec, 1), channel().1);
    let server = Talking { running, upstreams, spec, extension: Arc::default() };
    let mut client = server.client("", b"");
    client.send(&text("hello"));
    client.expect(&closing(1013, "the upstream is not there"));
    client.send(&closing(1013, ""));
    assert!(client.next().is_none());
    assert_eq!(server.running.seen().reason, Some(Kind::Connect));
}

#[test]
fn an_upstream_that_refuses_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = Talking::spec(Vec::new(), late, listener.local_addr().unwrap());
    let (running, upstreams) = (Running::new(&spec, 1), channel().1);
    let server = Talking { running, upstreams, spec, extension: Arc::default() };
    let more = "Sec-WebSocket-Protocol: a\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    for answer in [
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned(),
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{more}\r\n"
        ),
    ] {
        let mut client = server.client("", b"");
        client.send(&text("hello"));
        let (mut upstream, _) = listener.accept().unwrap();
        head_of(&mut upstream);
        upstream.write_all(answer.as_bytes()).unwrap();
        client.expect(&closing(1011, "the upstream took no WebSocket"));
        client.send(&closing(1011, ""));
        assert!(client.next().is_none());
        assert_eq!(server.running.seen().reason, Some(Kind::UpstreamInvalid));
    }
}

#[test]
fn it_can_be_ended_while_its_upstream_is_opened() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = Talking::spec(Vec::new(), late, listener.local_addr().unwrap());
    let (running, upstreams) = (Running::new(&spec, 1), channel().1);
    let server = Talking { running, upstreams, spec, extension: Arc::default() };
    let all = RelayFilter::default();
    let mut client = server.client("", b"");
    assert_eq!(server.publisher().close_relays(&all, &CloseReason::new(4000, "go").unwrap()), 1);
    client.expect(&closing(4000, "go"));
    client.send(&closing(4000, ""));
    assert!(client.next().is_none());
    while server.publisher().list_relays(&all, 1).1 != 0 {
        std::thread::yield_now();
    }
    // With a ping behind it, which ends nothing.
    let first = [client.encoded(&text("hello")), client.encoded(&wire(Opcode::Ping, ""))].concat();
    let mut client = server.client("", &first);
    client.expect(&wire(Opcode::Pong, ""));
    let (mut silent, _) = listener.accept().unwrap();
    head_of(&mut silent);
    while server.publisher().close_relays(&all, &CloseReason::new(4001, "go").unwrap()) != 1 {
        std::thread::yield_now();
    }
    client.expect(&closing(4001, "go"));
    client.send(&closing(4001, ""));
    assert!(client.next().is_none());
    // Nothing came to it.
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
}
