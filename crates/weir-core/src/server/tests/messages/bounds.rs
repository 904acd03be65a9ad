//! Limits, and what happens by itself.

use weir_plugin::websocket::RelayLimits;

use super::*;
use crate::spec::{Pings, QueueFull};

fn bounded(change: impl FnOnce(&mut WebSocket)) -> impl FnOnce(&mut Route) {
    |route| {
        let mut settings = WebSocket { reads_frames: true, ..WebSocket::default() };
        change(&mut settings);
        route.websocket = Some(settings);
    }
}

/// The client ends the relay with this, and hears this.
#[track_caller]
fn broken(server: &Talking, frames: &[Wire], code: u16, reason: &str) {
    let (mut client, mut upstream) = server.open(None);
    frames.iter().for_each(|frame| client.send(frame));
    let told = loop {
        match upstream.next().unwrap() {
            frame if frame.opcode == Opcode::Close => break frame,
            _ => {}
        }
    };
    assert_eq!(told, closing(1001, ""));
    client.expect(&closing(code, reason));
    client.send(&closing(code, ""));
    upstream.send(&closing(1001, ""));
    assert!(client.next().is_none() && upstream.next().is_none());
    assert_eq!(server.running.seen().reason, Some(Kind::BadRequest));
}

#[test]
fn what_is_too_much_ends_the_relay_with_its_code() {
    let server = Talking::new(
        vec![on_message(|_| FrameVerdict::Forward)],
        bounded(|settings| {
            settings.frames.max_frame = 100;
            settings.frames.max_message = 150;
            settings.frames.max_fragments = 3;
            settings.frames.max_controls = 2;
        }),
    );
    let long = "x".repeat(101);
    broken(&server, &[text(&long)], 1009, "frame too big");
    let part = "x".repeat(80);
    let more = |fin| piece(Opcode::Continuation, fin, &part);
    broken(&server, &[piece(Opcode::Text, false, &part), more(true)], 1009, "message too big");
    let short = |fin| piece(Opcode::Continuation, fin, "x");
    let many = [piece(Opcode::Text, false, "x"), short(false), short(false), short(true)];
    broken(&server, &many, 1008, "too many fragments");
    let ping = || wire(Opcode::Ping, "");
    broken(&server, &[ping(), ping(), ping()], 1008, "too many pings or pongs");
    let bad = Wire { payload: vec![0xff], ..text("") };
    broken(&server, &[bad], 1007, "text is not UTF-8");
    broken(&server, &[piece(Opcode::Continuation, true, "")], 1002, "continuation of no message");
}

#[test]
fn large_frames_pass_in_pieces_where_nobody_wants_to_see_them() {
    let server = Talking::new(vec![], bounded(|settings| settings.frames.max_frame = 0));
    let (mut client, mut upstream) = server.open(None);
    let large = Wire { opcode: Opcode::Binary, ..text(&"x".repeat(1_000_000)) };
    let bytes = client.encoded(&large);
    let (begin, rest) = bytes.split_at(100);
    client.send_raw(begin);
    let mut some = [0; 100];
    upstream.stream.read_exact(&mut some).unwrap();
    assert_eq!(&some[..], begin, "before the rest has come");
    let mut reads = upstream.stream.try_clone().unwrap();
    let reading = std::thread::spawn(move || {
        let mut all = vec![0; 1_000_014 - 100];
        reads.read_exact(&mut all).map(|()| all)
    });
    client.send_raw(rest);
    assert!(reading.join().unwrap().unwrap() == rest);
    upstream.send(&text("and back"));
    client.expect(&text("and back"));
}

#[test]
fn large_messages_are_seen_as_a_whole() {
    let server = Talking::with(on_message(|message| {
        assert_eq!(message.data.len(), 1_000_000);
        FrameVerdict::Forward
    }));
    let (mut client, mut upstream) = server.open(None);
    let large = Wire { opcode: Opcode::Binary, ..text(&"x".repeat(1_000_000)) };
    let bytes = client.encoded(&large);
    let writing = std::thread::spawn(move || client.send_raw(&bytes));
    upstream.expect(&large);
    writing.join().unwrap();
}

#[test]
fn pings_are_answered_where_the_route_says_so() {
    let server = Talking::new(vec![], bounded(|settings| settings.frames.pings = Pings::Answer));
    let (mut client, mut upstream) = server.open(None);
    client.send(&wire(Opcode::Ping, "a"));
    client.expect(&wire(Opcode::Pong, "a"));
    upstream.send(&wire(Opcode::Ping, "b"));
    upstream.expect(&wire(Opcode::Pong, "b"));
    client.send(&wire(Opcode::Pong, "c"));
    client.send(&text("d"));
    upstream.expect(&text("d"));
}

#[test]
fn a_silent_client_is_asked_whether_it_is_there() {
    let server = Talking::new(
        vec![],
        bounded(|settings| {
            settings.frames.ping_interval = Duration::from_millis(20);
            settings.frames.ping_timeout = Duration::from_millis(200);
        }),
    );
    let (mut client, mut upstream) = server.open(None);
    for _ in 0..2 {
        let ping = client.next().unwrap();
        assert_eq!(ping.opcode, Opcode::Ping);
        client.send(&Wire { opcode: Opcode::Pong, ..ping });
    }
    client.send(&text("there"));
    // The answers are for weir.
    upstream.expect(&text("there"));
    // From now on it is silent.
    upstream.expect(&closing(1001, "no answer to a ping"));
    drop(client);
    drop(upstream);
    assert_eq!(server.running.seen().reason, Some(Kind::ClientGone));
}

#[test]
fn what_is_idle_or_old_ends() {
    for aged in [false, true] {
        let server = Talking::new(
            vec![],
            bounded(|settings| {
                let time = if aged { &mut settings.max_age } else { &mut settings.idle_timeout };
                *time = Duration::from_millis(50);
            }),
        );
        let (mut client, mut upstream) = server.open(None);
        let reason = if aged { "as old as it may be" } else { "idle" };
        client.expect(&closing(1001, reason));
        upstream.expect(&closing(1001, reason));
        client.send(&closing(1001, ""));
        upstream.send(&closing(1001, ""));
        assert_eq!(server.running.seen().reason, Some(Kind::Idle));
    }
}

/// 0 is no bound; of two the smaller counts, whoever has set it.
#[test]
fn a_plugin_may_end_one_sooner_than_its_route_and_not_later() {
    let (soon, late) = (Duration::from_millis(50), Duration::from_secs(3600));
    for (of_route, of_plugin) in
        [(soon, late), (soon, Duration::ZERO), (late, soon), (Duration::ZERO, soon), (soon, soon)]
    {
        let plugin = Native::new("limits").on_websocket(move |_, ws, _| {
            ws.relay.limit(RelayLimits { max_age: Some(of_plugin), ..RelayLimits::default() });
            Watch { messages: true, ..Watch::default() }
        });
        let server = Talking::new(vec![plugin], bounded(|settings| settings.max_age = of_route));
        let (mut client, mut upstream) = server.open(None);
        client.expect(&closing(1001, "as old as it may be"));
        upstream.expect(&closing(1001, "as old as it may be"));
    }
}

#[test]
fn one_whose_bytes_pass_unread_may_be_so_old_too() {
    let server = Talking::new(
        vec![],
        bounded(|settings| {
            settings.reads_frames = false;
            settings.max_age = Duration::from_millis(50);
        }),
    );
    let (mut client, mut upstream) = server.open(None);
    client.send_raw(b"no frame");
    let mut got = [0; 8];
    upstream.stream.read_exact(&mut got).unwrap();
    client.expect(&closing(1001, ""));
    upstream.expect(&closing(1001, ""));
    drop((client, upstream));
    assert_eq!(server.running.seen().reason, Some(Kind::Idle));
}

#[test]
fn a_side_that_does_not_answer_a_close_frame_is_cut() {
    let server =
        Talking::new(vec![], bounded(|settings| settings.frames.close_timeout = Duration::from_millis(50)));
    let (mut client, mut upstream) = server.open(None);
    client.send(&closing(1000, ""));
    upstream.expect(&closing(1000, ""));
    // The client's handshake comes to its end, whatever the upstream does.
    client.expect(&closing(1000, ""));
    assert!(client.next().is_none() && upstream.next().is_none());
}

#[test]
fn what_is_sent_to_a_slow_client_does_not_pile_up() {
    let flood = |drops: bool| {
        let (tell, sent) = channel();
        let plugin = Native::new("floods").on_message(move |_, ws| {
            let data = Bytes::from(vec![b'x'; 10_000]);
            let send =
                |_: &i32| ws.relay.send(Direction::ToClient, PluginOpcode::Binary, data.clone()).is_ok();
            tell.send((0..1000).take_while(send).count()).unwrap();
            FrameVerdict::Forward
        });
        let server = Talking::new(
            vec![plugin],
            bounded(|settings| {
                settings.frames.queue = 100_000;
                settings.frames.close_timeout = Duration::from_millis(50);
                settings.frames.queue_full = if drops { QueueFull::Drop } else { QueueFull::Close };
            }),
        );
        (server, sent)
    };
    let (server, sent) = flood(true);
    let (mut client, mut upstream) = server.open(None);
    client.send(&text("go"));
    upstream.expect(&text("go"));
    assert_eq!(sent.recv().unwrap(), 9);
    for _ in 0..9 {
        assert_eq!(client.next().unwrap().payload.len(), 10_000);
    }
    upstream.send(&text("it goes on"));
    // What is sent while this is handled comes first.
    let more = std::iter::from_fn(|| client.next()).find(|frame| frame.opcode == Opcode::Text);
    assert_eq!(more, Some(text("it goes on")));
    let (relays, _) = server.publisher().list_relays(&RelayFilter::default(), 10);
    assert_eq!(relays[0].dropped, 2);

    let (server, _sent) = flood(false);
    let (mut client, _upstream) = server.open(None);
    client.send(&text("go"));
    client.expect(&closing(1008, "too slow to take what was sent"));
    drop(client);
    assert_eq!(server.running.seen().reason, Some(Kind::Overloaded));
}
