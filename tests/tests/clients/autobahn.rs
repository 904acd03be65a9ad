//! Autobahn's fuzzing client against an echo server: weir must make no case worse, however it carries the WebSocket.
//!
//! The usual run takes the quick cases; `cargo xtask test --full` (which sets `WEIR_FULL`) runs all five hundred.

use std::io::Write;

use weir_tests::autobahn::{self, ALL, QUICK, WAYS};

#[test]
fn worse_in_no_case_than_direct() {
    let full = std::env::var_os("WEIR_FULL").is_some();
    let (cases, least, at_once) = if full { (&ALL[..], 517, 2) } else { (&QUICK[..], 250, 4) };
    let outcomes = autobahn::run(cases, &WAYS, at_once);
    let table = autobahn::table(&WAYS, &outcomes);
    let bad = autobahn::worse(&WAYS, &outcomes);
    assert!(bad.is_empty(), "{table}\n{} are worse:\n{}", bad.len(), bad.join("\n"));
    assert!(outcomes["direct"].len() >= least, "only {} cases ran", outcomes["direct"].len());
    // Past the capture of the test runner: what came of them is worth some lines.
    let _ = writeln!(std::io::stderr(), "{table}");
}
