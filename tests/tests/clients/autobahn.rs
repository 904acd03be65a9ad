//! Autobahn's fuzzing client against an echo server, direct and through weir: weir must make no case worse.
//!
//! The usual run takes the cases about framing, fragmentation, control frames, UTF-8 and closing that take no time;
//! `cargo xtask test --full` (which sets `WEIR_FULL`) runs all five hundred, large messages and compression too.

use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};
use weir_tests::process;
use weir_tests::{tools, weir};

use crate::{echo_server, proxy};

/// Cases of the usual run.
const SUBSET: [&str; 11] =
    ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.2.1", "10.*", "12.1.1"];

#[test]
fn worse_in_no_case_than_direct() {
    let full = std::env::var_os("WEIR_FULL").is_some();
    let (_server, echo) = echo_server();
    let (weir, _) = proxy(echo, "");
    let report = weir::folder();
    let cases = if full { vec!["*"] } else { SUBSET.to_vec() };
    let spec = json!({
        "outdir": report.path(),
        "servers": [
            { "agent": "direct", "url": format!("ws://{echo}/quiet") },
            { "agent": "weir", "url": format!("ws://{}/quiet", weir.address("web")) },
        ],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    let spec_path = report.path().join("spec.json");
    std::fs::write(&spec_path, spec.to_string()).expect("a temporary file can be written");

    let python = std::fs::read_to_string(tools::cache().join("python2"));
    let python = python.expect("Autobahn's test suite is not installed: run `cargo xtask setup`");
    let mut command = Command::new(python.trim());
    command.arg(weir::root().join("tests/autobahn/wstest.py")).arg(tools::cache().join("autobahn"));
    command.args(["-m", "fuzzingclient", "-s"]).arg(&spec_path).current_dir(report.path());
    let minutes = if full { 120 } else { 5 };
    let output = process::run_for("wstest", &mut command, b"", std::time::Duration::from_secs(60 * minutes));
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);

    let index = std::fs::read(report.path().join("index.json")).expect("wstest writes an index");
    let index: Value = serde_json::from_slice(&index).expect("the index is JSON");
    let direct = index["direct"].as_object().expect("cases that ran direct");
    let mut worse = Vec::new();
    for (case, outcome) in direct {
        let through = &index["weir"][case];
        for aspect in ["behavior", "behaviorClose"] {
            let (here, there) = (rank(&outcome[aspect]), rank(&through[aspect]));
            if there < here {
                worse.push(format!(
                    "{case}: {aspect} is {} through weir, {} direct",
                    through[aspect], outcome[aspect]
                ));
            }
        }
    }
    let least = if full { 500 } else { 240 };
    assert!(direct.len() >= least, "only {} cases ran", direct.len());
    assert!(worse.is_empty(), "{} of {} cases are worse:\n{}", worse.len(), direct.len(), worse.join("\n"));
    // Past the capture of the test runner: how many there were is worth a line.
    let _ =
        writeln!(std::io::stderr(), "Autobahn: {} cases, none worse through weir than direct", direct.len());
}

/// How good an outcome is.
fn rank(behavior: &Value) -> u8 {
    match behavior.as_str() {
        Some("OK" | "INFORMATIONAL") => 3,
        Some("NON-STRICT") => 2,
        Some("UNIMPLEMENTED" | "UNCLEAN" | "WRONG CODE") => 1,
        _ => 0,
    }
}
