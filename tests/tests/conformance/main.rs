//! Every conformance case on every engine, and that they are all of them.

use std::fs;

use weir_tests::conformance::{self, ENGINES, JS, LUA, PYTHON, RUST, Uses};
use weir_tests::process::Output;
use weir_tests::weir::root;

/// A test an engine for each case.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        const CASES: &[&str] = &[$(stringify!($case)),*];

        $(mod $case {
            #[test]
            fn lua() {
                weir_tests::conformance::check(stringify!($case), super::LUA);
            }

            #[test]
            fn rust() {
                weir_tests::conformance::check(stringify!($case), super::RUST);
            }

            #[test]
            fn js() {
                weir_tests::conformance::check(stringify!($case), super::JS);
            }

            #[test]
            fn python() {
                weir_tests::conformance::check(stringify!($case), super::PYTHON);
            }
        })*
    };
}

cases! {
    addresses,
    calls,
    choosing,
    closing,
    codec,
    connection,
    counting_down,
    crypto,
    frames,
    groups,
    headers,
    kv,
    loading,
    log,
    messages,
    metrics,
    migration,
    passwords_and_tokens,
    query_and_cookies,
    regex,
    relay,
    request,
    request_pieces,
    response,
    response_pieces,
    secrets,
    store,
    time,
    timers,
    websocket,
    whole_bodies,
}

#[test]
fn every_folder_is_a_case_of_these_tests() {
    assert_eq!(CASES, conformance::cases());
}

#[test]
fn every_engine_has_a_test_of_each_case() {
    assert_eq!(ENGINES.map(|engine| engine.name), [LUA.name, RUST.name, JS.name, PYTHON.name]);
}

#[test]
fn an_engine_may_fail_only_as_it_is_known_to() {
    let (test, told) =
        ("what is added, the sum, and where it begins", "wasm `unreachable` instruction executed");
    let output = |code, failed: &[&str], told: &str| {
        let failed: String = failed.iter().map(|test| format!("FAILED  plugin: {test}\n")).collect();
        Output {
            code: Some(code),
            stdout: format!("{failed}\non_request: wasm trap: {told}"),
            stderr: String::new(),
        }
    };
    let fault = |output: Output| JS.fault("counting_down", &output).is_some();
    assert!(!fault(output(1, &[test], told)));
    for wrong in [
        output(0, &[], ""),
        output(1, &[test], "out of bounds memory access"),
        output(1, &[test, "another"], told),
        output(2, &[test], told),
        output(1, &[], told),
    ] {
        assert!(fault(wrong.clone()), "{wrong:?}");
    }
    assert!(LUA.fault("counting_down", &output(1, &[test], told)).is_some());
}

#[test]
fn every_hook_verdict_and_function_is_in_a_case() {
    let used =
        conformance::cases().iter().map(|case| conformance::uses(case)).fold(Uses::default(), Uses::and);
    let missing = conformance::missing(&used).expect("the WIT package");
    assert!(missing.is_empty(), "no case in tests/conformance has\n  {}", missing.join("\n  "));
}

/// So that the test before this one can fail.
#[test]
fn what_is_in_no_case_is_named() {
    let missing = conformance::missing(&Uses::default()).expect("the WIT package");
    for name in ["the hook websocket-hooks.on-frame", "the host function kv.incr"] {
        assert!(missing.iter().any(|missing| missing == name), "{missing:#?}");
    }
    let mut used = conformance::uses("frames");
    used.says.remove(&("frame".to_owned(), "drop".to_owned()));
    let missing = conformance::missing(&used).expect("the WIT package");
    let verdicts: Vec<&String> = missing.iter().filter(|missing| missing.contains("on-frame")).collect();
    assert_eq!(verdicts, ["the verdict drop of the hook websocket-hooks.on-frame"]);
}

#[test]
fn the_table_has_every_case_as_it_passes() {
    let page = fs::read_to_string(root().join("docs/conformance.md")).expect("docs/conformance.md");
    let passes = |case: String| {
        let passed = ENGINES.map(|engine| engine.lacks(&case).next().is_none()).to_vec();
        (case, passed)
    };
    let outcomes: Vec<_> = conformance::cases().into_iter().map(passes).collect();
    assert!(page == conformance::table(&outcomes), "it is out of date: run `cargo xtask conformance`");
}
