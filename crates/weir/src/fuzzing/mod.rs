//! What must hold of everything that the configuration writes as text, whatever it is: one function a fuzz target,
//! which panics where it does not. As `weir_core::fuzzing`, in tests and fuzzing only.

mod config;
mod log;

pub use config::{config, config_value};
pub use log::access_log_format;

/// A fuzz target: panics where what must hold does not.
pub type Target = fn(&[u8]);

/// Every target of this crate by its name.
pub const TARGETS: &[(&str, Target)] =
    &[("access_log_format", access_log_format), ("config", config), ("config_value", config_value)];

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use super::TARGETS;

    #[test]
    fn what_must_hold_does_for_the_seeds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
        for (name, target) in TARGETS {
            let binary = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(binary.contains(&format!("weir::fuzzing::{name}(data)")), "{binary}");
            let mut files: Vec<_> = std::fs::read_dir(fuzz.join("seeds").join(name))
                .unwrap_or_else(|e| panic!("{name} has no seeds: {e}"))
                .map(|entry| entry.unwrap().path())
                .collect();
            files.sort();
            assert!(files.len() >= 3, "{name} has too few seeds");
            for file in files {
                let seed = std::fs::read(&file).unwrap();
                // Some beginnings too: what a person has written so far.
                let every = seed.len() / 20 + 1;
                for end in (0..seed.len()).step_by(every).chain([seed.len()]) {
                    let held = catch_unwind(AssertUnwindSafe(|| target(&seed[..end])));
                    assert!(held.is_ok(), "{name}: the first {end} bytes of {}", file.display());
                }
            }
        }
    }
}
