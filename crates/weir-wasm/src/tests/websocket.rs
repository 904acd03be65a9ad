//! Hooks of WebSockets.

use super::guests::*;
use super::*;
use weir_plugin::WebSocket;
use weir_plugin::websocket::{Closed, ClosedBy, Direction, Frame, FrameVerdict, Opcode, Watch};
use weir_services::NotedRelays;

const GROUPS: &[&str] = &["http-hooks", "websocket-hooks", "migrate-hooks"];

fn ws(relays: &NotedRelays, id: u64) -> Rc<WebSocket> {
    Rc::new(WebSocket {
        relay: relays.open(id, "chat", []),
        route: "chat".into(),
        request_id: "r-1".into(),
        client_ip: "192.0.2.1".into(),
        subprotocol: None,
    })
}

fn frame(data: &'static str) -> Frame {
    Frame {
        direction: Direction::ToClient,
        opcode: Opcode::Text,
        data: Bytes::from_static(data.as_bytes()),
        first: true,
        last: true,
        sequence: 1,
        compressed: false,
        size: data.len() as u64,
    }
}

const ALL: Watch = Watch { frames: true, messages: true, send: false };

#[test]
fn frames_are_seen_and_changed() {
    run(async {
        // By their first letter: `d` is dropped, `r` replaced by `rr`, `c` closes the relay, `f` fails.
        let code = r#"
          (data (i32.const 1024) "rrbyewhy")
          (func (export "weir:plugin/websocket-hooks@1.0.0#on-frame")
            (param $x i32) (param $ws i32) (param i32) (param i32) (param $at i32) (param $len i32)
            (param i32 i32 i64 i32 i64) (result i32)
            (local $first i32)
            (call $drop_relay (local.get $ws))
            (local.set $first (i32.load8_u (local.get $at)))
            (drop (call $nothing))
            (if (i32.eq (local.get $first) (i32.const 100))
              (then (i32.store (i32.const 0) (i32.const 2)) (return (i32.const 0))))
            (if (i32.eq (local.get $first) (i32.const 114))
              (then (return (call $bytes (i32.const 1) (i32.const 1024) (i32.const 2)))))
            (if (i32.eq (local.get $first) (i32.const 99))
              (then
                (i32.store (i32.const 0) (i32.const 3)) (i32.store16 (i32.const 4) (i32.const 4001))
                (i32.store (i32.const 8) (i32.const 1026)) (i32.store (i32.const 12) (i32.const 3))
                (return (i32.const 0))))
            (if (i32.eq (local.get $first) (i32.const 102))
              (then (return (call $bytes (i32.const 4) (i32.const 1029) (i32.const 3)))))
            (i32.const 0))"#;
        let text = Text { groups: GROUPS, hooks: FRAME, code, ..Text::default() };
        let instance = instance(&text, Limits::default()).await;
        let relays = NotedRelays::default();
        let talk = visit(&instance).talk(&ws(&relays, 1)).expect("it has hooks");
        for (data, expected) in [
            ("hello", FrameVerdict::Forward),
            ("drop", FrameVerdict::Drop),
            ("r", FrameVerdict::Replace("rr".into())),
            ("f", FrameVerdict::Fail("why".to_owned())),
        ] {
            assert_eq!(talk.on_frame(frame(data)).finish().await, expected, "{data}");
        }
        let closed = talk.on_frame(frame("c")).finish().await;
        assert!(
            matches!(&closed, FrameVerdict::Close(why) if why.code() == 4001 && &**why.reason() == "bye"),
            "{closed:?}"
        );
        assert_eq!(talk.on_message(frame("r")).finish().await, FrameVerdict::Forward, "it has no such hook");
    });
}

#[test]
fn a_relay_can_be_sent_to() {
    run(async {
        let imports = r#"
          (import "weir:plugin/websocket@1.0.0" "[method]relay.send"
            (func $send (param i32 i32 i32 i32 i32 i32)))"#;
        // Greets on opening, wants messages only, and says goodbye with the code at the end.
        let code = r#"
          (data (i32.const 1024) "hello")
          (func (export "weir:plugin/websocket-hooks@1.0.0#on-websocket")
            (param $x i32) (param $ws i32) (param $req i32) (result i32)
            (call $send (local.get $ws) (i32.const 1) (i32.const 1024) (i32.const 5) (i32.const 0) (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (call $drop_relay (local.get $ws))
            (call $drop_request (local.get $req))
            (call $watch (i32.const 2)))
          (func (export "weir:plugin/websocket-hooks@1.0.0#on-close")
            (param $x i32) (param $ws i32) (param $has i32) (param $code i32) (param i32 i32) (param $by i32)
            (result i32)
            (if (i32.ne (local.get $code) (i32.const 1001)) (then unreachable))
            (if (i32.ne (local.get $by) (i32.const 1)) (then unreachable))
            (call $drop_relay (local.get $ws))
            (call $nothing))"#;
        let text = Text { groups: GROUPS, hooks: WEBSOCKET | FRAME | MESSAGE | CLOSE, imports, code };
        let instance = instance(&text, Limits::default()).await;
        let relays = NotedRelays::default();
        let ws = ws(&relays, 1);
        let (mut visit, mut x) = (visit(&instance), exchange(1));
        let watch = visit.on_websocket(&mut x, &ws, ALL).finish().await;
        assert_eq!(watch, Ok(Watch { frames: false, messages: true, send: false }));
        let sent = format!("{:?}", relays.take(1));
        assert!(sent.contains("hello") && sent.contains("ToClient"), "{sent}");
        let talk = visit.talk(&ws).expect("it has hooks");
        let closed = Closed { code: Some(1001), reason: "".into(), by: ClosedBy::Upstream };
        assert_eq!(talk.on_close(closed).finish().await, Ok(()));
    });
}

#[test]
fn what_is_kept_of_a_relay_goes_to_the_next_generation() {
    run(async {
        // Saves its number as a letter, and takes nothing but `a`.
        let code = r#"
          (data (i32.const 1025) "not mine")
          (func (export "weir:plugin/migrate-hooks@1.0.0#save") (param $x i32) (result i32)
            (i32.store8 (i32.const 1024) (i32.add (local.get $x) (i32.const 96)))
            (call $bytes (i32.const 0) (i32.const 1024) (i32.const 1)))
          (func (export "weir:plugin/migrate-hooks@1.0.0#on-migrate")
            (param $x i32) (param $ws i32) (param $at i32) (param $len i32) (result i32)
            (call $drop_relay (local.get $ws))
            (if (i32.ne (i32.load8_u (local.get $at)) (i32.const 97))
              (then (return (call $bytes (i32.const 1) (i32.const 1025) (i32.const 8)))))
            (drop (call $nothing))
            (i32.store8 (i32.const 4) (i32.const 5))
            (i32.const 0))"#;
        let text = Text { groups: GROUPS, hooks: FRAME | MIGRATE, code, ..Text::default() };
        let old = instance(&text, Limits::default()).await;
        let next = instance(&text, Limits::default()).await;
        let relays = NotedRelays::default();
        let ws = ws(&relays, 1);
        for (number, expected) in
            [(1, Ok(Watch { frames: true, messages: false, send: true })), (2, Err("not mine".to_owned()))]
        {
            let (mut visit, mut x) = (visit(&next), exchange(number));
            let mut first = old.clone().visit();
            let talk = first.talk(&ws).expect("it has hooks");
            let saved = talk.save().finish().await.expect("it is saved");
            assert_eq!(visit.on_migrate(&mut x, &ws, saved, ALL).finish().await, expected);
        }
    });
}
