//! Autobahn's fuzzing client against an echo server, direct and through weir: weir must make no case worse.
//!
//! The usual run takes the cases about framing, fragmentation, control frames, UTF-8 and closing that take no time;
//! `cargo xtask test --full` (which sets `WEIR_FULL`) runs all five hundred, large messages and compression too.

use std::io::Write;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};
use weir_tests::process;
use weir_tests::{tools, weir};

use crate::{echo_server, proxy};

/// Cases of the usual run.
const SUBSET: [&str; 11] =
    ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.2.1", "10.*", "12.1.1"];

/// How many cases there are.
const ALL: usize = 517;

#[test]
fn worse_in_no_case_than_direct() {
    let (_server, echo) = echo_server(&[]);
    let (weir, _) = proxy(echo, "");
    compare(echo, weir.address("web"));
}

/// One weir speaks HTTP/2 to another (RFC 8441), so that both sides of it are tried.
#[test]
fn worse_in_no_case_over_http2() {
    let (_server, echo) = echo_server(&[]);
    let (inner, _) = proxy(echo, "");
    let (outer, _) = proxy(inner.address("web"), "protocol = \"http2\"");
    compare(echo, outer.address("web"));
}

/// Compares the outcomes at a server with those at an address that leads to it.
fn compare(echo: SocketAddr, through: SocketAddr) {
    let full = std::env::var_os("WEIR_FULL").is_some();
    let (direct, through) = thread::scope(|scope| {
        let direct = scope.spawn(|| outcomes(echo, full));
        let through = scope.spawn(|| outcomes(through, full));
        (direct.join().expect("the direct run"), through.join().expect("the run through weir"))
    });

    let mut bad = Vec::new();
    for (case, here) in &direct {
        for aspect in ["behavior", "behaviorClose"] {
            let (here, there) = (&here[aspect], &through[case][aspect]);
            // A server or a client that does not get a case right tells nothing about what is between them.
            if rank(here) < NON_STRICT {
                bad.push(format!("{case}: {aspect} is {here} direct"));
            } else if rank(there) < rank(here) {
                bad.push(format!("{case}: {aspect} is {there} through weir, {here} direct"));
            }
        }
    }
    assert!(bad.is_empty(), "{} of {} cases are worse:\n{}", bad.len(), direct.len(), bad.join("\n"));
    let least = if full { ALL } else { 250 };
    assert!(direct.len() >= least, "only {} cases ran", direct.len());
    assert_eq!(direct.len(), through.len(), "cases direct and through weir");
    // Past the capture of the test runner: how many there were is worth a line.
    let _ =
        writeln!(std::io::stderr(), "Autobahn: {} cases, none worse through weir than direct", direct.len());
}

/// Runs the cases against the server at the address, and returns what came of each.
fn outcomes(address: SocketAddr, full: bool) -> Map<String, Value> {
    let report = weir::folder();
    let spec = json!({
        "outdir": report.path(),
        "servers": [{ "agent": "server", "url": format!("ws://{address}/quiet") }],
        "cases": if full { vec!["*"] } else { SUBSET.to_vec() },
    });
    let spec_path = report.path().join("spec.json");
    std::fs::write(&spec_path, spec.to_string()).expect("a temporary file can be written");

    let minutes = if full { 120 } else { 5 };
    let output =
        process::run_for("wstest", tools::wstest().arg(&spec_path), b"", Duration::from_secs(60 * minutes));
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);

    let index = std::fs::read(report.path().join("index.json")).expect("wstest writes an index");
    let mut index: Map<String, Value> = serde_json::from_slice(&index).expect("the index is JSON");
    match index.remove("server") {
        Some(Value::Object(cases)) => cases,
        other => panic!("the index has no cases but {other:?}"),
    }
}

/// The rank of an outcome that conforms, if not in the best way.
const NON_STRICT: u8 = 2;

/// How good an outcome is.
fn rank(behavior: &Value) -> u8 {
    match behavior.as_str() {
        Some("OK" | "INFORMATIONAL") => 3,
        Some("NON-STRICT") => NON_STRICT,
        Some("UNIMPLEMENTED" | "UNCLEAN" | "WRONG CODE") => 1,
        _ => 0,
    }
}
