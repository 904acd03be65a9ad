//! The conformance cases on every engine, as a table: `cargo xtask conformance`.

use std::fs;
use std::process::ExitCode;

use weir_tests::conformance::{self, ENGINES};
use weir_tests::weir::root;

fn main() -> ExitCode {
    let mut failed = false;
    let mut outcomes = Vec::new();
    for case in conformance::cases() {
        let outputs = ENGINES.map(|engine| (engine, conformance::run(&case, engine)));
        for (engine, output) in &outputs {
            let passed = output.code == Some(0);
            println!("{case} on {}: {}", engine.name, if passed { "passes" } else { "fails" });
            if let Some(fault) = engine.fault(&case, output) {
                failed = true;
                println!("{fault}");
            }
        }
        let passed = outputs.iter().map(|(_, output)| output.code == Some(0)).collect();
        outcomes.push((case, passed));
    }
    let page = root().join("docs/conformance.md");
    if let Err(error) = fs::write(&page, conformance::table(&outcomes)) {
        eprintln!("{}: {error}", page.display());
        return ExitCode::FAILURE;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
