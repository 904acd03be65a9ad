//! Guests that do what they must not.

use super::guests::*;
use super::*;
use weir_plugin::policy::Isolation;
use weir_plugin::{Phase, Step};

/// What guests here import.
const SLEEP: &str = r#"
  (import "weir:plugin/time@1.0.0" "sleep" (func $sleep (param f64 i32)))"#;

/// A guest that does this bad thing in `on-request` of exchanges whose number on it is even, and waits for 50 seconds in
/// `on-response`.
fn bad(what: &'static str) -> &'static str {
    Box::leak(
        format!(
            r#"
  (global $woken (mut i32) (i32.const 0))
  (func $bad (param $x i32) {what})
  (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
    (call $drop_request (local.get $req))
    (if (i32.eq (i32.const 0) (i32.rem_u (local.get $x) (i32.const 2))) (then (call $bad (local.get $x))))
    (call $nothing))
  (func (export "weir:plugin/http-hooks@1.0.0#on-response")
    (param $x i32) (param $res i32) (param $req i32) (result i32)
    (call $drop_response (local.get $res))
    (call $drop_request (local.get $req))
    (call $sleep (f64.const 50) (i32.const 512))
    ;; Why it did not sleep, as a digit.
    (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (i32.load8_u (i32.const 520))))
    (global.set $woken (i32.add (global.get $woken) (i32.const 1)))
    (if (result i32) (i32.load8_u (i32.const 512))
      (then (call $bytes (i32.const 2) (i32.const 1024) (i32.const 1)))
      (else (call $nothing))))"#
        )
        .into_boxed_str(),
    )
}

const LOOP: &str = "(loop $again (br $again))";

fn limits() -> Limits {
    Limits { cpu: Duration::from_millis(15), instances: 1, ..Limits::default() }
}

/// One exchange has the guest do what is bad. It fails by itself, with a text that has this in it; so does another
/// exchange on the instance; the next one is served.
fn check(what: &'static str, expected: &str) {
    run(async {
        let text =
            Text { groups: &["http-hooks"], hooks: REQUEST | RESPONSE, imports: SLEEP, code: bad(what) };
        let instance = instance(&text, limits()).await;
        let (mut first, mut second) = (visit(&instance), visit(&instance));
        let (mut one, mut two) = (exchange(1), exchange(2));
        assert!(matches!(first.on_request(&mut one).finish().await, Verdict::Proceed));
        let message = failure(second.on_request(&mut two).finish().await);
        assert!(message.contains(expected), "{message}");
        let message = failure(first.on_request(&mut one).finish().await);
        assert!(message.contains("the instance that had this exchange has ended"), "{message}");
        let next = visit(&instance).on_request(&mut exchange(3)).finish().await;
        assert!(matches!(next, Verdict::Proceed), "{next:?}");
        assert!(!instance.is_spent());
    });
}

#[test]
fn an_endless_loop_is_ended() {
    check(LOOP, "it used up its processor time of 15ms");
}

#[test]
fn a_trap_ends_one_instance() {
    check("unreachable", "unreachable");
}

#[test]
fn endless_recursion_is_a_trap() {
    check("(call $bad (local.get $x))", "call stack exhausted");
}

#[test]
fn memory_has_a_bound() {
    let grow = r#"(loop $again
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
        (br $again))"#;
    check(grow, "`limits.memory` allows 67108864 bytes");
}

#[test]
fn what_leaks_is_bounded() {
    // More handles than may be: nothing of the host is kept for them.
    let imports = r#"
      (import "weir:plugin/message@1.0.0" "[method]request.headers" (func $headers (param i32) (result i32)))"#;
    let code = r#"
      (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
        (loop $again (drop (call $headers (local.get $req))) (br $again))
        (call $nothing))"#;
    run(async {
        let text = Text { groups: &["http-hooks"], hooks: REQUEST, imports, code };
        let limits = Limits { cpu: Duration::from_secs(20), ..Limits::default() };
        let instance = instance(&text, limits).await;
        let message = failure(visit(&instance).on_request(&mut exchange(1)).finish().await);
        assert!(message.contains("handle") || message.contains("table"), "{message}");
    });
}

#[test]
fn others_have_their_turn_beside_a_loop() {
    run(async {
        let text =
            Text { groups: &["http-hooks"], hooks: REQUEST | RESPONSE, imports: SLEEP, code: bad(LOOP) };
        let limits = Limits { cpu: Duration::from_millis(200), instances: 2, ..Limits::default() };
        let instance = instance(&text, limits).await;
        let (mut one, mut two, mut three) = (exchange(1), exchange(2), exchange(3));
        let (mut first, mut second, mut third) = (visit(&instance), visit(&instance), visit(&instance));
        assert!(matches!(first.on_request(&mut one).finish().await, Verdict::Proceed));
        let Step::Wait(mut looping) = second.on_request(&mut two) else { panic!("it has turns") };
        // The instance is busy, so that there is another one, which answers beside it.
        let next = third.on_request(&mut three).finish().await;
        assert!(matches!(next, Verdict::Proceed), "{next:?}");
        let waker = std::task::Waker::noop();
        let polled = looping.as_mut().poll(&mut std::task::Context::from_waker(waker));
        assert!(polled.is_pending(), "it still runs");
        assert!(failure(looping.await).contains("processor time"));
    });
}

/// A guest that waits for long in `on-response` and then says whether that was cancelled.
fn waiting() -> Text {
    Text { groups: &["http-hooks"], hooks: REQUEST | RESPONSE, imports: SLEEP, code: bad("unreachable") }
}

#[test]
fn a_call_that_nobody_waits_for_comes_to_its_end() {
    run(async {
        let instance = instance(&waiting(), limits()).await;
        let (mut first, mut other) = (visit(&instance), visit(&instance));
        let (mut one, mut x) = (exchange(1), exchange(3));
        assert!(matches!(other.on_request(&mut x).finish().await, Verdict::Proceed));
        one.phase = Phase::Response;
        let Step::Wait(waiting) = first.on_response(&mut one) else { panic!("it waits") };
        // Another exchange on the same instance has to wait for its turn.
        let Step::Wait(mut queued) = other.on_request(&mut x) else { panic!("it is queued") };
        let waker = std::task::Waker::noop();
        assert!(queued.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
        drop(waiting);
        // Which is now: the guest was not dropped in the midst of its call, it went on with `cancelled`.
        let verdict = queued.await;
        assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
        drop(first);
        assert_eq!(one.phase, Phase::Response, "it was given back");
    });
}

#[test]
fn what_is_read_after_the_client_left_is_nothing() {
    run(async {
        // The first call waits and then reads; those after it answer.
        let imports = r#"
          (import "weir:plugin/time@1.0.0" "sleep" (func $sleep (param f64 i32)))
          (import "weir:plugin/message@1.0.0" "[method]request.path" (func $path (param i32 i32)))
          (import "weir:plugin/message@1.0.0" "[method]request.set-path" (func $set_path (param i32 i32 i32 i32)))"#;
        let code = r#"
          (global $calls (mut i32) (i32.const 0))
          (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (if (i32.eq (global.get $calls) (i32.const 1))
              (then
                (call $sleep (f64.const 50) (i32.const 512))
                ;; `cancelled`
                (if (i32.ne (i32.load8_u (i32.const 520)) (i32.const 4)) (then unreachable))
                (call $path (local.get $req) (i32.const 512))
                (if (i32.load (i32.const 516)) (then unreachable))
                (call $set_path (local.get $req) (i32.const 1024) (i32.const 1) (i32.const 512))
                (if (i32.ne (i32.load8_u (i32.const 520)) (i32.const 4)) (then unreachable))))
            (call $drop_request (local.get $req))
            (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (global.get $calls)))
            (call $respond (i32.const 1) (i32.const 200) (i32.const 1024) (i32.const 1)))"#;
        let text = Text { groups: &["http-hooks"], hooks: REQUEST, imports, code };
        let instance = instance(&text, limits()).await;
        let (mut first, mut one) = (visit(&instance), exchange(1));
        let Step::Wait(waiting) = first.on_request(&mut one) else { panic!("it waits") };
        drop(waiting);
        assert_eq!(one.uri.path(), "/a/b", "it was given back");
        let answer = reply(visit(&instance).on_request(&mut exchange(2)).finish().await);
        assert_eq!(answer.body, "2", "the same instance goes on");
    });
}

#[test]
fn a_call_that_was_given_up_before_its_turn_is_not_made() {
    run(async {
        let instance = instance(&waiting(), limits()).await;
        let mut first = visit(&instance);
        let mut one = exchange(1);
        let Step::Wait(waiting) = first.on_response(&mut one) else { panic!("it waits") };
        {
            let (mut second, mut two) = (visit(&instance), exchange(2));
            let Step::Wait(queued) = second.on_request(&mut two) else { panic!("it is queued") };
            drop(queued);
        }
        drop(waiting);
        // The second would have ended the instance.
        let mut x = exchange(3);
        one.phase = Phase::Request;
        let verdict = first.on_request(&mut x).finish().await;
        assert!(matches!(verdict, Verdict::Proceed), "{verdict:?}");
    });
}

#[test]
fn all_that_wait_for_an_instance_are_told_when_it_ends() {
    run(async {
        let instance =
            instance(&waiting(), Limits { deadline: Duration::from_millis(300), ..limits() }).await;
        let mut visits: Vec<_> = (1..5).map(|id| (visit(&instance), exchange(id))).collect();
        let mut steps = Vec::new();
        for (visit, x) in &mut visits {
            let Step::Wait(waiting) = visit.on_response(x) else { panic!("it waits") };
            steps.push(waiting);
        }
        // Nobody gives up the first: its deadline ends the instance.
        for (i, step) in steps.into_iter().enumerate() {
            let message = failure(step.await);
            assert!(message.contains("it took longer than its deadline of 300ms"), "{message}");
            assert_eq!(message.contains("the instance that had this exchange"), i > 0, "{message}");
        }
    });
}

#[test]
fn exchanges_may_have_an_instance_each() {
    run(async {
        let text = waiting();
        let limits = Limits { instances: 2, ..limits() };
        let policy = Policy { limits, isolation: Isolation::Exchange, ..Policy::default() };
        let plugin = load(&text, policy).await.expect("it loads");
        let instance = plugin.instantiate().finish().await.expect("it starts");
        let mut visits: Vec<_> = (1..4).map(|id| (visit(&instance), exchange(id))).collect();
        let mut verdicts = Vec::new();
        for (visit, x) in &mut visits {
            verdicts.push(visit.on_request(x).finish().await);
        }
        // Each is the first one on its instance; there may be two.
        let [Verdict::Proceed, Verdict::Proceed, Verdict::Fail(message)] = &verdicts[..] else {
            panic!("{verdicts:?}")
        };
        assert!(message.contains("`limits.instances` allows no more"), "{message}");
        visits.remove(0);
        let (mut fourth, mut x) = (visit(&instance), exchange(4));
        assert!(matches!(fourth.on_request(&mut x).finish().await, Verdict::Proceed), "one has ended");
    });
}

/// A plugin that traps each time does not have the worker start instances all the time.
#[test]
fn starts_take_no_more_than_their_share() {
    run(async {
        let code = r#"
          (func (export "weir:plugin/plugin@1.0.0#load") (param i32 i32) (result i32)
            (local $left i32)
            (local.set $left (i32.const 100000000))
            (loop $again
              (local.set $left (i32.sub (local.get $left) (i32.const 1)))
              (br_if $again (local.get $left)))
            (call $load))
          (func (export "weir:plugin/http-hooks@1.0.0#on-request") (param $x i32) (param $req i32) (result i32)
            unreachable)"#;
        let text = Text { groups: &["http-hooks"], hooks: REQUEST, code, ..Text::default() };
        let instance = instance(&text, limits()).await;
        let mut starts = 0;
        loop {
            let message = failure(visit(&instance).on_request(&mut exchange(1)).finish().await);
            if message.contains("its instances end again and again: the next starts in ") {
                break;
            }
            assert!(message.contains("unreachable"), "{message}");
            starts += 1;
            assert!(starts < 1000, "each of them takes some milliseconds");
        }
        assert!(starts > 1, "one that ends is no reason to wait");
        // Whoever starts plugins need not start this one anew: it does so itself.
        assert!(!instance.is_spent());
    });
}
