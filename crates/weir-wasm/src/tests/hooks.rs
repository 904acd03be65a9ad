//! Hooks of requests.

use super::guests::*;
use super::*;
use weir_plugin::message::headers::Side;
use weir_plugin::{Candidate, ConnectVerdict, Phase, Piece, Selection, Target};

const SET_HEADER: &str = r#"
  (import "weir:plugin/message@1.0.0" "[method]request.headers" (func $headers (param i32) (result i32)))
  (import "weir:plugin/message@1.0.0" "[resource-drop]headers" (func $drop_headers (param i32)))
  (import "weir:plugin/message@1.0.0" "[method]headers.set"
    (func $set (param i32 i32 i32 i32 i32 i32)))"#;

/// Sets `x-stamp` to `hi`, and fails where that fails.
const STAMP: &str = r#"
  (data (i32.const 1024) "x-stampcontent-lengthhino")
  (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
    (local $headers i32)
    (local.set $headers (call $headers (local.get $req)))
    (call $set (local.get $headers) (i32.const 1024) (i32.const 7) (i32.const 1045) (i32.const 2) (i32.const 512))
    (if (i32.load8_u (i32.const 512)) (then unreachable))
    ;; A field of the connection cannot be set.
    (call $set (local.get $headers) (i32.const 1031) (i32.const 14) (i32.const 1045) (i32.const 2) (i32.const 512))
    (if (i32.eqz (i32.load8_u (i32.const 512))) (then unreachable))
    (call $drop_headers (local.get $headers))
    (call $drop_request (local.get $req))
    (call $nothing))"#;

#[test]
fn a_request_is_changed() {
    run(async {
        let text = Text { groups: &["http-hooks"], hooks: REQUEST, imports: SET_HEADER, code: STAMP };
        let instance = instance(&text, Limits::default()).await;
        for id in 1..4 {
            let mut x = exchange(id);
            let step = visit(&instance).on_request(&mut x).finish().await;
            assert!(matches!(step, Verdict::Proceed), "{step:?}");
            assert_eq!(x.headers["x-stamp"], "hi");
        }
    });
}

#[test]
fn hooks_that_do_not_wait_are_done_at_once() {
    run(async {
        let text = Text { groups: &["http-hooks"], hooks: REQUEST, ..Text::default() };
        let instance = instance(&text, Limits::default()).await;
        let mut x = exchange(1);
        let mut visit = visit(&instance);
        assert!(matches!(visit.on_request(&mut x), weir_plugin::Step::Done(Verdict::Proceed)));
    });
}

/// Answers with how many exchanges it has had, how many have ended, and the number of this one.
const COUNTS: &str = r#"
    (func $digits (param $x i32)
      (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (global.get $begun)))
      (i32.store8 (i32.const 1025) (i32.add (i32.const 48) (global.get $ended)))
      (i32.store8 (i32.const 1026) (i32.add (i32.const 48) (local.get $x))))
    (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
      (call $drop_request (local.get $req))
      (call $digits (local.get $x))
      (call $respond (i32.const 1) (i32.const 403) (i32.const 1024) (i32.const 3)))
    (func (export "weir:plugin/http-hooks@1.0.0#on-response")
      (param $x i32) (param $res i32) (param $req i32) (result i32)
      (call $drop_request (local.get $req))
      (call $drop_response (local.get $res))
      (call $digits (local.get $x))
      (call $respond (i32.const 1) (i32.const 200) (i32.const 1024) (i32.const 3)))"#;

#[test]
fn a_guest_answers_and_keeps_what_it_has_of_an_exchange() {
    run(async {
        let text =
            Text { groups: &["http-hooks"], hooks: REQUEST | RESPONSE, code: COUNTS, ..Text::default() };
        let instance = instance(&text, Limits::default()).await;
        let (mut one, mut two) = (exchange(1), exchange(2));
        let (mut first, mut second) = (visit(&instance), visit(&instance));
        let answer = reply(first.on_request(&mut one).finish().await);
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (403, &b"101"[..]));
        assert_eq!(reply(second.on_request(&mut two).finish().await).body, "202");
        assert_eq!(reply(first.on_response(&mut one).finish().await).body, "201", "it is the first one's");
        drop(first);
        assert_eq!(reply(second.on_response(&mut two).finish().await).body, "212", "the first one has ended");
    });
}

#[test]
fn one_exchange_does_for_all_of_a_guest_that_keeps_nothing() {
    run(async {
        let hooks = REQUEST | RESPONSE | STATELESS;
        let text = Text { groups: &["http-hooks"], hooks, code: COUNTS, ..Text::default() };
        let instance = instance(&text, Limits::default()).await;
        for id in 1..4 {
            let (mut x, mut visit) = (exchange(id), visit(&instance));
            assert_eq!(reply(visit.on_request(&mut x).finish().await).body, "101");
            assert_eq!(reply(visit.on_response(&mut x).finish().await).body, "101");
        }
    });
}

#[test]
fn bodies_flow_through() {
    run(async {
        // Replaces pieces by `[]`, and answers in the end.
        let code = r#"
          (data (i32.const 1024) "[]")
          (func (export "weir:plugin/http-hooks@1.0.0#on-response-body")
            (param $x i32) (param $at i32) (param $len i32) (param $last i32) (result i32)
            (call $bytes (i32.const 1) (i32.const 1024) (i32.const 2)))
          (func (export "weir:plugin/http-hooks@1.0.0#on-request-body")
            (param $x i32) (param $at i32) (param $len i32) (param $last i32) (result i32)
            (if (result i32) (local.get $last)
              (then (call $respond (i32.const 2) (i32.const 418) (i32.const 1024) (i32.const 1)))
              (else (if (result i32) (i32.eq (local.get $len) (i32.const 1))
                (then (call $nothing))
                (else (call $bytes (i32.const 1) (local.get $at) (i32.const 2)))))))"#;
        let text =
            Text { groups: &["http-hooks"], hooks: REQUEST_BODY | RESPONSE_BODY, code, ..Text::default() };
        let instance = instance(&text, Limits::default()).await;
        let x = exchange(1);
        let mut visit = visit(&instance);
        let mut back = visit.flow(Side::Response, &x).expect("it wants that");
        let made = back.piece(Bytes::from_static(b"hello"), false).finish().await;
        assert!(matches!(&made, Piece::Replace(bytes) if bytes == "[]"), "{made:?}");
        let mut flow = visit.flow(Side::Request, &x).expect("it wants that");
        let made = flow.piece(Bytes::from_static(b"hello"), false).finish().await;
        assert!(matches!(&made, Piece::Replace(bytes) if bytes == "he"), "{made:?}");
        assert!(matches!(flow.piece(Bytes::from_static(b"h"), false).finish().await, Piece::Pass));
        // It may outlive what it came from.
        drop((visit, x));
        let made = flow.piece(Bytes::new(), true).finish().await;
        assert!(matches!(&made, Piece::Respond(reply) if reply.status == 418), "{made:?}");
    });
}

#[test]
fn a_body_is_read_as_a_whole_within_the_limit() {
    run(async {
        // Answers with it, or with the case of the error.
        let imports = r#"
          (import "weir:plugin/message@1.0.0" "[method]request.body" (func $body (param i32) (result i32)))
          (import "weir:plugin/message@1.0.0" "[method]body.read" (func $read (param i32 i32 i64 i32)))
          (import "weir:plugin/message@1.0.0" "[resource-drop]body" (func $drop_body (param i32)))"#;
        let code = r#"
          (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
            (local $body i32)
            (local.set $body (call $body (local.get $req)))
            (call $read (local.get $body) (i32.const 1) (i64.const 5) (i32.const 512))
            (call $drop_body (local.get $body))
            (call $drop_request (local.get $req))
            (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (i32.load8_u (i32.const 520))))
            (if (result i32) (i32.load8_u (i32.const 512))
              (then (call $respond (i32.const 1) (i32.const 413) (i32.const 1024) (i32.const 1)))
              (else (call $respond (i32.const 1) (i32.const 200)
                (i32.load (i32.const 520)) (i32.load (i32.const 524))))))"#;
        let text = Text { groups: &["http-hooks"], hooks: REQUEST, imports, code };
        let instance = instance(&text, Limits::default()).await;
        for (sent, status, expected) in [("hello", 200, "hello"), ("hello!", 413, "2")] {
            let mut x = exchange(1);
            x.request_body = weir_plugin::Content::new(Box::new(Bytes::from_static(sent.as_bytes())));
            let answer = reply(visit(&instance).on_request(&mut x).finish().await);
            assert_eq!((answer.status.as_u16(), &answer.body[..]), (status, expected.as_bytes()));
        }
    });
}

#[test]
fn an_upstream_is_selected() {
    run(async {
        // The address of the last candidate.
        let code = r#"
          (func (export "weir:plugin/http-hooks@1.0.0#select-upstream")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (local $last i32)
            (call $drop_request (local.get 9))
            (local.set $last (i32.add (local.get 3) (i32.mul (i32.const 20) (i32.sub (local.get 4) (i32.const 1)))))
            (call $bytes (i32.const 2) (i32.load (local.get $last)) (i32.load offset=4 (local.get $last))))"#;
        let text = Text { groups: &["http-hooks"], hooks: SELECT, code, ..Text::default() };
        let instance = instance(&text, Limits::default()).await;
        let candidate =
            |address: &str| Candidate { address: address.into(), weight: 1, load: 0, available: true };
        let selection = Selection {
            group: "app".into(),
            candidates: vec![candidate("10.0.0.1:80"), candidate("10.0.0.2:80")],
            attempt: 0,
            failure: None,
        };
        let target = visit(&instance).select_upstream(&mut exchange(1), &selection).finish().await;
        assert_eq!(target, Ok(Target::Endpoint("10.0.0.2:80".into())));
    });
}

#[test]
fn connections_are_refused() {
    run(async {
        // By the first letter of their listener.
        let imports = r#"
          (import "weir:plugin/message@1.0.0" "[method]connection.listener" (func $listener (param i32 i32)))"#;
        let code = r#"
          (func (export "weir:plugin/connect-hooks@1.0.0#on-connect") (param $connection i32) (result i32)
            (call $listener (local.get $connection) (i32.const 512))
            (call $drop_connection (local.get $connection))
            (drop (call $nothing))
            (i32.store (i32.const 0) (i32.eq (i32.load8_u (i32.load (i32.const 512))) (i32.const 98)))
            (i32.const 0))"#;
        let text = Text { groups: &["connect-hooks"], hooks: CONNECT, imports, code };
        let instance = instance(&text, Limits::default()).await;
        for (listener, expected) in [("a", ConnectVerdict::Accept), ("b", ConnectVerdict::Refuse)] {
            let mut connection = (*exchange(1).connection).clone();
            connection.listener = listener.into();
            assert_eq!(instance.on_connect(Rc::new(connection)).finish().await, expected);
        }
    });
}

#[test]
fn a_handle_that_was_kept_is_not_another_exchanges() {
    run(async {
        // Keeps the headers of the first request and reads them in the hooks after it.
        let imports = r#"
          (import "weir:plugin/message@1.0.0" "[method]request.headers" (func $headers (param i32) (result i32)))
          (import "weir:plugin/message@1.0.0" "[method]headers.get" (func $get (param i32 i32 i32 i32)))"#;
        let code = r#"
          (global $kept (mut i32) (i32.const 0))
          (data (i32.const 1024) "host")
          (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
            (if (i32.eqz (global.get $kept)) (then (global.set $kept (call $headers (local.get $req)))))
            (call $get (global.get $kept) (i32.const 1024) (i32.const 4) (i32.const 512))
            (call $drop_request (local.get $req))
            (call $nothing))"#;
        let text = Text { groups: &["http-hooks"], hooks: REQUEST, imports, code };
        let instance = instance(&text, Limits::default()).await;
        let mut first = visit(&instance);
        let mut x = exchange(1);
        assert!(matches!(first.on_request(&mut x).finish().await, Verdict::Proceed));
        assert!(
            matches!(first.on_request(&mut x).finish().await, Verdict::Proceed),
            "it is still this one's"
        );
        let refused = failure(visit(&instance).on_request(&mut exchange(2)).finish().await);
        assert!(refused.contains("used after its hook had ended"), "{refused}");
    });
}

#[test]
fn it_logs_in_the_end() {
    run(async {
        let code = r#"
          (func (export "weir:plugin/http-hooks@1.0.0#on-log") (param $x i32) (param $res i32) (param $req i32)
            (result i32)
            unreachable)"#;
        let text = Text { groups: &["http-hooks"], hooks: LOG, code, ..Text::default() };
        let instance = instance(&text, Limits::default()).await;
        let mut x = exchange(1);
        x.phase = Phase::Ended;
        let mut visit = visit(&instance);
        assert!(matches!(visit.on_request(&mut x).finish().await, Verdict::Proceed), "it does not want that");
        let logged = visit.on_log(&mut x).finish().await;
        assert!(logged.is_err_and(|message| message.contains("unreachable")));
    });
}
