//! Compression (RFC 7692), agreed on with each side by itself.

use super::*;
use crate::spec::Connect;

const NO_TAKEOVER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn deflated(deflater: &mut Deflater, data: &str) -> Wire {
    let mut payload = Vec::new();
    deflater.deflate(data.as_bytes(), true, &mut payload);
    Wire { opcode: Opcode::Text, fin: true, compressed: true, payload }
}

fn inflated(inflater: &mut Inflater, frame: &Wire) -> String {
    assert!(frame.compressed, "{frame:?}");
    let mut out = Vec::new();
    inflater.inflate(&frame.payload, frame.fin, &mut out, Bound { size: 0, ratio: 0 }).unwrap();
    String::from_utf8(out).unwrap()
}

/// Long enough to be worth it.
fn long(word: &str) -> String {
    word.repeat(200)
}

/// A message that begins with `new` is replaced.
fn replaces() -> Native {
    on_message(|message| {
        let data = String::from_utf8_lossy(&message.data);
        assert!(message.compressed == (message.data.len() > 100), "{message:?}");
        match data.strip_prefix("new") {
            Some(rest) => FrameVerdict::Replace(format!("old{rest}").into()),
            None if data.starts_with("drop") => FrameVerdict::Drop,
            None => FrameVerdict::Forward,
        }
    })
}

fn takeover(route: &mut Route) {
    let deflate = Some(Deflate { takeover: true, ..Deflate::default() });
    route.websocket =
        Some(WebSocket { frames: Frames { deflate, ..Frames::default() }, ..WebSocket::default() });
}

#[test]
fn both_sides_are_asked_and_told_what_weir_does() {
    let server = Talking::with(replaces());
    *server.extension.lock().unwrap() = Some(NO_TAKEOVER.to_owned());
    let (client, upstream) = server.open(Some("permessage-deflate; client_max_window_bits, x-other"));
    assert_eq!(upstream.fields["sec-websocket-extensions"], format!("{NO_TAKEOVER}; client_max_window_bits"));
    assert_eq!(client.fields["sec-websocket-extensions"], NO_TAKEOVER);
    // A client that offers nothing.
    *server.extension.lock().unwrap() = None;
    let (client, upstream) = server.open(None);
    assert!(!client.fields.contains_key("sec-websocket-extensions"));
    assert!(!upstream.fields.contains_key("sec-websocket-extensions"));
    // An upstream that takes nothing.
    let (client, upstream) = server.open(Some("permessage-deflate"));
    assert!(upstream.fields.contains_key("sec-websocket-extensions"));
    assert!(!client.fields.contains_key("sec-websocket-extensions"));
}

#[test]
fn what_is_not_changed_goes_on_as_it_was_compressed() {
    let server = Talking::with(replaces());
    *server.extension.lock().unwrap() = Some(NO_TAKEOVER.to_owned());
    let (mut client, mut upstream) = server.open(Some("permessage-deflate"));
    // A level that weir does not use, so that the bytes tell whose they are.
    let (mut deflater, mut inflater) = (Deflater::new(9, 15, 8, false), Inflater::new(false));
    let same = deflated(&mut deflater, &long("same"));
    client.send(&same);
    upstream.expect(&same);
    client.send(&deflated(&mut deflater, &long("new")));
    let got = upstream.next().unwrap();
    assert_eq!(inflated(&mut inflater, &got), format!("old{}", long("new").strip_prefix("new").unwrap()));
    // In fragments, with something between them.
    let mut payload = Vec::new();
    deflater.deflate(long("one").as_bytes(), false, &mut payload);
    let first = Wire { opcode: Opcode::Text, fin: false, compressed: true, payload };
    let mut payload = Vec::new();
    deflater.deflate(long("two").as_bytes(), true, &mut payload);
    let last = Wire { opcode: Opcode::Continuation, fin: true, compressed: false, payload };
    client.send(&first);
    client.send(&wire(Opcode::Ping, ""));
    client.send(&last);
    upstream.expect(&wire(Opcode::Ping, ""));
    upstream.expect(&first);
    upstream.expect(&last);
}

#[test]
fn with_takeover_all_is_compressed_anew_once_something_was_changed() {
    let server = Talking::new(vec![replaces()], takeover);
    *server.extension.lock().unwrap() = Some("permessage-deflate".to_owned());
    let (mut client, mut upstream) = server.open(Some("permessage-deflate"));
    assert_eq!(client.fields["sec-websocket-extensions"], "permessage-deflate");
    let (mut deflater, mut inflater) = (Deflater::new(9, 15, 8, true), Inflater::new(true));
    let mut read = |upstream: &mut Peer| inflated(&mut inflater, &upstream.next().unwrap());
    for _ in 0..3 {
        let same = deflated(&mut deflater, &long("same"));
        client.send(&same);
        assert_eq!(read(&mut upstream), long("same"));
    }
    client.send(&deflated(&mut deflater, &long("drop")));
    for word in ["same", "other", "new", "same"] {
        client.send(&deflated(&mut deflater, &long(word)));
        let expected = match word {
            "new" => format!("old{}", long("new").strip_prefix("new").unwrap()),
            word => long(word),
        };
        assert_eq!(read(&mut upstream), expected);
    }
}

#[test]
fn frames_of_a_compressed_message_are_compressed_one_by_one() {
    let plugin = Native::new("sees").on_frame(|frame, _| match frame.data.starts_with(b"two") {
        true => FrameVerdict::Replace(long("2").into()),
        false => FrameVerdict::Forward,
    });
    let server = Talking::with(plugin);
    *server.extension.lock().unwrap() = Some(NO_TAKEOVER.to_owned());
    let (mut client, mut upstream) = server.open(Some("permessage-deflate"));
    let (mut deflater, mut inflater) = (Deflater::new(9, 15, 8, false), Inflater::new(false));
    for (word, fin) in [("one", false), ("two", false), ("three", true)] {
        let mut payload = Vec::new();
        deflater.deflate(long(word).as_bytes(), fin, &mut payload);
        let opcode = if word == "one" { Opcode::Text } else { Opcode::Continuation };
        client.send(&Wire { opcode, fin, compressed: word == "one", payload });
    }
    let mut all = Vec::new();
    for (first, last) in [(true, false), (false, false), (false, true)] {
        let frame = upstream.next().unwrap();
        assert_eq!((frame.compressed, frame.fin), (first, last));
        inflater.inflate(&frame.payload, frame.fin, &mut all, Bound { size: 0, ratio: 0 }).unwrap();
    }
    assert_eq!(String::from_utf8(all).unwrap(), [long("one"), long("2"), long("three")].concat());
}

#[test]
fn a_bomb_ends_the_relay() {
    let server = Talking::with(on_message(|_| FrameVerdict::Forward));
    *server.extension.lock().unwrap() = Some(NO_TAKEOVER.to_owned());
    let (mut client, mut upstream) = server.open(Some("permessage-deflate"));
    let bomb = deflated(&mut Deflater::new(9, 15, 8, false), &"0".repeat(4 << 20));
    client.send(&bomb);
    upstream.expect(&closing(1001, ""));
    upstream.send(&closing(1001, ""));
    let code = client.next().unwrap().payload;
    assert_eq!(u16::from_be_bytes([code[0], code[1]]), 1009);
}

/// A server whose upstreams agree on this, and are opened late.
fn late(takeover: bool, extension: Option<&str>) -> Talking {
    let server = Talking::new(vec![replaces()], |route| {
        let deflate = Some(Deflate { takeover, ..Deflate::default() });
        let frames = Frames { deflate, connect: Connect::FirstMessage, ..Frames::default() };
        route.websocket = Some(WebSocket { frames, reads_frames: true, ..WebSocket::default() });
    });
    *server.extension.lock().unwrap() = extension.map(str::to_owned);
    server
}

#[test]
fn an_upstream_opened_late_may_do_without() {
    for takeover in [false, true] {
        let server = late(takeover, None);
        let mut client = server.client("Sec-WebSocket-Extensions: permessage-deflate\r\n", b"");
        let told = if takeover { "permessage-deflate" } else { NO_TAKEOVER };
        assert_eq!(client.fields["sec-websocket-extensions"], told);
        let mut deflater = Deflater::new(9, 15, 8, takeover);
        client.send(&deflated(&mut deflater, &long("same")));
        let mut upstream = server.upstreams.recv_timeout(LONG).unwrap();
        upstream.expect(&text(&long("same")));
        client.send(&deflated(&mut deflater, &long("same")));
        upstream.expect(&text(&long("same")));
        client.send(&deflated(&mut deflater, &long("new")));
        upstream.expect(&text(&format!("old{}", long("new").strip_prefix("new").unwrap())));
        // The upstream may not compress.
        upstream.send(&text("short"));
        client.expect(&text("short"));
        upstream.send(&deflated(&mut deflater, &long("same")));
        assert_eq!(client.next().unwrap().opcode, Opcode::Close);
    }
}

#[test]
fn an_upstream_opened_late_agrees_by_itself() {
    for (takeover, agreed) in [(false, NO_TAKEOVER), (true, "permessage-deflate"), (true, NO_TAKEOVER)] {
        let server = late(takeover, Some(agreed));
        let mut client = server.client("Sec-WebSocket-Extensions: permessage-deflate\r\n", b"");
        let mut deflater = Deflater::new(9, 15, 8, takeover);
        client.send(&deflated(&mut deflater, &long("same")));
        let mut upstream = server.upstreams.recv_timeout(LONG).unwrap();
        // How it would take it was not known yet.
        upstream.expect(&text(&long("same")));
        let mut inflater = Inflater::new(agreed != NO_TAKEOVER);
        for _ in 0..3 {
            let second = deflated(&mut deflater, &long("same"));
            client.send(&second);
            let got = upstream.next().unwrap();
            assert_eq!(got == second, !takeover, "as it came where nothing refers to what came before");
            assert_eq!(inflated(&mut inflater, &got), long("same"));
        }
        let mut deflater = Deflater::new(9, 12, 8, agreed != NO_TAKEOVER);
        let mut inflater = Inflater::new(takeover);
        for word in ["other", "new", "other"] {
            upstream.send(&deflated(&mut deflater, &long(word)));
            let got = inflated(&mut inflater, &client.next().unwrap());
            assert!(got.ends_with(word), "{got}");
        }
    }
}
