use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::TARGETS;

/// The seeds, and every beginning of each, so that whatever a parser waits for in the middle is looked at too.
#[test]
fn what_must_hold_does_for_the_seeds() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for (name, target) in TARGETS {
        let binary = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(binary.contains(&format!("weir_core::fuzzing::{name}(data)")), "{binary}");
        let mut files: Vec<_> = std::fs::read_dir(fuzz.join("seeds").join(name))
            .unwrap_or_else(|e| panic!("{name} has no seeds: {e}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(files.len() >= 3, "{name} has too few seeds");
        for file in files {
            let seed = std::fs::read(&file).unwrap();
            let every = seed.len() / 300 + 1;
            for end in (0..seed.len()).step_by(every).chain([seed.len()]) {
                let held = catch_unwind(AssertUnwindSafe(|| target(&seed[..end])));
                assert!(held.is_ok(), "{name}: the first {end} bytes of {}", file.display());
            }
        }
    }
}
