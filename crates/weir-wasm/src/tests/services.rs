//! What guests are lent, as far as it goes through something of this crate.

use super::guests::*;
use super::*;
use weir_plugin::{Grants, Step};
use weir_services::ManualClock;

/// A guest that does something on `on-request` and answers with what it came to.
fn asking(imports: &'static str, code: &'static str) -> Text {
    Text { groups: &["http-hooks", "tick-hooks"], hooks: REQUEST | TIMER | TICK, imports, code }
}

async fn answered(instance: &Rc<dyn Instance>) -> Bytes {
    reply(visit(instance).on_request(&mut exchange(1)).finish().await).body
}

#[test]
fn values_are_kept_for_all_instances_of_a_plugin() {
    run(async {
        let imports = r#"
          (import "weir:plugin/kv@1.0.0" "incr" (func $incr (param i32 i32 i64 i64 i32 f64 i32)))"#;
        let code = r#"
          (data (i32.const 1024) "seen")
          (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
            (call $drop_request (local.get $req))
            (call $incr (i32.const 1024) (i32.const 4) (i64.const 2) (i64.const 50) (i32.const 0) (f64.const 0)
              (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (i32.store8 (i32.const 1032) (i32.load8_u (i32.const 520)))
            (call $respond (i32.const 1) (i32.const 200) (i32.const 1032) (i32.const 1)))"#;
        let plugin = load(&asking(imports, code), Policy::default()).await.expect("it loads");
        let one = plugin.instantiate().finish().await.expect("it starts");
        let other = plugin.instantiate().finish().await.expect("it starts");
        assert_eq!((answered(&one).await, answered(&other).await), ("4".into(), "6".into()));
    });
}

#[test]
fn a_wait_holds_up_its_own_call_and_nothing_else() {
    run(async {
        let imports = r#"(import "weir:plugin/time@1.0.0" "sleep" (func $sleep (param f64 i32)))"#;
        let code = r#"
          (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
            (call $drop_request (local.get $req))
            (call $sleep (f64.const 5) (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (call $respond (i32.const 1) (i32.const 200) (i32.const 0) (i32.const 0)))"#;
        let clock = ManualClock::default();
        let services = weir_services::with_clock(
            1 << 20,
            Arc::new(weir_services::ScriptedClient(answer)),
            Arc::new(clock.clone()),
        );
        let plugin = load(&asking(imports, code), Policy::default()).await.expect("it loads");
        let plugin = plugin.lent(&services).expect("it can be lent others");
        let instance = plugin.instantiate().finish().await.expect("it starts");
        let mut visits: Vec<_> = (1..4).map(|id| (visit(&instance), exchange(id))).collect();
        let mut steps = Vec::new();
        for (visit, x) in &mut visits {
            let Step::Wait(waiting) = visit.on_request(x) else { panic!("it waits") };
            steps.push(waiting);
        }
        // Each has an instance, so that one step of the clock ends all waits.
        clock.advance(Duration::from_secs(5));
        for step in steps {
            assert_eq!(reply(step.await).status, 200);
        }
    });
}

#[test]
fn requests_of_its_own_are_answered() {
    run(async {
        let imports = r#"
          (import "weir:plugin/http@1.0.0" "request" (func $request (param i32 i32)))
          (import "weir:plugin/http@1.0.0" "[method]http-response.status" (func $status (param i32) (result i32)))
          (import "weir:plugin/http@1.0.0" "[method]http-response.read" (func $read (param i32 i32 i64 i32)))
          (import "weir:plugin/http@1.0.0" "[resource-drop]http-response" (func $drop_response_of_call (param i32)))"#;
        // The record `call` is at 2048: an upstream `auth`, a path `/verify`, nothing else.
        let code = r#"
          (data (i32.const 1024) "auth/verify")
          (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
            (local $response i32)
            (call $drop_request (local.get $req))
            (i32.store (i32.const 2060) (i32.const 1))
            (i32.store (i32.const 2064) (i32.const 1024)) (i32.store (i32.const 2068) (i32.const 4))
            (i32.store (i32.const 2072) (i32.const 1))
            (i32.store (i32.const 2076) (i32.const 1028)) (i32.store (i32.const 2080) (i32.const 7))
            (call $request (i32.const 2048) (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (local.set $response (i32.load (i32.const 520)))
            (if (i32.ne (call $status (local.get $response)) (i32.const 202)) (then unreachable))
            (call $read (local.get $response) (i32.const 0) (i64.const 0) (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (call $drop_response_of_call (local.get $response))
            (call $respond (i32.const 1) (i32.const 200) (i32.load (i32.const 520)) (i32.load (i32.const 524))))"#;
        let grants = Grants { upstreams: ["auth".to_owned()].into(), ..Grants::default() };
        let policy = Policy { grants, ..Policy::default() };
        let plugin = load(&asking(imports, code), policy).await.expect("it loads");
        let instance = plugin.instantiate().finish().await.expect("it starts");
        for _ in 0..3 {
            assert_eq!(answered(&instance).await, "/verify");
        }
    });
}

#[test]
fn answers_that_are_kept_are_bounded() {
    run(async {
        let imports = r#"
          (import "weir:plugin/http@1.0.0" "request" (func $request (param i32 i32)))"#;
        // Asks again and again, and lets go of no answer; answers with how many there were.
        let code = r#"
          (data (i32.const 1024) "auth/verify")
          (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
            (local $answers i32)
            (call $drop_request (local.get $req))
            (i32.store (i32.const 2060) (i32.const 1))
            (i32.store (i32.const 2064) (i32.const 1024)) (i32.store (i32.const 2068) (i32.const 4))
            (i32.store (i32.const 2072) (i32.const 1))
            (i32.store (i32.const 2076) (i32.const 1028)) (i32.store (i32.const 2080) (i32.const 7))
            (block $refused
              (loop $again
                (call $request (i32.const 2048) (i32.const 512))
                (br_if $refused (i32.load8_u (i32.const 512)))
                (local.set $answers (i32.add (local.get $answers) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $answers) (i32.const 90)))))
            (i32.store8 (i32.const 1040) (i32.add (i32.const 48) (i32.div_u (local.get $answers) (i32.const 10))))
            (i32.store8 (i32.const 1041) (i32.add (i32.const 48) (i32.rem_u (local.get $answers) (i32.const 10))))
            (call $respond (i32.const 1) (i32.const 200) (i32.const 1040) (i32.const 2)))"#;
        let grants = Grants { upstreams: ["auth".to_owned()].into(), ..Grants::default() };
        let policy = Policy { grants, ..Policy::default() };
        let plugin = load(&asking(imports, code), policy).await.expect("it loads");
        let instance = plugin.instantiate().finish().await.expect("it starts");
        assert_eq!(answered(&instance).await, "64");
        assert_eq!(answered(&instance).await, "00", "they are still kept");
    });
}

#[test]
fn timers_and_ticks_run_in_the_background() {
    run(async {
        let imports = r#"(import "weir:plugin/timer@1.0.0" "set" (func $set (param i32 i32 f64 i32)))"#;
        // Sets a timer, whose hook fails unless it has the timer's name; the answer counts them.
        let code = r#"
          (global $over (mut i32) (i32.const 48))
          (data (i32.const 1024) "later")
          (func (export "weir:plugin/tick-hooks@1.0.0#on-tick") (result i32)
            (call $set (i32.const 1024) (i32.const 5) (f64.const 3) (i32.const 512))
            (if (i32.load8_u (i32.const 512)) (then unreachable))
            (call $nothing))
          (func (export "weir:plugin/tick-hooks@1.0.0#on-timer") (param $at i32) (param $len i32) (result i32)
            (if (i32.ne (i32.load8_u (local.get $at)) (i32.const 108))
              (then (return (call $bytes (i32.const 1) (i32.const 1024) (i32.const 5)))))
            (global.set $over (i32.add (global.get $over) (i32.const 1)))
            (call $nothing))
          (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
            (call $drop_request (local.get $req))
            (i32.store8 (i32.const 1032) (global.get $over))
            (call $respond (i32.const 1) (i32.const 200) (i32.const 1032) (i32.const 1)))"#;
        let instance = instance(&asking(imports, code), Limits::default()).await;
        let timers = instance.timers().expect("it has some");
        assert_eq!(instance.on_tick().finish().await, Ok(()));
        assert!(timers.next_due().is_some());
        assert!(timers.cancel("later"));
        assert_eq!(instance.on_timer("later".to_owned()).finish().await, Ok(()));
        // Exchanges have another instance, which never waits for it.
        assert_eq!(answered(&instance).await, "0");
        assert_eq!(instance.on_timer("other".to_owned()).finish().await, Err("later".to_owned()));
    });
}
